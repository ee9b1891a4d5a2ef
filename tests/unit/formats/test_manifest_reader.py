"""Manifests of every known writer, and every way to break one: generated from the grammar, not by hand."""

import copy
import dataclasses
import hashlib
import json
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.formats import bundle_cipher
from builder.formats.bundle_manifest import (
    SIZE_LIMIT,
    BundleManifest,
    Bundler,
    ManifestError,
    Part,
    format_manifest,
    part_names,
)
from builder.formats.manifest_grammar import GRAMMARS, REFUSALS, Element, Need
from builder.formats.manifest_reader import (
    Objection,
    is_encrypted,
    objections,
    open_manifest,
    read_manifest,
    signed_bytes,
    verify_signature,
)
from tests.support.bundles import ENCRYPTED_1, ENCRYPTED_2, EUCA2OOLS, WRITERS, Writer, make_bundle, make_user
from tests.support.golden import hold
from tests.support.plans import GOLDEN

EMPTY_SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
FULL = BundleManifest(
    name="disk.img",
    account="123456789012",
    architecture="x86_64",
    block_device_mapping=(("ami", "sda1"), ("ephemeral0", "sdb"), ("root", "/dev/sda1")),
    kernel_id="aki-919dcaf8",
    ramdisk_id="ari-00000001",
    product_codes=("774F4FF8", "A & B <c>"),
    type="kernel",
    kernel_name="vmlinuz",
    ancestry=("ami-00000001", "ami-00000002"),
    digest="9709273bb29fd1f4dfad710b3bda39f8fb6d2c54",
    size=1048576,
    bundled_size=1152,
    ec2_encrypted_key="0a",
    user_encrypted_key="0b",
    ec2_encrypted_iv="0c",
    user_encrypted_iv="0d",
    parts=tuple(Part(filename=name, sha1=EMPTY_SHA1) for name in part_names("disk.img", 11)),
    bundler=Bundler(name="ami-factory", version="0.1", release="0"),
    signature="abcd",
)
MACHINE = dataclasses.replace(FULL, type="machine", kernel_name="")
"""EC2 has nothing against it."""


