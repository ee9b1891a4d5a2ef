import dataclasses
import hashlib
import re
from collections.abc import Callable

import pytest
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
from builder.formats.manifest_reader import read_manifest, signed_bytes, verify_signature

EMPTY_SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
VECTOR = BundleManifest(
    name="disk.img",
    account="123456789012",
    architecture="x86_64",
    block_device_mapping=(("ami", "sda1"), ("ephemeral0", "sdb"), ("root", "/dev/sda1")),
    kernel_id="aki-919dcaf8",
    digest="9709273bb29fd1f4dfad710b3bda39f8fb6d2c54",
    size=1048576,
    bundled_size=1152,
    ec2_encrypted_key="00",
    user_encrypted_key="00",
    ec2_encrypted_iv="00",
    user_encrypted_iv="00",
    parts=(Part(filename="disk.img.part.0", sha1=EMPTY_SHA1),),
)
FULL = dataclasses.replace(
    VECTOR,
    bundler=Bundler(name="ami-factory", version="0.1", release="0"),
    ramdisk_id="ari-00000001",
    product_codes=("774F4FF8", "A & B <c>"),
    ancestry=("ami-00000001", "ami-00000002"),
    parts=tuple(Part(filename=name, sha1=EMPTY_SHA1) for name in part_names("disk.img", 11)),
    signature="abcd",
)


def written(manifest: BundleManifest = FULL) -> bytes:
    return format_manifest(manifest, lambda data: b"\xab\xcd")


def test_signed_bytes_of_the_reference() -> None:
    signed: list[bytes] = []
    data = format_manifest(VECTOR, lambda text: signed.append(text) or b"\x01")  # type: ignore[func-returns-value]
    assert [len(text) for text in signed] == [360 + 578]
    assert hashlib.sha1(signed[0]).hexdigest() == "07b34ce269fa784a5b169202fb808d667b7ad7bb"
    assert signed_bytes(data) == signed[0]
    assert data == (
        b"<?xml version='1.0'?><manifest><version>2007-10-10</version>"
        + signed[0]
        + b"<signature>01</signature></manifest>"
    )


def test_every_element_in_the_order_of_the_reference() -> None:
    tags = " ".join(re.findall(r"<([a-z0-9_]+)[ >]", written(dataclasses.replace(FULL, parts=FULL.parts[:1])).decode()))
    assert tags == (
        "manifest version bundler name version release machine_configuration architecture block_device_mapping"
        " mapping virtual device mapping virtual device mapping virtual device kernel_id ramdisk_id product_codes"
        " product_code product_code image name user type ancestry ancestor_ami_id ancestor_ami_id digest size"
        " bundled_size ec2_encrypted_key user_encrypted_key ec2_encrypted_iv user_encrypted_iv parts part filename"
        " digest signature"
    )


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(FULL, id="full"),
        pytest.param(dataclasses.replace(VECTOR, signature="abcd"), id="vector"),
        pytest.param(dataclasses.replace(FULL, type="kernel", kernel_name="vmlinuz"), id="kernel"),
        pytest.param(
            dataclasses.replace(FULL, block_device_mapping=(), kernel_id="", ramdisk_id="", bundler=None), id="bare"
        ),
    ],
)
def test_round_trip(manifest: BundleManifest) -> None:
    assert read_manifest(written(manifest)) == manifest


def test_nothing_empty_is_written() -> None:
    bare = written(dataclasses.replace(VECTOR, block_device_mapping=(), kernel_id=""))
    assert re.search(rb"<(\w+)[^>/]*></\1>", bare) is None
    for field in ("name", "account", "architecture", "digest", "ec2_encrypted_key", "user_encrypted_iv"):
        with pytest.raises(ValueError, match=r"empty|hex"):
            written(dataclasses.replace(VECTOR, **{field: ""}))


@pytest.mark.parametrize("count", [1, 9, 10, 99, 100, 1025])
def test_part_names_are_padded_to_the_count(count: int) -> None:
    names = part_names("disk.img", count)
    assert len(names) == count
    assert sorted(names) == list(names)
    assert names[0] == f"disk.img.part.{'0' * len(str(count))}"


def test_double_quotes_and_other_declarations_are_read() -> None:
    data = written().replace(b"'", b'"')
    assert read_manifest(data) == FULL
    head = b"<?xml version='1.0' encoding='ASCII'?>\n"  # euca2ools
    assert read_manifest(head + data.partition(b"?>")[2]) == FULL


def test_verify_signature() -> None:
    private, certificate = bundle_cipher.make_pair()
    key, public = bundle_cipher.load_private_key(private), bundle_cipher.load_public_key(certificate)
    data = format_manifest(FULL, lambda text: bundle_cipher.sign(text, key))
    assert verify_signature(data, public)
    assert verify_signature(data.replace(b"<version>0.1<", b"<version>0.2<"), public)  # the bundler is not signed
    assert not verify_signature(data.replace(b"<size>1048576<", b"<size>1048577<"), public)
    assert not verify_signature(data.replace(b"<part index='0'>", b'<part index="0">'), public)
    assert not verify_signature(data, bundle_cipher.load_public_key(bundle_cipher.make_pair()[1]))


