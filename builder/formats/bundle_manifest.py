"""The bundle manifest of EC2, version 2007-10-10: written once, signed as written, read with suspicion.

EC2 refuses a manifest whose elements stand in another order (`InvalidManifest`), so the order below is that of
ec2-ami-tools, the reference. What is signed is the text of <machine_configuration> and of <image>, tags included, put
side by side as it stands in the file; therefore a manifest is never parsed and written again.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape

from builder.errors import BuilderError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

VERSION = "2007-10-10"
SIZE_LIMIT = 5 * 1024 * 1024
"""A manifest of 1025 parts, the most that an image can have, takes about 175 KiB; Eucalyptus reads up to 5 MiB."""
TYPES = ("machine", "kernel", "ramdisk")

_DEPTH_LIMIT = 8
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_ACCOUNT = re.compile(r"[0-9]{12}")


class ManifestError(BuilderError):
    """A bundle manifest that EC2 would not take, or that nobody should."""


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
    """As read; what is written is signed anew."""


def part_names(name: str, count: int) -> tuple[str, ...]:
    """The parts' file names as ec2-ami-tools pads them: to as many digits as `count` has."""
    return tuple(f"{name}.part.{index:0{len(str(count))}}" for index in range(count))


def format_manifest(manifest: BundleManifest, sign: Callable[[bytes], bytes]) -> bytes:
    """The file's bytes. `sign` gets the signed bytes exactly as they stand in the file."""
    configuration = _machine_configuration(manifest).encode("ascii")
    image = _image(manifest).encode("ascii")
    signature = sign(configuration + image)
    bundler = manifest.bundler
    head = "<?xml version='1.0'?><manifest>" + _element("version", manifest.version)
    if bundler is not None:
        head += _wrap(
            "bundler",
            _element("name", bundler.name),
            _element("version", bundler.version),
            _element("release", bundler.release),
        )
    tail = _element("signature", signature.hex()) + "</manifest>"
    return head.encode("ascii") + configuration + image + tail.encode("ascii")


def read_manifest(data: bytes) -> BundleManifest:
    """Read a manifest; ManifestError names the first thing that is wrong.

    Held: the declaration, the version, every element and its order, numbers, hex digits, part names and indices, the
    count of parts, and that the signed text is what was parsed. No DOCTYPE, comment or processing instruction is taken,
    so there are no entities to expand. Not held: the signature, see `verify_signature`.
    """
    root = _parse(data)
    manifest = _read_root(root)
    for tag in ("machine_configuration", "image"):
        if (data.count(b"<%s>" % tag.encode()), data.count(b"</%s>" % tag.encode())) != (1, 1):
            _refuse(f"<{tag}> must stand there once, without attributes or spaces: its text is what is signed")
    return manifest


def signed_bytes(data: bytes) -> bytes:
    """What the signature of a manifest file is over: the text of two elements, as it stands in the file."""
    found = b""
    for tag in (b"machine_configuration", b"image"):
        start = data.find(b"<%s>" % tag)
        end = data.find(b"</%s>" % tag, start)
        if start < 0 or end < 0:
            _refuse(f"there is no <{tag.decode()}>")
        found += data[start : end + len(tag) + 3]
    return found


def verify_signature(data: bytes, public_key: "RSAPublicKey") -> bool:
    """Whether the owner of the key signed this manifest. The file must have passed `read_manifest`."""
    from builder.formats import bundle_cipher

    return bundle_cipher.verify(signed_bytes(data), bytes.fromhex(read_manifest(data).signature), public_key)


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


# Reading: expat into a small tree, then the tree in the order of the format.


def _refuse(why: str) -> NoReturn:
    raise ManifestError(f"bundle manifest: {why}")


@dataclass(slots=True, kw_only=True)
class _Node:
    tag: str
    attributes: dict[str, str]
    children: "list[_Node]" = field(default_factory=list)
    text: str = ""