def written(manifest: BundleManifest = MACHINE) -> bytes:
    return format_manifest(manifest, lambda data: bytes.fromhex(manifest.signature) or b"\0")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the user's keys are, and EC2's in `ec2/`."""
    directory = tmp_path_factory.mktemp("keys")
    make_user(directory / "ec2")
    return directory


# What other tools wrote.


@pytest.mark.parametrize("writer", WRITERS, ids=str)
def test_every_writer_is_read(writer: Writer, keys: Path) -> None:
    bundle = make_bundle(
        keys,
        keys / "ec2/cert.pem",
        writer=writer,
        part_size=64,
        ramdisk_id="ari-1",
        ancestry=("ami-1",),
        product_codes=() if writer.codes_first else ("a", "b"),
    )
    user = bundle_cipher.load_private_key(bundle.user_key.read_bytes())
    ec2 = bundle_cipher.load_private_key((keys / "ec2/pk.pem").read_bytes())
    data = open_manifest(bundle.manifest, user)
    assert data == bundle.plain_manifest
    assert is_encrypted(bundle.manifest) == bool(writer.encrypted)

    manifest = read_manifest(data)
    assert manifest == BundleManifest(
        version=re.sub(r"^20070829$", "2007-08-29", writer.version),
        bundler=Bundler(name=writer.name, version="1", release="0"),
        name="disk.img",
        account="123456789012",
        architecture="i386" if writer.version == "3" else "x86_64",
        block_device_mapping=(("ami", "sda1"), ("ephemeral0", "sda2"), ("root", "/dev/sda1")) if writer.modern else (),
        kernel_id="aki-919dcaf8" if writer.modern else "",
        ramdisk_id="ari-1" if writer.modern else "",
        product_codes=("a", "b") if writer.modern and not writer.codes_first else (),
        ancestry=("ami-1",),
        digest=bundle.tar_sha1,
        size=len(bundle.content),
        bundled_size=sum(map(len, bundle.parts.values())),
        ec2_encrypted_key=manifest.ec2_encrypted_key,
        user_encrypted_key=manifest.user_encrypted_key,
        ec2_encrypted_iv=manifest.ec2_encrypted_iv,
        user_encrypted_iv=manifest.user_encrypted_iv,
        parts=manifest.parts,
        signature=manifest.signature,
    )
    assert {part.filename: part.sha1 for part in manifest.parts} == {
        name: hashlib.sha1(piece).hexdigest() for name, piece in bundle.parts.items()
    }
    session = bundle_cipher.SessionKey(key=bytes.fromhex(bundle.key), iv=bytes.fromhex(bundle.iv.ljust(32, "0")))
    for key in (ec2,) if writer.unsigned else (ec2, user):
        assert bundle_cipher.unwrap_session(manifest, key) == session
    public = bundle_cipher.load_public_key(bundle.user_certificate.read_bytes())
    assert verify_signature(data, public) == writer.signed
    assert tuple(dict.fromkeys(each.code for each in objections(data))) == writer.objected


def test_product_codes_before_the_kernel_are_out_of_order(keys: Path) -> None:
    """As euca2ools has it: the two tools disagree, and EC2 was only seen to take the one's or the other's alone."""
    bundle = make_bundle(keys, keys / "ec2/cert.pem", writer=EUCA2OOLS, product_codes=("a",))
    assert objections(bundle.manifest) == (
        Objection(code="order", where="manifest/machine_configuration", why="<kernel_id> is out of order"),
    )


RECORDED = (
    "ec2-ami-tools-1.5", "euca2ools-3.1", "euca2ools-3.4", "euca2ools-indented", "euca2ools-without-key",
    "go-ami-tools", "version-2007-08-29", "version-20070829", "version-3",
)  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_manifests(name: str, rewrite_golden: bool) -> None:
    """Files that stay as they are, so that a reader of another day still reads them."""
    data = (GOLDEN / f"manifests/foreign-{name}.manifest.xml").read_bytes()
    bits = 1024 if name == "go-ami-tools" else 2048
    public = bundle_cipher.load_public_key((GOLDEN / f"manifests/user-{bits}.pem").read_bytes())
    read = {
        "manifest": dataclasses.asdict(read_manifest(data)),
        "objections": [dataclasses.asdict(each) for each in objections(data)],
        "signed": verify_signature(data, public),
    }
    hold(f"manifests/foreign-{name}.read.json", json.dumps(read, indent=2) + "\n", rewrite=rewrite_golden)


# Every element, broken in every way.

Edit = Callable[[ElementTree.Element, ElementTree.Element], None]
"""Of an element and its parent."""


def elements(element: Element, above: tuple[str, ...] = ()) -> Iterator[tuple[str, Element]]:
    for child in element.children:
        path = (*above, child.tag)
        yield "/".join(path), child
        yield from elements(child, path)


def edited(path: str, edit: Edit, manifest: BundleManifest = FULL) -> bytes:
    """A manifest in which the first element of that path was changed."""
    root = ElementTree.fromstring(written(manifest))
    parent = root
    for tag in path.split("/")[:-1]:
        parent = parent.find(tag)  # type: ignore[assignment]
    node = parent.find(path.rpartition("/")[2])
    assert node is not None
    edit(node, parent)
    return b"<?xml version='1.0'?>" + ElementTree.tostring(root, short_empty_elements=False)


def remove(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    parent.remove(node)


def double(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    parent.insert(list(parent).index(node), copy.deepcopy(node))


def rename(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    node.tag += "s"


def add_attribute(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    node.set("id", "1")


def take_attributes(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    node.attrib.clear()


def change_attributes(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    for name in node.attrib:
        node.set(name, "MD5")


def mix(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    """Text among elements, an element in text."""
    if len(node):
        node[0].tail = "text"
    else:
        ElementTree.SubElement(node, "name").text = "x"


def hide(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    """A text that shows as another one on a terminal."""
    if not len(node):
        node.text = f"{node.text}\u202e"


def overflow(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    if not len(node):
        node.text = "9" * 10_000


def empty(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    for child in list(node):
        node.remove(child)
    node.text = None


def pad(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    node.text = f"\n {node.text or ''} "


def move_last(node: ElementTree.Element, parent: ElementTree.Element) -> None:
    parent.remove(node)
    parent.append(node)


GRAMMAR = dict(elements(GRAMMARS["2007-10-10"]))
LEAVES = [path for path, element in GRAMMAR.items() if element.form]
WITH_ATTRIBUTES = [path for path, element in GRAMMAR.items() if element.attributes]
NEEDED = [path for path, each in GRAMMAR.items() if each.need is Need.READER and not each.many]
DEMANDED = [path for path, each in GRAMMAR.items() if each.need is Need.EC2]
FREE = [path for path, each in GRAMMAR.items() if each.need is Need.NOBODY and not each.many]
LISTS = ["machine_configuration/block_device_mapping/mapping", "image/parts/part"]
BROKEN = [
    *((path, remove, "is missing" if path != "version" else "not known") for path in NEEDED),
    *((path, double, "stands there twice") for path, each in GRAMMAR.items() if not each.many),
    ("image/parts/part", double, "the index 0 twice"),
    *((path, rename, "is unknown" if path != "version" else "not known") for path in GRAMMAR),
    *((path, add_attribute, "other attributes") for path in GRAMMAR),
    *((path, take_attributes, "other attributes") for path in WITH_ATTRIBUTES),
    *((path, change_attributes, "MD5") for path in WITH_ATTRIBUTES),
    *((path, mix, "text between" if each.children else "holds elements") for path, each in GRAMMAR.items()),
    *((path, hide, "not allowed" if path != "version" else "not known") for path in LEAVES),
    *((path, overflow, "not allowed" if path != "version" else "not known") for path in LEAVES),
    *((path, empty, "is empty") for path in NEEDED if path in LEAVES and path != "version"),
    ("image/parts", empty, "is empty"),
    ("image", empty, "is missing"),
    ("machine_configuration", empty, "is missing"),
    ("machine_configuration/block_device_mapping/mapping", empty, "is missing"),
    ("image/parts/part", empty, "is missing"),
    ("image/parts/part", remove, "holds 10"),
]


@pytest.mark.parametrize(
    ("path", "edit", "said"), [pytest.param(*each, id=f"{each[1].__name__}-{each[0]}") for each in BROKEN]
)
def test_a_broken_element_is_refused(path: str, edit: Edit, said: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(said)) as caught:
        read_manifest(edited(path, edit))
    assert caught.value.brief.isprintable()
    assert len(caught.value.brief) < 300


def codes(data: bytes) -> list[tuple[str, str]]:
    """What EC2 would say beyond what it says to FULL, which is a kernel."""
    return [(each.code, each.where) for each in objections(data) if each.code != "type"]


@pytest.mark.parametrize("path", [*DEMANDED, *FREE])
def test_an_element_that_can_be_left_out(path: str) -> None:
    tag, above = path.rpartition("/")[2], "/".join(("manifest", *path.split("/")[:-1]))
    data = edited(path, remove)
    read_manifest(data)
    if path == "image/kernel_name":
        assert codes(data) == [("kernel-name", "manifest/image/kernel_name")]
    elif path in DEMANDED:
        assert codes(data) == [("missing", above)]
        assert f"<{tag}> is missing" in {each.why for each in objections(data)}
    else:
        assert codes(data) == []
    left_empty = edited(path, empty)
    assert read_manifest(left_empty) == read_manifest(data)
    assert ("empty", f"manifest/{path}") in codes(left_empty)


@pytest.mark.parametrize("path", GRAMMAR)
def test_white_space_around(path: str) -> None:
    data = edited(path, pad)
    assert read_manifest(data) == FULL
    assert codes(data) == [("white-space", f"manifest/{path}")]


@pytest.mark.parametrize("path", [path for path in GRAMMAR if path not in LISTS])
def test_order_does_not_matter_to_the_reader(path: str) -> None:
    data = edited(path, move_last)
    read = read_manifest(data)
    above = "/".join(("manifest", *path.split("/")[:-1]))
    if GRAMMAR[path].many:  # of equals the order is the meaning
        assert read != FULL
        assert codes(data) == []
    else:
        assert read == FULL
        assert codes(data) in ([], [("order", above)])
        assert (codes(data) == []) == (data == edited(path, lambda node, parent: None))


def test_parts_come_in_the_order_of_their_indices() -> None:
    data = edited("image/parts/part", move_last)
    assert read_manifest(data) == FULL
    assert codes(data) == [("part-order", "manifest/image/parts")]


# What EC2 does not take, and other texts.


def put(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        assert old.encode() in data
        return data.replace(old.encode(), new.encode(), 1)

    return change


KERNEL = "<type>kernel</type><kernel_name>k</kernel_name>"
MAPPING = "machine_configuration/block_device_mapping"
REFUSED = [
    ("declaration", "", put("<?xml version='1.0'?>", "")),
    ("declaration", "", put("version='1.0'?>", "version='1.0' encoding='UTF-16'?>")),
    ("declaration", "", put("<?xml", "\ufeff<?xml")),
    ("version", "version", put("2007-10-10", "20071010")),
    ("order", "image", put("<type>machine</type><ancestry>", "<ancestry>")),
    ("missing", "", put("<signature>abcd</signature>", "")),
    ("empty", "signature", put("<signature>abcd", "<signature>")),
    ("white-space", "image", put("<image>", "<image>\n")),
    ("account", "image/user", put("123456789012", "1234-5678-9012")),
    ("architecture", "machine_configuration/architecture", put("x86_64", "arm64")),
    ("type", "image/type", put("<type>machine</type>", KERNEL)),
    ("kernel-name", "image/kernel_name", put("</type>", "</type><kernel_name>k</kernel_name>")),
    ("size", "image/size", put("1048576", "0")),
    ("size", "image/size", put("1048576", str((10 << 30) + 1))),
    ("hex", "image/digest", put("9709273b", "9709273B")),
    ("hex", "image/ec2_encrypted_iv", put(">0c<", ">c<")),
    ("unsigned", "signature", put("abcd", "UNSIGNED")),
    ("part-order", "image/parts", lambda data: swap(data, b"index='0'", b"index='1'")),
    ("virtual-name", f"{MAPPING}/mapping/virtual", put("ephemeral0", "floppy")),
    ("virtual-name", MAPPING, put("ephemeral0", "ami")),
    ("device-name", MAPPING, put("sdb", "xvdal")),
]


def swap(data: bytes, one: bytes, other: bytes) -> bytes:
    return data.replace(one, b"\0").replace(other, one).replace(b"\0", other)


@pytest.mark.parametrize(("code", "where", "change"), [pytest.param(*each, id=each[0]) for each in REFUSED])
def test_what_ec2_refuses(code: str, where: str, change: Callable[[bytes], bytes]) -> None:
    assert objections(written()) == ()
    if code == "order":
        data = swap(written(), b"<type>machine</type>", b"<user>123456789012</user>")
    else:
        data = change(written())
    (found,) = objections(data)
    assert (found.code, found.where) == (code, f"manifest/{where}".rstrip("/"))
    assert "{" not in found.why


def test_every_refusal_is_reached() -> None:
    assert [code for code in REFUSALS if code not in {code for code, _, _ in REFUSED}] == []
    assert all(refusal.source for refusal in REFUSALS.values())


def test_objections_are_said_once() -> None:
    """Of an indented manifest with a thousand parts, not a thousand."""
    data = written(dataclasses.replace(MACHINE, parts=parts(1025))).replace(b"><", b">\n  <")
    found = objections(data)
    assert len(found) == len(set(found)) < 12


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda data: data.replace(b"'", b'"'), MACHINE, id="double-quotes"),
        pytest.param(put("version='1.0'?>", "version='1.0' encoding='ASCII'?>\n"), MACHINE, id="euca2ools"),
        pytest.param(lambda data: data.partition(b"?>")[2], MACHINE, id="no-declaration"),
        pytest.param(put("abcd", "bcd"), dataclasses.replace(MACHINE, signature="0bcd"), id="short-signature"),
        pytest.param(put("9709273b", "9709273B"), MACHINE, id="upper-case"),
        pytest.param(put("disk.img<", "gr&#246;&#xdf;e &amp; mehr<"),
            dataclasses.replace(MACHINE, name="größe & mehr"), id="references"),
        pytest.param(put("abcd", "UNSIGNED"), dataclasses.replace(MACHINE, signature=""), id="unsigned"),
        pytest.param(put(".part.03", ".part.9999"), dataclasses.replace(MACHINE, parts=(
            *MACHINE.parts[:3], Part(filename="disk.img.part.9999", sha1=EMPTY_SHA1), *MACHINE.parts[4:])), id="name"),
    ],
)  # fmt: skip
def test_read_all_the_same(change: Callable[[bytes], bytes], expected: BundleManifest) -> None:
    assert read_manifest(change(written())) == expected


BOMB = "<!DOCTYPE m [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><manifest>"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda data: b"", "not XML", id="empty"),
        pytest.param(lambda data: b"\2" + data, "without the private key", id="encrypted"),
        pytest.param(lambda data: data[:-5], "not XML", id="cut"),
        pytest.param(lambda data: data + b"<x/>", "not XML", id="after-the-root"),
        pytest.param(lambda data: data.decode().encode("utf-16"), "must stand there once", id="utf-16"),
        pytest.param(put("disk.img<", "\0<"), "not XML", id="nul"),
        pytest.param(lambda data: data.replace(b"disk.img<", b"\xff<"), "not XML", id="not-utf-8"),
        pytest.param(put("<manifest>", BOMB), "DOCTYPE", id="entity-bomb"),
        pytest.param(put("<manifest>", "<!DOCTYPE m SYSTEM 'file:///etc/passwd'><manifest>"), "DOCTYPE", id="dtd"),
        pytest.param(put("<manifest>", "<!DOCTYPE m [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><manifest>"),
            "DOCTYPE", id="external-entity"),
        pytest.param(put("<manifest>", "<!DOCTYPE m [<!ENTITY % p SYSTEM 'http://127.0.0.1:1/'> %p;]><manifest>"),
            "DOCTYPE", id="parameter-entity"),
        pytest.param(put("<image>", "<!-- <image></image> --><image>"), "comment", id="comment"),
        pytest.param(put("disk.img<", "<![CDATA[disk.img]]><"), "CDATA", id="cdata"),
        pytest.param(put("<image>", "<?x y?><image>"), "processing", id="processing-instruction"),
        pytest.param(put("<name>disk.img", "<name>&who;"), "not XML", id="undefined-entity"),
        pytest.param(put("<manifest>", "<manifest>" + "<a>" * 20), "nested too deeply", id="deep"),
        pytest.param(lambda data: data.replace(b"manifest>", b"bundle>"), "root is <bundle>", id="root"),
        pytest.param(put("<manifest>", "<manifest xmlns='urn:x'>"), "attributes", id="namespace"),
        pytest.param(put("2007-10-10", "2008-01-01"), 'version "2008-01-01"', id="version"),
        pytest.param(put("<version>2007-10-10</version>", ""), 'version ""', id="no-version"),
        pytest.param(put("2007-10-10", "3"), "<machine_configuration> is unknown", id="unsigned-configuration"),
        pytest.param(put("<image>", "<image >"), "must stand there once", id="space-in-tag"),
        pytest.param(put("</image>", "</image\n>"), "must stand there once", id="space-in-end-tag"),
        pytest.param(put("123456789012", "12345678901"), "not allowed", id="account"),
        pytest.param(put(">machine<", ">toaster<"), "toaster", id="type"),
        pytest.param(put("<size>1048576", "<size>-1"), "size", id="negative"),
        pytest.param(put("<size>1048576", "<size>0x10"), "size", id="hex-number"),
        pytest.param(put("<size>1048576", "<size>1_0"), "size", id="underscore"),
        pytest.param(put("<size>1048576", "<size>010"), "size", id="leading-zero"),
        pytest.param(put("<size>1048576", "<size>\u0661"), "size", id="other-digits"),
        pytest.param(put("9709273b", "709273b"), "digest", id="short-digest"),
        pytest.param(put("count='11'", "count='12'"), "has the count 12 and holds 11", id="count"),
        pytest.param(put("index='3'", "index='4'"), "index 4 twice", id="index-twice"),
        pytest.param(put("index='3'", "index='11'"), "no index 3", id="gap"),
        pytest.param(put("index='3'", "index='03'"), "index", id="padded-index"),
        pytest.param(put("disk.img.part.03", "disk.img.part.02"), "twice", id="file-twice"),
        *(
            pytest.param(put("disk.img.part.03", name), "filename", id=f"file-{number}")
            for number, name in enumerate((
                "../disk.img.part.03", "/etc/passwd", "a/b.part.0", "a\\b.part.0", ".part.0", "-x.part.0", ".x.part.0",
                "..", "disk.img", "disk.img.part.", "disk.img.part.x", "dis\u212a.part.0", "a\tb.part.0",
                "x" * 250 + ".part.0",
            ))
        ),
        *(
            pytest.param(put("<name>disk.img<", f"<name>{name}<"), "name", id=f"name-{number}")
            for number, name in enumerate(("..", ".", "a/b", "/a", "a\u202eb", "a\u200bb", "ö" * 128))
        ),
    ],
)  # fmt: skip
def test_refused(change: Callable[[bytes], bytes], said: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(said)) as caught:
        read_manifest(change(written()))
    assert caught.value.brief.startswith("bundle manifest: ")


def test_a_hundred_megabytes() -> None:
    """Whoever reads a file reads one byte more than the limit; that byte is enough."""
    read_manifest(written() + b" " * (SIZE_LIMIT - len(written())))
    with pytest.raises(ManifestError, match=f"more than the {SIZE_LIMIT} bytes that are read"):
        read_manifest(written() + b" " * (SIZE_LIMIT + 1 - len(written())))
    with pytest.raises(ManifestError, match="more than"):
        open_manifest(b"\2" + bytes(SIZE_LIMIT), bundle_cipher.load_private_key(bundle_cipher.make_pair()[0]))


@pytest.mark.parametrize(
    "filling",
    [
        pytest.param(b"<a/>", id="elements"),
        pytest.param(b"&#32;", id="references"),
        pytest.param(b"\n", id="lines"),
    ],
)
def test_the_largest_file_takes_little_memory(filling: bytes) -> None:
    data = b"<manifest>" + filling * ((SIZE_LIMIT - 30) // len(filling)) + b"</manifest>"
    tracemalloc.start()
    try:
        with pytest.raises(ManifestError):
            read_manifest(data)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def parts(count: int) -> tuple[Part, ...]:
    return tuple(Part(filename=name, sha1=EMPTY_SHA1) for name in part_names("disk.img", count))


def test_the_most_parts_take_milliseconds() -> None:
    data = written(dataclasses.replace(MACHINE, parts=parts(1025)))
    times = []
    for _ in range(5):
        begin = time.process_time()
        assert len(read_manifest(data).parts) == 1025
        times.append(time.process_time() - begin)
    assert min(times) < 0.1  # some 0.01 where nothing else runs


# Signatures.


def test_verify_signature() -> None:
    private, certificate = bundle_cipher.make_pair()
    key, public = bundle_cipher.load_private_key(private), bundle_cipher.load_public_key(certificate)
    data = format_manifest(MACHINE, lambda text: bundle_cipher.sign(text, key))
    assert verify_signature(data, public)
    assert verify_signature(put("<version>0.1<", "<version>0.2<")(data), public)  # the bundler is not signed
    assert not verify_signature(put("<size>1048576<", "<size>1048577<")(data), public)
    assert not verify_signature(put("<part index='0'>", '<part index="0">')(data), public)
    assert not verify_signature(data, bundle_cipher.load_public_key(bundle_cipher.make_pair()[1]))
    assert not verify_signature(re.sub(rb"<signature>.*?<", b"<signature>UNSIGNED<", data), public)
    assert not verify_signature(re.sub(rb"<signature>.*</signature>", b"", data), public)


def test_a_manifest_of_old_may_have_no_configuration() -> None:
    data = re.sub(rb"<machine_configuration>.*</machine_configuration>", b"", written())
    data = data.replace(b"2007-10-10", b"2007-08-29").replace(b"<type>machine</type>", b"")
    manifest = read_manifest(data)
    assert (manifest.architecture, manifest.type, manifest.version) == ("i386", "machine", "2007-08-29")
    assert signed_bytes(data) == data[data.index(b"<image>") : data.index(b"<signature>")]
    with pytest.raises(ManifestError, match="<machine_configuration> must stand there once"):
        read_manifest(data.replace(b"<image>", b"<machine_configuration /><image>"))


# Encrypted manifests of old.


@pytest.mark.parametrize("writer", [ENCRYPTED_1, ENCRYPTED_2], ids=str)
def test_an_encrypted_manifest_that_is_cut_or_for_others(writer: Writer, keys: Path) -> None:
    bundle = make_bundle(keys, keys / "ec2/cert.pem", writer=writer)
    key = bundle_cipher.load_private_key(bundle.user_key.read_bytes())
    ends = (1, 2, 3, 50, 1 + writer.encrypted + writer.bits // 8, len(bundle.manifest) - 16, len(bundle.manifest) - 1)
    for data in (*(bundle.manifest[:end] for end in ends), bundle.manifest + b"x", bundle.manifest + bytes(16)):
        with pytest.raises(ManifestError, match="cut short or for another private key"):
            open_manifest(data, key)
    other = bundle_cipher.load_private_key((keys / "ec2/pk.pem").read_bytes())
    with pytest.raises(ManifestError, match="cut short or for another private key"):
        open_manifest(bundle.manifest, other)


def test_what_is_not_encrypted_comes_back(keys: Path) -> None:
    key = bundle_cipher.load_private_key((keys / "ec2/pk.pem").read_bytes())
    for data in (b"", b"<manifest>", written(), b"\3 rubbish"):
        assert open_manifest(data, key) == data


# Anything at all.

HEXES = st.binary(min_size=1, max_size=256).map(bytes.hex)
SHA1S = st.binary(min_size=20, max_size=20).map(bytes.hex)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", fullmatch=True)
ANY_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(
    lambda text: text.isprintable() and "/" not in text and text.strip() == text and text not in (".", "..")
)
TEXTS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)
OPTIONAL = st.one_of(st.just(""), TEXTS)


@st.composite
def manifests(draw: st.DrawFn) -> BundleManifest:
    kind = draw(st.sampled_from(["machine", "kernel", "ramdisk"]))
    name = draw(NAMES)
    digests = draw(st.lists(SHA1S, min_size=1, max_size=12))
    virtuals = draw(st.lists(TEXTS, max_size=4, unique=True))
    return BundleManifest(
        name=draw(ANY_NAMES),
        account=draw(st.from_regex(r"[0-9]{12}", fullmatch=True)),
        architecture=draw(st.sampled_from(["i386", "x86_64", "ppc64le"])),
        type=kind,
        kernel_name=draw(OPTIONAL) if kind == "kernel" else "",
        kernel_id=draw(OPTIONAL),
        ramdisk_id=draw(OPTIONAL),
        block_device_mapping=tuple((virtual, draw(TEXTS)) for virtual in sorted(virtuals)),
        product_codes=tuple(draw(st.lists(TEXTS, max_size=3))),
        ancestry=tuple(draw(st.lists(TEXTS, max_size=3))),
        bundler=draw(st.one_of(st.none(), st.builds(Bundler, name=TEXTS, version=OPTIONAL, release=OPTIONAL))),
        digest=draw(SHA1S),
        size=draw(st.integers(0, 10**19 - 1)),
        bundled_size=draw(st.integers(0, 10**19 - 1)),
        ec2_encrypted_key=draw(HEXES),
        user_encrypted_key=draw(HEXES),
        ec2_encrypted_iv=draw(HEXES),
        user_encrypted_iv=draw(HEXES),
        parts=tuple(Part(filename=n, sha1=d) for n, d in zip(part_names(name, len(digests)), digests, strict=True)),
        signature=draw(HEXES),
    )


@settings(max_examples=150, deadline=None)
@given(manifest=manifests())
def test_round_trip(manifest: BundleManifest) -> None:
    data = written(manifest)
    assert read_manifest(data) == manifest
    assert signed_bytes(data) == data[data.index(b"<machine_configuration>") : data.index(b"<signature>")]
    assert read_manifest(data.replace(b"><", b">\r\n\t<")) == manifest


def survives(data: bytes) -> None:
    """Read or refused, and nothing else; what was read can be written, and says the same again."""
    for read in (read_manifest, objections, signed_bytes):
        try:
            read(data)
        except ManifestError as error:
            assert error.brief.startswith("bundle manifest: ")
            assert error.brief.isprintable()
            return
    manifest = read_manifest(data)
    if manifest.user_encrypted_key and manifest.user_encrypted_iv:
        mapping = tuple(sorted(manifest.block_device_mapping))
        assert read_manifest(written(manifest)) == dataclasses.replace(
            manifest, version="2007-10-10", block_device_mapping=mapping, signature=manifest.signature or "00"
        )


@settings(max_examples=500, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    survives(data)


@settings(max_examples=500, deadline=None)
@given(at=st.integers(0, 3200), cut=st.integers(0, 40), new=st.binary(max_size=12))
def test_any_change(at: int, cut: int, new: bytes) -> None:
    data = written()
    survives(data[:at] + new + data[at + cut :])


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(st.sampled_from(re.findall(rb"<[^>]*>|[^<]+", written(FULL))), max_size=60), tail=st.booleans())
def test_any_tags(pieces: list[bytes], tail: bool) -> None:
    """The pieces of a manifest in any order."""
    survives(b"".join(pieces) + (written()[200:] if tail else b""))


@pytest.fixture(scope="module")
def private_key() -> RSAPrivateKey:
    return bundle_cipher.load_private_key(bundle_cipher.make_pair()[0])


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=600), scheme=st.sampled_from([1, 2]))
def test_any_encrypted_bytes(private_key: RSAPrivateKey, data: bytes, scheme: int) -> None:
    with pytest.raises(ManifestError, match="encrypted"):
        open_manifest(bytes([scheme]) + data, private_key)