def swap(one: bytes, other: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(one, b"\0").replace(other, one).replace(b"\0", other)


def put(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return change


BOMB = b"<!DOCTYPE m [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><manifest>"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda data: b"", "declaration", id="empty"),
        pytest.param(lambda data: data.partition(b"?>")[2], "declaration", id="no-declaration"),
        pytest.param(lambda data: data[:-5], "not XML", id="cut"),
        pytest.param(lambda data: data + b"<x/>", "not XML", id="after-the-root"),
        pytest.param(lambda data: data + b" " * SIZE_LIMIT, "are more than", id="huge"),
        pytest.param(put(b"<manifest>", BOMB), "DOCTYPE", id="entity-bomb"),
        pytest.param(put(b"<manifest>", b"<!DOCTYPE m SYSTEM 'file:///etc/passwd'><manifest>"), "DOCTYPE", id="dtd"),
        pytest.param(put(b"<image>", b"<!-- <image></image> --><image>"), "comment", id="comment"),
        pytest.param(put(b"disk.img<", b"<![CDATA[disk.img]]><"), "CDATA", id="cdata"),
        pytest.param(put(b"<image>", b"<?x y?><image>"), "processing", id="processing-instruction"),
        pytest.param(put(b"1.0'?>", b"1.0' encoding='klingon'?>"), "not XML", id="encoding"),
        pytest.param(put(b"<name>disk.img", b"<name>&who;"), "not XML", id="undefined-entity"),
        pytest.param(put(b"<manifest>", b"<manifest>" + b"<a>" * 20), "nested too deeply", id="deep"),
        pytest.param(lambda data: data.replace(b"manifest>", b"bundle>"), "root is <bundle>", id="root"),
        pytest.param(put(b"<manifest>", b"<manifest xmlns='urn:x'>"), "attributes", id="namespace"),
        pytest.param(put(b"2007-10-10", b"2008-01-01"), "version", id="version"),
        pytest.param(put(b"2007-10-10", b" 2007-10-10"), "version", id="version-with-space"),
        pytest.param(put(b"<image>", b"text<image>"), "text between", id="text"),
        pytest.param(put(b"<image>", b"<image >"), "must stand there once", id="space-in-tag"),
        pytest.param(put(b"<image>", b"<image id='1'>"), "attributes", id="attribute"),
        pytest.param(put(b"<signature>abcd</signature>", b""), "<signature> is missing", id="unsigned"),
        pytest.param(put(b"<signature>abcd<", b"<signature>UNSIGNED<"), "signature", id="euca-unsigned"),
        pytest.param(put(b"<signature>abcd<", b"<signature><"), "is empty", id="empty-signature"),
        pytest.param(swap(b"<type>machine</type>", b"<user>123456789012</user>"), "out of order", id="user-type"),
        pytest.param(
            swap(b"<kernel_id>aki-919dcaf8</kernel_id>", b"<ramdisk_id>ari-00000001</ramdisk_id>"),
            "out of order",
            id="kernel-ramdisk",
        ),
        pytest.param(swap(b"<virtual>ami</virtual>", b"<device>sda1</device>"), "out of order", id="mapping"),
        pytest.param(put(b"123456789012", b"1234-5678-9012"), "1234-5678-9012", id="dashes"),
        pytest.param(put(b">machine<", b">toaster<"), "toaster", id="type"),
        pytest.param(put(b">machine<", b">kernel<"), "<kernel_name> is missing", id="kernel-without-name"),
        pytest.param(put(b"<size>1048576", b"<size>-1"), "size", id="negative"),
        pytest.param(put(b"<size>1048576", b"<size>" + b"9" * 40), "size", id="long-number"),
        pytest.param(put(b"<size>1048576", "<size>\u0661".encode()), "size", id="other-digits"),
        pytest.param(put(b"9709273b", b"9709273B"), "digest", id="upper-case"),
        pytest.param(put(b"algorithm='SHA1'", b"algorithm='MD5'"), "algorithm", id="algorithm"),
        pytest.param(put(b" algorithm='AES-128-CBC'", b""), "attributes", id="no-algorithm"),
        pytest.param(put(b"<ec2_encrypted_iv>00", b"<ec2_encrypted_iv>0"), "ec2_encrypted_iv", id="odd-hex"),
        pytest.param(put(b"<user_encrypted_iv>00", b"<user_encrypted_iv>"), "is empty", id="empty-iv"),
        pytest.param(put(b"count='11'", b"count='12'"), "count", id="count"),
        pytest.param(put(b"index='3'", b"index='4'"), "index", id="index"),
        pytest.param(put(b"disk.img.part.03", b"../disk.img.part.03"), "filename", id="climbing"),
        pytest.param(put(b"disk.img.part.03", b"/etc/passwd"), "filename", id="absolute"),
        pytest.param(put(b"disk.img.part.03", b"disk.img.part.02"), "twice", id="part-twice"),
        pytest.param(put(b"<kernel_id>", b"<product_codes></product_codes><kernel_id>"), "is empty", id="no-codes"),
        pytest.param(
            put(b"<image>", b"<block_device_mapping></block_device_mapping><image>"), "out of order", id="bdm"
        ),
        pytest.param(put(b"aki-919dcaf8", b"<a/>"), "holds elements", id="element-in-text"),
        pytest.param(put(b"</manifest>", b"<more>x</more></manifest>"), "unknown or out of order", id="more"),
    ],
)
def test_refused(change: Callable[[bytes], bytes], said: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(said)):
        read_manifest(change(written()))


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 3000), cut=st.integers(0, 40), new=st.binary(max_size=12))
def test_any_change_is_refused_or_read(at: int, cut: int, new: bytes) -> None:
    data = written()
    try:
        read_manifest(data[:at] + new + data[at + cut :])
    except ManifestError as error:
        assert error.brief.startswith("bundle manifest: ")
        assert "\n" not in error.brief
