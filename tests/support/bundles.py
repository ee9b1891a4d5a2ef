"""Bundles for tests, made with tar, gzip and openssl from the format's description: nothing of ours takes part.

A `Writer` is one tool's way of writing them; WRITERS are those that are known, to be taken as pytest parameters:

    @pytest.mark.parametrize("writer", WRITERS, ids=str)
    def test_reads(writer: Writer, tmp_path: Path, ...) -> None:
        bundle = make_bundle(tmp_path, ec2_certificate, writer=writer, content=HOLED)

`bundle.files()` is all that such a tool leaves behind, `bundle.content` the image, `bundle.user_key` opens it.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PART = 10 * 1024 * 1024
HOLED = b"".join(bytes([number]) * 4096 + bytes(65536) for number in range(1, 12)) + b"the end" + bytes(100_000)
"""An image of more holes than a sparse header has room for, and one at its end; of no round size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """How a tool writes bundles, where tools differ. The defaults are ec2-ami-tools'."""

    name: str
    objected: tuple[str, ...] = ()
    """The codes of why EC2 would refuse what it writes."""
    version: str = "2007-10-10"
    declaration: str = "<?xml version='1.0'?>"
    quote: str = "'"
    indented: bool = False
    """Indented after it was signed, which breaks the signature."""
    device_first: bool = False
    """<device> before <virtual>."""
    codes_first: bool = False
    """<product_codes> before <kernel_id>."""
    type_late: bool = False
    """<type> not right after <user>."""
    dashes: bool = False
    """The account as 1234-5678-9012."""
    unsigned: bool = False
    """UNSIGNED for a signature, and the user's fields empty."""
    encrypted: int = 0
    """The scheme that the manifest is encrypted by."""
    digits: str = "count"
    """What part numbers are padded to: the digits of the `count`, `two`, or `none`."""
    empty_part: bool = False
    """An empty part when the others are all full; here they always are."""
    sparse: bool = False
    """Holes in the image are holes in the archive."""
    tar: tuple[str, ...] = ("--format=gnu", "--owner=root:0", "--group=root:0")
    gzip: tuple[str, ...] = ("gzip",)
    members: int = 1
    """Members of the gzip stream."""
    iv_bytes: int = 16
    bits: int = 2048
    """Of the user's RSA key."""

    def __str__(self) -> str:
        return self.name

    @property
    def signed(self) -> bool:
        """Whether the signature in the file fits."""
        return not self.unsigned and not self.indented

    @property
    def modern(self) -> bool:
        """Whether its manifests tell type, kernel, mapping and product codes."""
        return self.version == "2007-10-10"


AMI_TOOLS_1_4 = Writer(name="ec2-ami-tools-1.4", sparse=True)
AMI_TOOLS = Writer(name="ec2-ami-tools-1.5", sparse=True, gzip=("gzip", "-9"))
_EUCA2OOLS = {
    "declaration": "<?xml version='1.0' encoding='ASCII'?>\n",
    "quote": '"',
    "digits": "two",
    "empty_part": True,
    "codes_first": True,
    "gzip": (shutil.which("pigz") or "gzip",),
    "tar": ("--format=gnu", "--owner=0", "--group=0", "--numeric-owner", "--mode=0644", "--mtime=@0"),
}
EUCA2OOLS = Writer(name="euca2ools-3.4", **_EUCA2OOLS)  # type: ignore[arg-type]
EUCA2OOLS_3_1 = Writer(
    name="euca2ools-3.1",
    objected=("declaration", "order", "account"),
    device_first=True,
    type_late=True,
    dashes=True,
    **{**_EUCA2OOLS, "declaration": ""},  # type: ignore[arg-type]
)
EUCA2OOLS_UNSIGNED = Writer(
    name="euca2ools-without-key",
    objected=("empty", "unsigned"),
    unsigned=True,
    **_EUCA2OOLS,  # type: ignore[arg-type]
)
EUCA2OOLS_INDENTED = Writer(
    name="euca2ools-indented",
    objected=("white-space",),
    indented=True,
    **_EUCA2OOLS,  # type: ignore[arg-type]
)
GO = Writer(
    name="go-ami-tools",
    quote='"',
    digits="none",
    tar=("--format=ustar", "--owner=root:0", "--group=root:0", "--mode=0644", "--blocking-factor=1"),
    gzip=("gzip", "-9"),
    bits=1024,
)
SCALARIZR = Writer(name="scalarizr", iv_bytes=8, sparse=True)
PARALLEL = Writer(name="multi-member-gzip", members=3)
PAX = Writer(name="pax", tar=("--format=pax", "--owner=root:0", "--group=root:0"))
PAX_SPARSE = Writer(name="pax-sparse", tar=PAX.tar, sparse=True)
"""ec2-ami-tools with a GNU tar whose default format is pax."""
VERSION_3 = Writer(name="version-3", version="3", objected=("version", "missing"), sparse=True)
VERSION_2007_08_29 = Writer(
    name="version-2007-08-29", version="2007-08-29", objected=("version", "missing"), sparse=True
)
VERSION_20070829 = Writer(name="version-20070829", version="20070829", objected=("version", "missing"), sparse=True)
ENCRYPTED_1 = Writer(name="encrypted-scheme-1", encrypted=1, bits=1024, sparse=True)
ENCRYPTED_2 = Writer(name="encrypted-scheme-2", encrypted=2, sparse=True)
BY_HAND = Writer(name="by-hand")