def _parse(data: bytes) -> _Node:
    if len(data) > SIZE_LIMIT:
        _refuse(f"{len(data)} bytes are more than the {SIZE_LIMIT} that are read")
    if not data.startswith(b"<?xml "):
        _refuse("it does not begin with an XML declaration, which EC2 demands")
    document = _Node(tag="", attributes={})
    open_nodes = [document]

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(open_nodes) > _DEPTH_LIMIT:
            _refuse("its elements are nested too deeply")
        node = _Node(tag=tag, attributes=attributes)
        open_nodes[-1].children.append(node)
        open_nodes.append(node)

    def end(_tag: str) -> None:
        open_nodes.pop()

    def text(characters: str) -> None:
        open_nodes[-1].text += characters

    def forbidden(*_: object) -> NoReturn:
        _refuse("a DOCTYPE, comment, CDATA section or processing instruction has no place in it")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    for handler in (
        "StartDoctypeDeclHandler",
        "EntityDeclHandler",
        "CommentHandler",
        "StartCdataSectionHandler",
        "ProcessingInstructionHandler",
    ):
        setattr(parser, handler, forbidden)
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the latter two: an encoding that nobody knows
        _refuse(f"it is not XML: {error}")
    return document.children[0]


class _Children:
    """The children of one element, taken in the order of the format; what is left over is an error."""

    def __init__(self, node: _Node, path: str, attributes: Iterable[str] = ()) -> None:
        if node.text.strip():
            _refuse(f"{path} holds text between its elements")
        _hold_attributes(node, path, attributes)
        self._path = path
        self._nodes: Iterator[_Node] = iter(node.children)
        self._next: _Node | None = next(self._nodes, None)

    def take(self, tag: str) -> _Node:
        node = self.take_if(tag)
        if node is None:
            here = f"<{self._next.tag}> stands" if self._next else "the element ends"
            _refuse(f"{self._path}: <{tag}> is missing or out of order ({here} in its place)")
        return node

    def take_if(self, tag: str) -> _Node | None:
        node = self._next
        if node is None or node.tag != tag:
            return None
        self._next = next(self._nodes, None)
        return node

    def text(self, tag: str, pattern: re.Pattern[str] | None = None, **attributes: str) -> str:
        return _text(self.take(tag), f"{self._path}/{tag}", pattern, attributes)

    def text_if(self, tag: str) -> str:
        node = self.take_if(tag)
        return _text(node, f"{self._path}/{tag}") if node else ""

    def number(self, tag: str) -> int:
        return int(self.text(tag, _NUMBER))

    def listed(self, tag: str, child: str) -> tuple[str, ...]:
        node = self.take_if(tag)
        if node is None:
            return ()
        inner = _Children(node, f"{self._path}/{tag}")
        texts = []
        while (item := inner.take_if(child)) is not None:
            texts.append(_text(item, f"{self._path}/{tag}/{child}"))
        inner.end()
        if not texts:
            _refuse(f"{self._path}/{tag} is empty: it must be left out then")
        return tuple(texts)

    def end(self) -> None:
        if self._next is not None:
            _refuse(f"{self._path}: <{self._next.tag}> is unknown or out of order")


def _hold_attributes(node: _Node, path: str, expected: Iterable[str]) -> None:
    if set(node.attributes) != set(expected):
        _refuse(f"{path} has the attributes {sorted(node.attributes)}, not {sorted(expected)}")


def _text(
    node: _Node, path: str, pattern: re.Pattern[str] | None = None, attributes: dict[str, str] | None = None
) -> str:
    _hold_attributes(node, path, attributes or ())
    for name, value in (attributes or {}).items():
        if node.attributes[name] != value:
            _refuse(f'{path}: {name} is "{node.attributes[name]}", not "{value}"')
    if node.children:
        _refuse(f"{path} holds elements, not text")
    if not node.text:
        _refuse(f"{path} is empty")
    if pattern is not None and pattern.fullmatch(node.text) is None:
        _refuse(f'{path}: "{node.text[:60]}" is not allowed there')
    return node.text


