import dataclasses
import hashlib
import re

import pytest

from builder.formats.bundle_manifest import BundleManifest, Bundler, Part, format_manifest, part_names
from builder.formats.manifest_reader import read_manifest, signed_bytes
from tests.support.golden import hold

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


def written(manifest: BundleManifest) -> bytes:
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


@pytest.mark.parametrize(
    ("name", "manifest"),
    [
        pytest.param("vector", VECTOR, id="vector"),
        pytest.param("full", FULL, id="full"),
        pytest.param("kernel", dataclasses.replace(FULL, type="kernel", kernel_name="vmlinuz-2.6.18"), id="kernel"),
        pytest.param("from-version-3", dataclasses.replace(VECTOR, version="3", architecture="i386"), id="old"),
    ],
)
def test_the_bytes_that_are_written(name: str, manifest: BundleManifest, rewrite_golden: bool) -> None:
    """Byte for byte: a change here is one that EC2 may refuse. What is written is of 2007-10-10, whatever was read."""
    hold(f"manifests/ours-{name}.manifest.xml", written(manifest).decode(), rewrite=rewrite_golden)


def test_every_element_in_the_order_of_the_reference() -> None:
    short = dataclasses.replace(FULL, type="kernel", kernel_name="vmlinuz", parts=FULL.parts[:1])
    assert " ".join(re.findall(r"<([a-z0-9_]+)[ >]", written(short).decode())) == (
        "manifest version bundler name version release machine_configuration architecture block_device_mapping"
        " mapping virtual device mapping virtual device mapping virtual device kernel_id ramdisk_id product_codes"
        " product_code product_code image name user type kernel_name ancestry ancestor_ami_id ancestor_ami_id digest"
        " size bundled_size ec2_encrypted_key user_encrypted_key ec2_encrypted_iv user_encrypted_iv parts part filename"
        " digest signature"
    )


def test_mappings_are_sorted_by_virtual_name() -> None:
    turned = dataclasses.replace(VECTOR, block_device_mapping=VECTOR.block_device_mapping[::-1])
    assert written(turned) == written(VECTOR)


def test_what_is_not_known_of_the_bundler_is_left_out() -> None:
    data = written(dataclasses.replace(VECTOR, bundler=Bundler(name="ami-factory", version="", release="")))
    assert b"<bundler><name>ami-factory</name></bundler>" in data


def test_nothing_empty_is_written() -> None:
    bare = written(dataclasses.replace(VECTOR, block_device_mapping=(), kernel_id=""))
    assert re.search(rb"<(\w+)[^>/]*></\1>|/>", bare) is None
    for field in ("name", "account", "architecture", "digest", "ec2_encrypted_key", "user_encrypted_iv"):
        with pytest.raises(ValueError, match=r"empty|hex"):
            written(dataclasses.replace(VECTOR, **{field: ""}))


@pytest.mark.parametrize("count", [1, 9, 10, 99, 100, 1025])
def test_part_names_are_padded_to_the_count(count: int) -> None:
    names = part_names("disk.img", count)
    assert len(names) == count
    assert sorted(names) == list(names)
    assert names[0] == f"disk.img.part.{'0' * len(str(count))}"


def test_no_version_but_the_last_is_written() -> None:
    assert read_manifest(written(dataclasses.replace(FULL, version="2007-08-29"))) == FULL
