"""Reads bundle manifests: as widely as other tools have written them, and with the reasons why EC2 would refuse one.

One grammar, as data, serves both. Reading goes by name: order, quotes, white space and empty optional elements do not
matter; what could be understood in two ways is refused (an element twice or unknown, a gap in the parts, text that is
not of its form, anything that XML could hide something in). `objections` says what of the rest EC2 does not take.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

from builder.errors import BuilderError
from builder.formats.bundle_manifest import SIZE_LIMIT, BundleManifest, Bundler, ManifestError, Part
from builder.formats.manifest_grammar import DEVICE, GRAMMARS, REFUSALS, VERSION_FORM, Element, Form, Need

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

_ELEMENTS_LIMIT = 100_000
"""The longest manifest that a tool can write has some 4200; this many take about 60 MB of memory."""
_DEPTH_LIMIT = 8
_DECLARATION = re.compile(rb"""<\?xml version=(['"])1\.0\1( encoding=(['"])(?i:UTF-8|(US-)?ASCII)\3)?\s*\?>""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """One reason why EC2 would refuse a manifest that can be read."""

    code: str
    """A key of REFUSALS."""
    where: str
    """The element, such as `manifest/image/user`."""
    why: str


def read_manifest(data: bytes) -> BundleManifest:
    """What a manifest of version 2007-10-10, 2007-08-29 or 3 says; ManifestError names the first thing that is wrong.

    An element that is not there, or is empty, is an empty string or tuple; an old manifest without an architecture or
    a type is of `i386` or `machine`. Parts come in the order of their indices. Not held: the signature, see
    `verify_signature`, and what EC2 demands besides, see `objections`.
    """
    return _read(data)[1]


def signed_bytes(data: bytes) -> bytes:
    """What the signature of a manifest is over: the text of its signed elements, as it stands in the file."""
    return _signed_bytes(data, _read(data)[0])


def verify_signature(data: bytes, public_key: "RSAPublicKey") -> bool:
    """Whether the owner of the key signed this manifest; an unsigned one was signed by nobody."""
    from builder.formats import bundle_cipher

    root, manifest = _read(data)
    return bundle_cipher.verify(_signed_bytes(data, root), bytes.fromhex(manifest.signature), public_key)


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
        for child in self.children:
            if child.tag == tag:
                return child
        return _Node(tag=tag, attributes={})

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
    if not VERSION_FORM.read(version):
        _refuse(f'version "{_shown(version)}" is not known, only {", ".join(GRAMMARS)}')
    version = VERSION_FORM.value(version)
    _hold(root, GRAMMARS[version], "manifest")
    _signed_bytes(data, root)
    return root, _manifest(root)


def _parse(data: bytes) -> _Node:
    if len(data) > SIZE_LIMIT:
        _refuse(f"it has more than the {SIZE_LIMIT} bytes that are read")
    if is_encrypted(data):
        _refuse("it is encrypted, as very old tools left it, and not to be read without the private key")
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
    if sorted(node.attributes) != [name for name, _ in element.attributes]:
        found = _shown(", ".join(node.attributes)) or "none"
        _refuse(f"{path} has other attributes than it should: {found}")
    for name, pattern in element.attributes:
        if re.fullmatch(pattern, node.attributes[name]) is None:
            _refuse(f'{path}: {name} is "{_shown(node.attributes[name])}"')


def _hold_text(node: _Node, element: Element, form: Form, path: str) -> None:
    if node.children:
        _refuse(f"{path} holds elements, not text")
    text = node.text.strip()
    if not text and element.need is Need.READER:
        _refuse(f"{path} is empty")
    if text and not form.read(text):
        _refuse(f'{path}: "{_shown(text)}" is not allowed there')
    node.value = form.value(text) if text else ""


def _signed_bytes(data: bytes, root: _Node) -> bytes:
    """Of the elements that are there: version 3 has no configuration, and a 2007-08-29 may have none."""
    present = {child.tag for child in root.children}
    return b"".join(_cut_out(data, tag) for tag in ("machine_configuration", "image") if tag in present)


def _cut_out(data: bytes, tag: str) -> bytes:
    """The text of an element, which must be the only thing in the file that looks like it."""
    first, last = f"<{tag}>".encode(), f"</{tag}>".encode()
    if (data.count(first), data.count(last)) != (1, 1):
        _refuse(f"<{tag}> must stand there once, without attributes or spaces: its text is what is signed")
    return data[data.index(first) : data.index(last) + len(last)]


def _manifest(root: _Node) -> BundleManifest:
    configuration, image, bundler = root.at("machine_configuration"), root.at("image"), root.at("bundler")
    mappings = configuration.at("block_device_mapping").children
    return BundleManifest(
        version=root.at("version").value,
        bundler=Bundler(**{tag: bundler.at(tag).value for tag in ("name", "version", "release")})
        if bundler.values()
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
    present = {child.tag for child in node.children}
    for expected in element.children:
        if expected.need is not Need.NOBODY and not expected.many and expected.tag not in present:
            yield _objection("missing", path, expected.tag)


def _object_to_text(node: _Node, form: Form, path: str) -> Iterator[Objection]:
    text = node.text.strip()
    if text != node.text:
        yield _objection("white-space", path)
    if not text:
        yield _objection("empty", path)
    elif not form.taken(text):
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