WRITERS = (
    AMI_TOOLS_1_4, AMI_TOOLS, EUCA2OOLS, EUCA2OOLS_3_1, EUCA2OOLS_UNSIGNED, EUCA2OOLS_INDENTED, GO, SCALARIZR,
    PARALLEL, PAX, PAX_SPARSE, VERSION_3, VERSION_2007_08_29, VERSION_20070829, ENCRYPTED_1, ENCRYPTED_2,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TestBundle:
    """What a tool left behind, and what went into it."""

    __test__ = False

    name: str
    manifest: bytes
    """As it lies beside the parts, maybe encrypted."""
    parts: Mapping[str, bytes]
    key: str
    iv: str
    """As wrapped: hex, maybe short."""
    plain_manifest: bytes
    content: bytes
    tar_sha1: str
    user_key: Path
    user_certificate: Path
    writer: Writer

    @property
    def manifest_name(self) -> str:
        return f"{self.name}.manifest.xml"

    def files(self) -> dict[str, bytes]:
        return {**self.parts, self.manifest_name: self.manifest}


def _run(*command: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run([str(each) for each in command], input=stdin, capture_output=True, check=True).stdout


def make_user(directory: Path, bits: int = 2048) -> tuple[Path, Path]:
    """A throw-away private key and certificate, as the bundling user has them."""
    ending = "" if bits == 2048 else f"-{bits}"
    key, certificate = directory / f"pk{ending}.pem", directory / f"cert{ending}.pem"
    if not key.exists():
        directory.mkdir(parents=True, exist_ok=True)
        _run(
            "openssl", "req", "-x509", "-newkey", f"rsa:{bits}", "-nodes", "-subj", "/CN=user", "-days", "1",
            "-keyout", key, "-out", certificate,
        )  # fmt: skip
    return key, certificate


def make_bundle(
    directory: Path,
    region_certificate: Path,
    *,
    writer: Writer = BY_HAND,
    name: str = "disk.img",
    content: bytes = b"an image" * 4096,
    account: str = "123456789012",
    architecture: str = "x86_64",
    kernel_id: str = "aki-919dcaf8",
    ramdisk_id: str = "",
    mappings: Sequence[tuple[str, str]] = (("ami", "sda1"), ("ephemeral0", "sda2"), ("root", "/dev/sda1")),
    product_codes: Sequence[str] = (),
    ancestry: Sequence[str] = (),
    part_size: int = PART,
) -> TestBundle:
    """One image, bundled for `region_certificate`. Leaves the image and the user's key in `directory`."""
    user_key, user_certificate = make_user(directory, writer.bits)
    tar = _archive(directory, name, content, writer)
    key, iv = os.urandom(16).hex(), os.urandom(writer.iv_bytes).hex()
    cipher = _run("openssl", "enc", "-e", "-aes-128-cbc", "-K", key, "-iv", iv, stdin=_compress(tar, writer))
    parts = _cut(name, cipher, part_size, writer)
    xml = _Xml(writer.quote)
    machine = _machine_configuration(
        xml, writer, architecture, (("kernel_id", kernel_id), ("ramdisk_id", ramdisk_id)), mappings, product_codes
    )
    wrapped_for = (("ec2", region_certificate), ("user", user_certificate))
    image = _image(
        xml,
        writer,
        *(xml("name", name), xml("user", f"{account[:4]}-{account[4:8]}-{account[8:]}" if writer.dashes else account)),
        xml.listed("ancestry", "ancestor_ami_id", ancestry),
        xml("digest", hashlib.sha1(tar).hexdigest(), algorithm="SHA1"),
        xml("size", str(len(content))),
        xml("bundled_size", str(sum(map(len, parts.values())))),
        *(
            xml(f"{who}_encrypted_key", _wrapped(writer, who, pem, key), algorithm="AES-128-CBC")
            for who, pem in wrapped_for
        ),
        *(xml(f"{who}_encrypted_iv", _wrapped(writer, who, pem, iv)) for who, pem in wrapped_for),
        _parts(xml, parts),
    )
    signature = _run("openssl", "dgst", "-sha1", "-sign", user_key, stdin=(machine + image).encode()).hex()
    manifest = writer.declaration + xml(
        "manifest",
        xml("version", writer.version),
        xml("bundler", xml("name", writer.name), xml("version", "1"), xml("release", "0")),
        machine,
        image,
        xml("signature", "UNSIGNED" if writer.unsigned else signature),
    )
    plain = (manifest.replace("><", ">\n  <") if writer.indented else manifest).encode()
    return TestBundle(
        name=name,
        manifest=_encrypt_manifest(plain, user_certificate, writer.encrypted) if writer.encrypted else plain,
        parts=parts,
        key=key,
        iv=iv,
        plain_manifest=plain,
        content=content,
        tar_sha1=hashlib.sha1(tar).hexdigest(),
        user_key=user_key,
        user_certificate=user_certificate,
        writer=writer,
    )


@dataclass(frozen=True, slots=True)
class _Xml:
    """Writes elements in one style."""

    quote: str

    def __call__(self, tag: str, *inner: str, **attributes: object) -> str:
        found = "".join(f" {each}={self.quote}{value}{self.quote}" for each, value in attributes.items())
        return f"<{tag}{found}>{''.join(inner)}</{tag}>" if any(inner) else f"<{tag}{found}/>"

    def listed(self, tag: str, child: str, texts: Sequence[str]) -> str:
        return self(tag, *(self(child, text) for text in texts)) if texts else ""


def _machine_configuration(
    xml: _Xml,
    writer: Writer,
    architecture: str,
    kernel: Sequence[tuple[str, str]],
    mappings: Sequence[tuple[str, str]],
    product_codes: Sequence[str],
) -> str:
    if writer.version == "3":
        return ""
    inner = [xml("architecture", architecture)]
    if writer.modern:
        pairs = [(xml("virtual", virtual), xml("device", device)) for virtual, device in mappings]
        mapped = [xml("mapping", *(reversed(pair) if writer.device_first else pair)) for pair in pairs]
        kernels = "".join(xml(tag, value) for tag, value in kernel if value)
        codes = xml.listed("product_codes", "product_code", product_codes)
        inner.append(xml("block_device_mapping", *mapped) if mapped else "")
        inner += (codes, kernels) if writer.codes_first else (kernels, codes)
    return xml("machine_configuration", *inner)


def _image(xml: _Xml, writer: Writer, name: str, user: str, ancestry: str, *rest: str) -> str:
    kind = xml("type", "machine") if writer.modern else ""
    inner = (ancestry, rest[0], kind) if writer.type_late else (kind, ancestry, rest[0])
    return xml("image", name, user, *inner, *rest[1:])


def _wrapped(writer: Writer, who: str, certificate: Path, secret: str) -> str:
    return "" if writer.unsigned and who == "user" else _wrap(certificate, secret.encode()).hex()


def _parts(xml: _Xml, parts: Mapping[str, bytes]) -> str:
    digests = {name: xml("digest", hashlib.sha1(piece).hexdigest(), algorithm="SHA1") for name, piece in parts.items()}
    listed = (xml("part", xml("filename", name), digest, index=n) for n, (name, digest) in enumerate(digests.items()))
    return xml("parts", *listed, count=len(parts))


def _archive(directory: Path, name: str, content: bytes, writer: Writer) -> bytes:
    with (directory / name).open("wb") as image:
        for at in range(0, len(content), 4096):
            block = content[at : at + 4096]
            if block.strip(b"\0") or at + 4096 > len(content):
                image.seek(at)
                image.write(block)
        image.truncate(len(content))
    options = ("--dereference", *(("--sparse", "--hole-detection=raw") if writer.sparse else ()), *writer.tar)
    return _run("tar", "--create", *options, "--directory", directory, name)


def _compress(tar: bytes, writer: Writer) -> bytes:
    step = -(-len(tar) // writer.members)
    pieces = (tar[at : at + step] for at in range(0, len(tar), step))
    return b"".join(_run(*writer.gzip, "--no-name", "--stdout", stdin=piece) for piece in pieces)


def _cut(name: str, cipher: bytes, part_size: int, writer: Writer) -> dict[str, bytes]:
    if writer.empty_part:
        least = -(-len(cipher) // part_size)
        count = next(n for n in range(least, len(cipher) + 1) if len(cipher) % n == 0)
        part_size = len(cipher) // count
    pieces = [cipher[at : at + part_size] for at in range(0, len(cipher), part_size)]
    if writer.empty_part:
        pieces.append(b"")
    width = {"count": len(str(len(pieces))), "two": 2, "none": 1}[writer.digits]
    return {f"{name}.part.{index:0{width}}": piece for index, piece in enumerate(pieces)}


def _wrap(certificate: Path, secret: bytes) -> bytes:
    command = ("openssl", "pkeyutl", "-encrypt", "-certin", "-inkey", certificate)
    return _run(*command, "-pkeyopt", "rsa_padding_mode:pkcs1", stdin=secret)


def _encrypt_manifest(manifest: bytes, certificate: Path, scheme: int) -> bytes:
    """As ec2-ami-tools once did: the scheme, the length of the wrapped key and IV, those, and the manifest."""
    key, iv = os.urandom(16), os.urandom(16)
    wrapped = _wrap(certificate, key + iv)
    cipher = _run("openssl", "enc", "-e", "-aes-128-cbc", "-K", key.hex(), "-iv", iv.hex(), stdin=manifest)
    return bytes([scheme]) + len(wrapped).to_bytes(scheme, "big") + wrapped + cipher
