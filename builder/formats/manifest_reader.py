"""Reads bundle manifests: as widely as other tools have written them, and with the reasons why EC2 would refuse one.

One grammar, as data, serves both. Reading goes by name: order, quotes, white space and empty optional elements do not
matter; what could be understood in two ways is refused (an element twice or unknown, a gap in the parts, text that is
not of its form, anything that XML could hide something in). `objections` says what of the rest EC2 does not take.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

from builder.errors import BuilderError
from builder.formats.bundle_manifest import SIZE_LIMIT, TYPES, VERSION, BundleManifest, Bundler, ManifestError, Part

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

# 10 GiB, inclusive, is the size of the root store of every instance type that has one.
_LARGEST_IMAGE = 10 << 30
_ELEMENTS_LIMIT = 100_000
"""The longest manifest that a tool can write has some 4200; this many take about 60 MB of memory."""
_DEPTH_LIMIT = 8
_DECLARATION = re.compile(rb"""<\?xml version=(['"])1\.0\1( encoding=(['"])(?i:UTF-8|(US-)?ASCII)\3)?\s*\?>""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something in a readable manifest for which EC2 answers `InvalidManifest`."""

    why: str
    """`{text}` stands for what was found."""
    source: str
    """The section of the format's description that tells of it; `inferred` where no answer of EC2's is known."""
    message: str = "Invalid AMI manifest"
    """How EC2 begins."""


REFUSALS = {
    "declaration": Refusal(
        why="it does not begin with a plain XML declaration, which EC2 demands", source="3.2, TOOLS-294"
    ),
    "version": Refusal(why='version "{text}" is not read any more, only ' + VERSION, source="3.1, inferred"),
    "order": Refusal(why="<{text}> is out of order", source="3.3, TOOLS-294, TOOLS-559"),
    "missing": Refusal(why="<{text}> is missing", source="3.3, 3.5, 3.6"),
    "empty": Refusal(why="it is empty", source="3.3, 3.5, 3.6"),
    "white-space": Refusal(why="there is white space around it", source="3.2, 3.6"),
    "account": Refusal(why='"{text}" has dashes: 12 digits alone are an account', source="3.4, TOOLS-294"),
    "architecture": Refusal(why="architecture {text} is neither i386 nor x86_64", source="3.4, inferred"),
    "type": Refusal(why="type {text}: only machine images can be registered", source="3.4"),
    "kernel-name": Refusal(why="a kernel has it, and nothing else", source="3.3, inferred"),
    "size": Refusal(why="size {text} is not between 1 byte and 10 GiB", source="5"),
    "hex": Refusal(why='"{text}" is not of lower-case hex digits in pairs', source="2.3, 3.5, inferred"),
    "unsigned": Refusal(why="it says {text}", source="3.6"),
    "part-order": Refusal(why="the parts do not stand in the order of their indices", source="2.6, inferred"),
    "virtual-name": Refusal(
        why="Invalid virtual name '{text}'", source="3.4, inferred", message="Invalid block device mapping"
    ),
    "device-name": Refusal(why="Invalid device name '{text}'", source="3.4", message="Invalid block device mapping"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """One reason why EC2 would refuse a manifest that can be read."""

    code: str
    """A key of REFUSALS."""
    where: str
    """The element, such as `manifest/image/user`."""
    why: str


# The grammar.


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a text may be."""

    read: re.Pattern[str]
    """What is taken."""
    written: Callable[[str], object] = bool
    """Whether EC2 takes it as it stands; `code` is the objection when not."""
    code: str = ""
    value: Callable[[str], str] = str
    """What it comes to."""


class Need(Enum):
    """Who does not do without an element."""

    READER = "reader"
    """Without it nothing can be read; nor does EC2 take it."""
    EC2 = "EC2"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """An element of text (`form`) or of elements (`children`, in the order that EC2 demands)."""

    tag: str
    form: Form | None = None
    children: "tuple[Element, ...]" = ()
    attributes: tuple[tuple[str, str], ...] = ()
    """(name, pattern): all must be there, and no others."""
    need: Need = Need.READER
    many: bool = False


DEVICE = re.compile(r"(/dev/)?((sd|hd)[a-z]([1-9]|1[0-5])?|xvd([a-z]|[b-c][a-z])([1-9]|1[0-5])?|\d+)")

_TEXT = Form(read=re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028-\u202f\u2066-\u2069\ufeff]{1,1000}"))
_NAME = Form(read=re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f-\x9f\u2028-\u202f\u2066-\u2069\ufeff]{1,255}"))
_FILE_NAME = Form(read=re.compile(r"(?=.{8,255}$)[A-Za-z0-9_+@=][A-Za-z0-9_+@=,.~ ()-]*\.part\.[0-9]{1,6}"))
_NUMBER = Form(read=re.compile(r"0|[1-9][0-9]{0,18}"))
_SIZE = Form(read=_NUMBER.read, written=lambda text: 0 < int(text) <= _LARGEST_IMAGE, code="size")
_SHA1 = Form(
    read=re.compile(r"[0-9a-fA-F]{40}"), written=re.compile(r"[0-9a-f]{40}").fullmatch, code="hex", value=str.lower
)
_HEX = Form(
    read=re.compile(r"[0-9a-fA-F]{1,8192}"),
    written=re.compile(r"(?:[0-9a-f]{2})+").fullmatch,
    code="hex",
    # A number that was printed without its leading zero.
    value=lambda text: text.lower().rjust(len(text) + len(text) % 2, "0"),
)
_SIGNATURE = Form(
    read=re.compile(f"{_HEX.read.pattern}|UNSIGNED"),
    written=lambda text: text != "UNSIGNED",
    code="unsigned",
    value=lambda text: "" if text == "UNSIGNED" else _HEX.value(text),
)
_VERSION = Form(
    read=re.compile(r"2007-10-10|20071010|2007-08-29|20070829|3"), written=VERSION.__eq__, code="version",
    value=lambda text: re.sub(r"(\d{4})(\d\d)(\d\d)", r"\1-\2-\3", text),
)  # fmt: skip
_ACCOUNT = Form(
    read=re.compile(r"(?:[0-9]-*){11}[0-9]"),
    written=re.compile(r"[0-9]{12}").fullmatch,
    code="account",
    value=lambda text: text.replace("-", ""),
)
_TYPE = Form(read=re.compile("|".join(TYPES)), written="machine".__eq__, code="type")
_ARCHITECTURE = Form(
    read=re.compile(r"[A-Za-z0-9_]{1,20}"), written=re.compile("i386|x86_64").fullmatch, code="architecture"
)
_VIRTUAL = Form(
    read=_TEXT.read, written=re.compile(r"ami|root|swap|ephemeral\d+|ebs\d+").fullmatch, code="virtual-name"
)


def _leaf(
    tag: str, form: Form, attribute: tuple[str, str] | None = None, *, need: Need = Need.READER, many: bool = False
) -> Element:
    return Element(tag=tag, form=form, attributes=(attribute,) if attribute else (), need=need, many=many)


def _branch(
    tag: str,
    *children: Element,
    attribute: tuple[str, str] | None = None,
    need: Need = Need.READER,
    many: bool = False,
) -> Element:
    return Element(tag=tag, children=children, attributes=(attribute,) if attribute else (), need=need, many=many)


_BY_SHA1 = ("algorithm", "SHA1")
_BY_AES = ("algorithm", "AES-128-CBC")


def _grammar(version: str) -> Element:
    """What a manifest of this version holds, in the order of ec2-ami-tools."""
    since_2007_10 = Need.READER if version == VERSION else Need.EC2
    free = Need.NOBODY
    mapping = _branch("mapping", _leaf("virtual", _VIRTUAL), _leaf("device", _TEXT), many=True)
    configuration = _branch(
        "machine_configuration",
        _leaf("architecture", _ARCHITECTURE, need=since_2007_10),
        _branch("block_device_mapping", mapping, need=free),
        _leaf("kernel_id", _TEXT, need=free),
        _leaf("ramdisk_id", _TEXT, need=free),
        _branch("product_codes", _leaf("product_code", _TEXT, need=free, many=True), need=free),
        need=since_2007_10,
    )
    part = _branch(
        "part",
        _leaf("filename", _FILE_NAME),
        _leaf("digest", _SHA1, _BY_SHA1),
        attribute=("index", _NUMBER.read.pattern),
        many=True,
    )
    image = _branch(
        "image",
        _leaf("name", _NAME),
        _leaf("user", _ACCOUNT),
        _leaf("type", _TYPE, need=since_2007_10),
        _leaf("kernel_name", _TEXT, need=free),
        _branch("ancestry", _leaf("ancestor_ami_id", _TEXT, need=free, many=True), need=free),
        _leaf("digest", _SHA1, _BY_SHA1),
        _leaf("size", _SIZE),
        _leaf("bundled_size", _NUMBER),
        _leaf("ec2_encrypted_key", _HEX, _BY_AES),
        _leaf("user_encrypted_key", _HEX, _BY_AES, need=Need.EC2),
        _leaf("ec2_encrypted_iv", _HEX),
        _leaf("user_encrypted_iv", _HEX, need=Need.EC2),
        _branch("parts", part, attribute=("count", _NUMBER.read.pattern)),
    )
    bundler = _branch("bundler", *(_leaf(tag, _TEXT, need=free) for tag in ("name", "version", "release")), need=free)
    return _branch(
        "manifest",
        _leaf("version", _VERSION),
        bundler,
        *(() if version == "3" else (configuration,)),
        image,
        _leaf("signature", _SIGNATURE, need=Need.EC2),
    )


GRAMMARS = {version: _grammar(version) for version in (VERSION, "2007-08-29", "3")}


# Reading.


def read_manifest(data: bytes) -> BundleManifest:
    """What a manifest of version 2007-10-10, 2007-08-29 or 3 says; ManifestError names the first thing that is wrong.

    An element that is not there, or is empty, is an empty string or tuple; an old manifest without an architecture or
    a type is of `i386` or `machine`. Parts come in the order of their indices. Not held: the signature, see
    `verify_signature`, and what EC2 demands besides, see `objections`.
    """
    return _read(data)[1]


def signed_bytes(data: bytes) -> bytes:
    """What the signature of a manifest is over: the text of its signed elements, as it stands in the file."""
    manifest = read_manifest(data)
    return b"".join(_cut_out(data, tag) for tag in _signed(manifest.version))


def verify_signature(data: bytes, public_key: "RSAPublicKey") -> bool:
    """Whether the owner of the key signed this manifest; an unsigned one was signed by nobody."""
    from builder.formats import bundle_cipher

    manifest = read_manifest(data)
    return bundle_cipher.verify(signed_bytes(data), bytes.fromhex(manifest.signature), public_key)


def objections(data: bytes) -> tuple[Objection, ...]:
    """Why EC2 would refuse a manifest that can be read, in the order of the file; ManifestError when it cannot be."""
    root, manifest = _read(data)
    found = [] if _DECLARATION.match(data) else [_objection("declaration", "manifest")]
    found += _object(root, GRAMMARS[manifest.version], "manifest")
    if (manifest.type == "kernel") != bool(manifest.kernel_name):
        found.append(_objection("kernel-name", "manifest/image/kernel_name"))
    indices = [int(part.attributes["index"]) for part in root.at("image").at("parts").children]
    if indices != sorted(indices):
        found.append(_objection("part-order", "manifest/image/parts"))
    found += _object_to_mapping(manifest.block_device_mapping)
    return tuple(dict.fromkeys(found))


@dataclass(slots=True, kw_only=True)
class _Node:
    """An element as it was found; `value` is set when it has been held against the grammar."""

    tag: str
    attributes: dict[str, str]
    children: "list[_Node]" = field(default_factory=list)
    text: str = ""
    value: str = ""

    def at(self, tag: str) -> "_Node":
        """The child of this name, or an empty one."""
        return next((child for child in self.children if child.tag == tag), _Node(tag=tag, attributes={}))

    def values(self) -> tuple[str, ...]:
        return tuple(child.value for child in self.children if child.value)


def _refuse(why: str) -> NoReturn:
    raise ManifestError(f"bundle manifest: {why}")


def _shown(text: str) -> str:
    """Short, and safe on a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text[:60])


def _read(data: bytes) -> tuple[_Node, BundleManifest]:
    root = _parse(data)
    if root.tag != "manifest":
        _refuse(f"its root is <{_shown(root.tag)}>, not <manifest>")
    version = root.at("version").text.strip()
    if _VERSION.read.fullmatch(version) is None:
        _refuse(f'version "{_shown(version)}" is not known, only {", ".join(GRAMMARS)}')
    version = _VERSION.value(version)
    _hold(root, GRAMMARS[version], "manifest")
    for tag in _signed(version):
        _cut_out(data, tag)
    return root, _manifest(root)


def _parse(data: bytes) -> _Node:
    if len(data) > SIZE_LIMIT:
        _refuse(f"it has more than the {SIZE_LIMIT} bytes that are read")
    document = _Node(tag="", attributes={})
    open_nodes = [document]
    texts: list[list[str]] = [[]]
    elements = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal elements
        elements += 1
        if len(open_nodes) > _DEPTH_LIMIT or elements > _ELEMENTS_LIMIT:
            _refuse("its elements are too many or nested too deeply")
        node = _Node(tag=tag, attributes=attributes)
        open_nodes[-1].children.append(node)
        open_nodes.append(node)
        texts.append([])

    def end(_tag: str) -> None:
        open_nodes.pop().text = "".join(texts.pop())

    def text(characters: str) -> None:
        texts[-1].append(characters)

    def forbidden(*_: object) -> NoReturn:
        _refuse("a DOCTYPE, comment, CDATA section or processing instruction has no place in it")

    # One encoding whatever the declaration says: what is parsed must be what is cut out as signed.
    parser = expat.ParserCreate("utf-8")
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
    except expat.ExpatError as error:
        _refuse(f"it is not XML: {error}")
    return document.children[0]


def _hold(node: _Node, element: Element, path: str) -> None:
    """Hold a tree against the grammar and set its values."""
    _hold_attributes(node, element, path)
    if element.form is not None:
        _hold_text(node, element, element.form, path)
        return
    if node.text.strip():
        _refuse(f"{path} holds text between its elements")
    known = {child.tag: child for child in element.children}
    seen: dict[str, int] = {}
    for child in node.children:
        if child.tag not in known:
            _refuse(f"{path}: <{_shown(child.tag)}> is unknown")
        number = seen[child.tag] = seen.get(child.tag, -1) + 1
        many = known[child.tag].many
        if number and not many:
            _refuse(f"{path}: <{child.tag}> stands there twice")
        _hold(child, known[child.tag], f"{path}/{child.tag}[{number}]" if many else f"{path}/{child.tag}")
    for expected in element.children:
        if expected.need is Need.READER and not expected.many and expected.tag not in seen:
            _refuse(f"{path}: <{expected.tag}> is missing")


def _hold_attributes(node: _Node, element: Element, path: str) -> None:
    expected = dict(element.attributes)
    if node.attributes.keys() != expected.keys():
        _refuse(f"{path} has the attributes {_shown(str(sorted(node.attributes)))}, not {sorted(expected)}")
    for name, pattern in expected.items():
        if re.fullmatch(pattern, node.attributes[name]) is None:
            _refuse(f'{path}: {name} is "{_shown(node.attributes[name])}"')


def _hold_text(node: _Node, element: Element, form: Form, path: str) -> None:
    if node.children:
        _refuse(f"{path} holds elements, not text")
    text = node.text.strip()
    if not text and element.need is Need.READER:
        _refuse(f"{path} is empty")
    if text and form.read.fullmatch(text) is None:
        _refuse(f'{path}: "{_shown(text)}" is not allowed there')
    node.value = form.value(text) if text else ""


def _signed(version: str) -> tuple[str, ...]:
    return ("image",) if version == "3" else ("machine_configuration", "image")


def _cut_out(data: bytes, tag: str) -> bytes:
    """The text of an element; of no bytes where a version 2007-08-29 has none."""
    first, last = f"<{tag}>".encode(), f"</{tag}>".encode()
    counts = data.count(first), data.count(last)
    if counts == (0, 0) and f"<{tag}".encode() not in data:
        return b""
    if counts != (1, 1):
        _refuse(f"<{tag}> must stand there once, without attributes or spaces: its text is what is signed")
    return data[data.index(first) : data.index(last) + len(last)]


def _manifest(root: _Node) -> BundleManifest:
    configuration, image, bundler = root.at("machine_configuration"), root.at("image"), root.at("bundler")
    mappings = configuration.at("block_device_mapping").children
    return BundleManifest(
        version=root.at("version").value,
        bundler=Bundler(**{tag: bundler.at(tag).value for tag in ("name", "version", "release")})
        if bundler.children
        else None,
        architecture=configuration.at("architecture").value or "i386",
        block_device_mapping=tuple((each.at("virtual").value, each.at("device").value) for each in mappings),
        kernel_id=configuration.at("kernel_id").value,
        ramdisk_id=configuration.at("ramdisk_id").value,
        product_codes=configuration.at("product_codes").values(),
        name=image.at("name").value,
        account=image.at("user").value,
        type=image.at("type").value or "machine",
        kernel_name=image.at("kernel_name").value,
        ancestry=image.at("ancestry").values(),
        digest=image.at("digest").value,
        size=int(image.at("size").value),
        bundled_size=int(image.at("bundled_size").value),
        ec2_encrypted_key=image.at("ec2_encrypted_key").value,
        user_encrypted_key=image.at("user_encrypted_key").value,
        ec2_encrypted_iv=image.at("ec2_encrypted_iv").value,
        user_encrypted_iv=image.at("user_encrypted_iv").value,
        parts=_parts(image.at("parts")),
        signature=root.at("signature").value,
    )


def _parts(node: _Node) -> tuple[Part, ...]:
    """The parts by index: each of 0 to count - 1 once, and no file twice."""
    path = "manifest/image/parts"
    parts: dict[int, Part] = {}
    for child in node.children:
        index = int(child.attributes["index"])
        if index in parts:
            _refuse(f"{path} has the index {index} twice")
        parts[index] = Part(filename=child.at("filename").value, sha1=child.at("digest").value)
    if not parts:
        _refuse(f"{path} is empty")
    if node.attributes["count"] != str(len(parts)):
        _refuse(f"{path} has the count {node.attributes['count']} and holds {len(parts)}")
    if max(parts) != len(parts) - 1:
        _refuse(f"{path} has no index {min(set(range(len(parts))) - set(parts))}")
    if len({part.filename for part in parts.values()}) != len(parts):
        _refuse(f"{path} names a file twice")
    return tuple(parts[index] for index in range(len(parts)))


# What EC2 does not take.


def _objection(code: str, where: str, text: str = "") -> Objection:
    return Objection(code=code, where=where, why=REFUSALS[code].why.replace("{text}", _shown(text)))


def _object(node: _Node, element: Element, path: str) -> Iterator[Objection]:
    if element.form is not None:
        yield from _object_to_text(node, element.form, path)
        return
    if node.text:
        yield _objection("white-space", path)
    if not node.children:
        yield _objection("empty", path)
    order = [child.tag for child in element.children]
    children = {child.tag: child for child in element.children}
    last = 0
    for child in node.children:
        if order.index(child.tag) < last:
            yield _objection("order", path, child.tag)
        last = order.index(child.tag)
        yield from _object(child, children[child.tag], f"{path}/{child.tag}")
    for tag, expected in children.items():
        if (
            expected.need is not Need.NOBODY
            and not expected.many
            and not any(child.tag == tag for child in node.children)
        ):
            yield _objection("missing", path, tag)


def _object_to_text(node: _Node, form: Form, path: str) -> Iterator[Objection]:
    text = node.text.strip()
    if text != node.text:
        yield _objection("white-space", path)
    if not text:
        yield _objection("empty", path)
    elif not form.written(text):
        yield _objection(form.code, path, text)


def _object_to_mapping(mapping: tuple[tuple[str, str], ...]) -> Iterator[Objection]:
    path = "manifest/machine_configuration/block_device_mapping"
    virtuals = [virtual for virtual, _ in mapping]
    for virtual in sorted({each for each in virtuals if virtuals.count(each) > 1}):
        yield _objection("virtual-name", path, virtual)
    for virtual, device in mapping:
        # "root" is the kernel's own name for the root device, and may be anything.
        if virtual != "root" and DEVICE.fullmatch(device) is None:
            yield _objection("device-name", path, device)


# Encrypted manifests of old.


def is_encrypted(data: bytes) -> bool:
    """Whether this is a manifest of old that needs `open_manifest`."""
    return data[:1] in (b"\1", b"\2")


def open_manifest(data: bytes, private_key: "RSAPrivateKey") -> bytes:
    """The manifest in an encrypted one, as very old tools kept it; any other comes back as it is.

    A byte tells the scheme. The wrapped key and IV follow, raw, after their length in one byte (scheme 1) or two, big
    end first (scheme 2); then the manifest in AES-128-CBC. ManifestError when it is cut short or for another key.
    """
    from builder.formats import bundle_cipher

    if not is_encrypted(data):
        return data
    if len(data) > SIZE_LIMIT:
        _refuse(f"it has more than the {SIZE_LIMIT} bytes that are read")
    at = 1 + data[0]
    end = at + int.from_bytes(data[1:at], "big")
    try:
        plain = bundle_cipher.open_envelope(data[at:end], data[end:], private_key)
    except BuilderError:
        plain = b""
    # A wrong key may well give bytes, but not these.
    if not plain.startswith(b"<"):
        _refuse("it is encrypted, and cut short or for another private key")
    return plain