def _read_root(root: _Node) -> BundleManifest:
    if root.tag != "manifest":
        _refuse(f"its root is <{root.tag}>, not <manifest>")
    top = _Children(root, "manifest")
    version = top.text("version")
    if version != VERSION:
        _refuse(f'version "{version}" is not known, only {VERSION}')
    bundler = None
    if (node := top.take_if("bundler")) is not None:
        inner = _Children(node, "manifest/bundler")
        bundler = Bundler(name=inner.text("name"), version=inner.text("version"), release=inner.text("release"))
        inner.end()
    configuration = _Children(top.take("machine_configuration"), "manifest/machine_configuration")
    image = _Children(top.take("image"), "manifest/image")
    signature = top.text("signature", _HEX)
    top.end()
    architecture = configuration.text("architecture")
    mapping = _read_mapping(configuration)
    kernel_id, ramdisk_id = configuration.text_if("kernel_id"), configuration.text_if("ramdisk_id")
    product_codes = configuration.listed("product_codes", "product_code")
    configuration.end()
    name, account, kind = image.text("name"), image.text("user", _ACCOUNT), image.text("type")
    if kind not in TYPES:
        _refuse(f'manifest/image/type: "{kind}" is none of {", ".join(TYPES)}')
    kernel_name = image.text("kernel_name") if kind == "kernel" else ""
    manifest = BundleManifest(
        version=version,
        bundler=bundler,
        architecture=architecture,
        block_device_mapping=mapping,
        kernel_id=kernel_id,
        ramdisk_id=ramdisk_id,
        product_codes=product_codes,
        name=name,
        account=account,
        type=kind,
        kernel_name=kernel_name,
        ancestry=image.listed("ancestry", "ancestor_ami_id"),
        digest=image.text("digest", _SHA1, algorithm="SHA1"),
        size=image.number("size"),
        bundled_size=image.number("bundled_size"),
        ec2_encrypted_key=image.text("ec2_encrypted_key", _HEX, algorithm="AES-128-CBC"),
        user_encrypted_key=image.text("user_encrypted_key", _HEX, algorithm="AES-128-CBC"),
        ec2_encrypted_iv=image.text("ec2_encrypted_iv", _HEX),
        user_encrypted_iv=image.text("user_encrypted_iv", _HEX),
        parts=_read_parts(image.take("parts")),
        signature=signature,
    )
    image.end()
    return manifest


def _read_mapping(configuration: _Children) -> tuple[tuple[str, str], ...]:
    node = configuration.take_if("block_device_mapping")
    if node is None:
        return ()
    path = "manifest/machine_configuration/block_device_mapping"
    children = _Children(node, path)
    mapping = []
    while (item := children.take_if("mapping")) is not None:
        pair = _Children(item, f"{path}/mapping")
        mapping.append((pair.text("virtual"), pair.text("device")))
        pair.end()
    children.end()
    if not mapping:
        _refuse(f"{path} is empty: it must be left out then")
    return tuple(mapping)


def _read_parts(node: _Node) -> tuple[Part, ...]:
    path = "manifest/image/parts"
    children = _Children(node, path, attributes=("count",))
    parts: list[Part] = []
    while (item := children.take_if("part")) is not None:
        here = f"{path}/part[{len(parts)}]"
        inner = _Children(item, here, attributes=("index",))
        if item.attributes["index"] != str(len(parts)):
            _refuse(f'{here} has the index "{item.attributes["index"]}"')
        parts.append(
            Part(filename=inner.text("filename", _FILE_NAME), sha1=inner.text("digest", _SHA1, algorithm="SHA1"))
        )
        inner.end()
    children.end()
    if node.attributes["count"] != str(len(parts)):
        _refuse(f'{path} has the count "{node.attributes["count"]}" and holds {len(parts)}')
    if not parts:
        _refuse(f"{path} is empty")
    if len({part.filename for part in parts}) != len(parts):
        _refuse(f"{path} names a file twice")
    return tuple(parts)
