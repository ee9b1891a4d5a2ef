"""What a bundle manifest may hold, element by element in the order that EC2 demands, and why EC2 refuses what it does.

Data only: `manifest_reader` reads by it and objects by it, and the tests break every element of it in turn. The
references are to the sections of the project's description of the format; TOOLS-n are euca2ools' reports of bundles
that EC2 refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from builder.formats.bundle_manifest import TYPES, VERSION

# 10 GiB, inclusive, is the size of the root store of every instance type that has one.
_LARGEST_IMAGE = 10 << 30


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
class Form:
    """What a text may be."""

    read: Callable[[str], object]
    """Whether it can be read."""
    taken: Callable[[str], object] = bool
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
"""EC2 refuses others: "Invalid block device mapping: Invalid device name 'xvdal'"."""
IMAGE_IDS = {
    type: re.compile(rf"{prefix}-[0-9a-f]{{8}}(?:[0-9a-f]{{9}})?")
    for type, prefix in (("kernel", "aki"), ("ramdisk", "ari"), ("machine", "ami"))
}
"""The ids that EC2 gives to images, by their type; those of its first ten years have eight digits."""
HEX = re.compile(r"[0-9a-fA-F]{1,8192}")
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")

_TEXT = Form(read=lambda text: len(text) <= 1000 and text.isprintable())
_NAME = Form(
    read=lambda text: len(text.encode()) <= 255 and text.isprintable() and "/" not in text and text not in (".", "..")
)
# Every writer ends so. A name that cannot be taken for anything but a part does no harm in any directory.
_FILE_NAME = Form(read=re.compile(r"(?=.{8,255}$)[A-Za-z0-9_+@=][A-Za-z0-9_+@=,.~ ()-]*\.part\.[0-9]{1,6}").fullmatch)
_NUMBER = Form(read=NUMBER.fullmatch)
_SIZE = Form(read=NUMBER.fullmatch, taken=lambda text: 0 < int(text) <= _LARGEST_IMAGE, code="size")
_SHA1 = Form(
    read=re.compile(r"[0-9a-fA-F]{40}").fullmatch,
    taken=re.compile(r"[0-9a-f]{40}").fullmatch,
    code="hex",
    value=str.lower,
)
_HEX = Form(
    read=HEX.fullmatch,
    taken=re.compile(r"(?:[0-9a-f]{2})+").fullmatch,
    code="hex",
    # A number that was printed without its leading zero.
    value=lambda text: text.lower().rjust(len(text) + len(text) % 2, "0"),
)
_SIGNATURE = Form(
    read=lambda text: text == "UNSIGNED" or HEX.fullmatch(text),  # euca2ools without a key
    taken="UNSIGNED".__ne__,
    code="unsigned",
    value=lambda text: "" if text == "UNSIGNED" else _HEX.value(text),
)
VERSION_FORM = Form(
    read=re.compile(r"3|20070829|2007-08-29|20071010|2007-10-10").fullmatch,
    taken=VERSION.__eq__,
    code="version",
    value=lambda text: re.sub(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", text),
)
_ACCOUNT = Form(
    read=re.compile(r"(?:[0-9]-?){11}[0-9]").fullmatch,
    taken=re.compile(r"[0-9]{12}").fullmatch,
    code="account",
    value=lambda text: text.replace("-", ""),
)
_TYPE = Form(read=TYPES.__contains__, taken="machine".__eq__, code="type")
_ARCHITECTURE = Form(
    read=re.compile(r"[A-Za-z0-9_]{1,20}").fullmatch, taken=("i386", "x86_64").__contains__, code="architecture"
)
_VIRTUAL = Form(read=_TEXT.read, taken=re.compile(r"ami|root|swap|ephemeral\d+|ebs\d+").fullmatch, code="virtual-name")


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
        attribute=("index", NUMBER.pattern),
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
        _branch("parts", part, attribute=("count", NUMBER.pattern)),
    )
    bundler = _branch("bundler", *(_leaf(tag, _TEXT, need=free) for tag in ("name", "version", "release")), need=free)
    return _branch(
        "manifest",
        _leaf("version", VERSION_FORM),
        bundler,
        *(() if version == "3" else (configuration,)),
        image,
        _leaf("signature", _SIGNATURE, need=Need.EC2),
    )


GRAMMARS = {version: _grammar(version) for version in (VERSION, "2007-08-29", "3")}
