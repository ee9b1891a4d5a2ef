"""What a bundle manifest of EC2 says, and how one of version 2007-10-10 is written: once, and signed as written.

EC2 refuses a manifest whose elements stand in another order (`InvalidManifest`), so the order below is that of
ec2-ami-tools, the reference. What is signed is the text of <machine_configuration> and of <image>, tags included, put
side by side as it stands in the file; therefore a manifest is never parsed and written again to be the same one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from xml.sax.saxutils import escape

from builder.errors import BuilderError

VERSION = "2007-10-10"
SIZE_LIMIT = 5 * 1024 * 1024
"""A manifest of 1025 parts, the most that an image can have, takes about 175 KiB; Eucalyptus reads up to 5 MiB."""
TYPES = ("machine", "kernel", "ramdisk")

_HEX = re.compile(r"(?:[0-9a-f]{2})+")


class ManifestError(BuilderError):
    """A bundle manifest that nobody should take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundler:
    """The tool that made a bundle. Readers ignore it."""

    name: str
    version: str
    release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part file. `sha1` is of the file as it is stored."""

    filename: str
    sha1: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleManifest:
    """Everything that a manifest says. An empty string or tuple stands for an element that is not there."""

    name: str
    account: str
    architecture: str
    digest: str
    """SHA-1 of the tar stream."""
    size: int
    """Bytes of the image."""
    bundled_size: int
    """Bytes of all parts."""
    ec2_encrypted_key: str
    user_encrypted_key: str
    ec2_encrypted_iv: str
    user_encrypted_iv: str
    parts: tuple[Part, ...]
    type: str = "machine"
    block_device_mapping: tuple[tuple[str, str], ...] = ()
    """(virtual, device)."""
    kernel_id: str = ""
    ramdisk_id: str = ""
    product_codes: tuple[str, ...] = ()
    kernel_name: str = ""
    ancestry: tuple[str, ...] = ()
    bundler: Bundler | None = None
    version: str = VERSION
    signature: str = ""
    """As read, empty when nobody signed; what is written is signed anew."""


def part_names(name: str, count: int) -> tuple[str, ...]:
    """The parts' file names as ec2-ami-tools pads them: to as many digits as `count` has."""
    return tuple(f"{name}.part.{index:0{len(str(count))}}" for index in range(count))


def format_manifest(manifest: BundleManifest, sign: Callable[[bytes], bytes]) -> bytes:
    """The bytes of a file of version 2007-10-10, whatever version `manifest` was read from.

    `sign` gets the signed bytes exactly as they stand in the file.
    """
    configuration = _machine_configuration(manifest).encode()
    image = _image(manifest).encode()
    signature = sign(configuration + image)
    bundler = manifest.bundler
    head = "<?xml version='1.0'?><manifest>" + _element("version", VERSION)
    if bundler is not None:
        head += _wrap(
            "bundler",
            _optional("name", bundler.name),
            _optional("version", bundler.version),
            _optional("release", bundler.release),
        )
    tail = _element("signature", signature.hex()) + "</manifest>"
    return head.encode() + configuration + image + tail.encode()


# Writing: from the inside out, single quotes, no whitespace between elements.


def _element(tag: str, text: str) -> str:
    if not text:
        raise ValueError(f"<{tag}> would be empty")
    return f"<{tag}>{escape(text)}</{tag}>"


def _hex(text: str) -> str:
    if _HEX.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not lower-case hex")
    return text


def _wrap(tag: str, *children: str) -> str:
    return f"<{tag}>{''.join(children)}</{tag}>"


def _optional(tag: str, text: str) -> str:
    return _element(tag, text) if text else ""


def _listed(tag: str, child: str, texts: tuple[str, ...]) -> str:
    return _wrap(tag, *(_element(child, text) for text in texts)) if texts else ""


def _machine_configuration(manifest: BundleManifest) -> str:
    mappings = [
        _wrap("mapping", _element("virtual", virtual), _element("device", device))
        for virtual, device in sorted(manifest.block_device_mapping)
    ]
    return _wrap(
        "machine_configuration",
        _element("architecture", manifest.architecture),
        _wrap("block_device_mapping", *mappings) if mappings else "",
        _optional("kernel_id", manifest.kernel_id),
        _optional("ramdisk_id", manifest.ramdisk_id),
        _listed("product_codes", "product_code", manifest.product_codes),
    )


def _image(manifest: BundleManifest) -> str:
    parts = [
        f"<part index='{index}'>{_element('filename', part.filename)}"
        f"<digest algorithm='SHA1'>{_hex(part.sha1)}</digest></part>"
        for index, part in enumerate(manifest.parts)
    ]
    return _wrap(
        "image",
        _element("name", manifest.name),
        _element("user", manifest.account),
        _element("type", manifest.type),
        _optional("kernel_name", manifest.kernel_name),
        _listed("ancestry", "ancestor_ami_id", manifest.ancestry),
        f"<digest algorithm='SHA1'>{_hex(manifest.digest)}</digest>",
        _element("size", str(manifest.size)),
        _element("bundled_size", str(manifest.bundled_size)),
        f"<ec2_encrypted_key algorithm='AES-128-CBC'>{_hex(manifest.ec2_encrypted_key)}</ec2_encrypted_key>",
        f"<user_encrypted_key algorithm='AES-128-CBC'>{_hex(manifest.user_encrypted_key)}</user_encrypted_key>",
        _element("ec2_encrypted_iv", _hex(manifest.ec2_encrypted_iv)),
        _element("user_encrypted_iv", _hex(manifest.user_encrypted_iv)),
        f"<parts count='{len(manifest.parts)}'>{''.join(parts)}</parts>",
    )
