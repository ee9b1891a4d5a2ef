"""Each rule alone: a bundle that nothing is wrong with, one thing changed, and exactly what is said of it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.bundles.advice import ADVICE
from builder.bundles.lint import Finding, lint
from builder.bundles.observed import KernelImage
from builder.catalog.certificates import CN_NORTH_1, US_GOV_WEST_1
from builder.formats.bundle_stream import PART_SIZE
from builder.formats.manifest_grammar import REFUSALS
from tests.support.linted import GOOD, LAST, OBSERVED, TARGET, text_of, told

ROOT = Path(__file__).parents[3]


def test_nothing_is_said_of_a_good_bundle() -> None:
    assert told(OBSERVED) == []


def test_a_finding_is_whole() -> None:
    assert lint(replace(OBSERVED, opens=False), TARGET) == (
        Finding(
            id="user-key",
            severity="warning",
            where="manifest/image/user_encrypted_key",
            what="your private key does not open it",
            remedy="find the private key it was made with: without it nobody can unbundle or migrate it",
            source="the tools unwrap the session key with the user's private key (docs/bundles.md, 3.5)",
        ),
    )


# What is changed of the manifest, and what is said.
MANIFESTS: list[tuple[dict[str, Any], tuple[str, str, str, str]]] = [
    (
        {"architecture": "arm64", "kernel_id": "aki-00000000"},
        (
            "error",
            "architecture",
            "manifest/machine_configuration/architecture",
            "architecture arm64 is neither i386 nor x86_64",
        ),
    ),
    (
        {"type": "ramdisk"},
        ("error", "type", "manifest/image/type", "type ramdisk: only machine images can be registered"),
    ),
    ({"size": 0}, ("error", "size", "manifest/image/size", "size 0 is not between 1 byte and 10 GiB")),
    (
        {"size": 10 * 2**30 + 1},
        ("error", "size", "manifest/image/size", "size 10737418241 is not between 1 byte and 10 GiB"),
    ),
    (
        {"block_device_mapping": (("ami", "xvdal"), ("root", "/dev/sda1"))},
        (
            "error",
            "device-name",
            "manifest/machine_configuration/block_device_mapping",
            "Invalid device name 'xvdal'",
        ),
    ),
    (
        {"account": "999999999999"},
        (
            "error",
            "account-other",
            "manifest/image/user",
            "it is of the account 999999999999, and 123456789012 would register it",
        ),
    ),
    (
        {"block_device_mapping": (("ami", "sda1"),)},
        (
            "note",
            "mapping-incomplete",
            "manifest/machine_configuration/block_device_mapping",
            "it maps ami and not root",
        ),
    ),
    (
        {"product_codes": ("A1", "B2,C3")},
        (
            "warning",
            "product-codes",
            "manifest/machine_configuration/product_codes/product_code[1]",
            '"B2,C3" is several codes in one element',
        ),
    ),
    (
        {"kernel_id": ""},
        ("warning", "kernel-none", "manifest/machine_configuration/kernel_id", "no kernel is named"),
    ),
    (
        {"kernel_id": "true"},
        (
            "error",
            "kernel",
            "manifest/machine_configuration/kernel_id",
            '"true" is not the id of a kernel image',
        ),
    ),
    (
        {"kernel_id": "aki-52a34525"},
        (
            "error",
            "kernel",
            "manifest/machine_configuration/kernel_id",
            "aki-52a34525 is a kernel image of eu-west-1, not of us-east-1",
        ),
    ),
    (
        {"kernel_id": "aki-8f9dcae6"},
        (
            "error",
            "kernel",
            "manifest/machine_configuration/kernel_id",
            "aki-8f9dcae6 is for i386, and the image is x86_64",
        ),
    ),
    (
        {"kernel_id": "aki-12345678"},
        (
            "note",
            "kernel-unknown",
            "manifest/machine_configuration/kernel_id",
            "whether us-east-1 has aki-12345678 is not known here",
        ),
    ),
    (
        {"bundled_size": 2 * PART_SIZE + LAST + 1},
        (
            "error",
            "bundled-size",
            "manifest/image/bundled_size",
            "20975617 bytes are no whole number of AES blocks",
        ),
    ),
]


@pytest.mark.parametrize(
    ("change", "expected"), [pytest.param(*each, id=f"{each[1][1]}-{number}") for number, each in enumerate(MANIFESTS)]
)
def test_manifest(change: dict[str, Any], expected: tuple[str, str, str, str]) -> None:
    found = told(replace(OBSERVED, manifest=text_of(replace(GOOD, **change))))
    assert found[0] == expected
    # What else is said follows from the same change.
    assert {each[1] for each in found[1:]} <= {"kernel-unknown", "part-sizes"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(b"<?xml version='1.0'?>", b"", "declaration", id="declaration"),
        pytest.param(b"<version>2007-10-10", b"<version>2007-08-29", "version", id="version"),
        pytest.param(
            b"<size>1073741824</size><bundled_size>20975616</bundled_size>",
            b"<bundled_size>20975616</bundled_size><size>1073741824</size>",
            "order",
            id="order",
        ),
        pytest.param(b"123456789012", b"1234-5678-9012", "account", id="dashes"),
        pytest.param(b"<kernel_id>aki-919dcaf8</kernel_id>", b"<kernel_id/>", "empty", id="empty"),
        pytest.param(b"aa" * 20, b"AA" * 20, "hex", id="hex"),
        pytest.param(b"<signature>" + b"05" * 256, b"<signature>UNSIGNED", "unsigned", id="unsigned"),
        pytest.param(b"<signature>" + b"05" * 256 + b"</signature>", b"", "missing", id="without-signature"),
        pytest.param(b"</version>", b"</version>\n", "white-space", id="white-space"),
        pytest.param(b"<virtual>ephemeral0", b"<virtual>disk0", "virtual-name", id="virtual-name"),
    ],
)
def test_text(old: bytes, new: bytes, expected: str) -> None:
    """What the reader objects to is told, with advice."""
    assert OBSERVED.manifest.count(old) == 1
    found = [each for each in lint(replace(OBSERVED, manifest=OBSERVED.manifest.replace(old, new)), TARGET)]
    assert [(each.severity, each.id) for each in found if each.severity == "error"] == [("error", expected)]


def test_what_cannot_be_read() -> None:
    assert told(replace(OBSERVED, manifest=b"<manifest", encrypted=True)) == [
        ("error", "encrypted", "b/p/web.manifest.xml", "the manifest is itself encrypted for the user who made it"),
        ("error", "unreadable", "b/p/web.manifest.xml", "it is not XML: unclosed token: line 1, column 0"),
    ]


def test_a_kernel_that_the_table_does_not_know_is_asked_for() -> None:
    """The region's own word counts, for kernels of one's own too."""
    own = replace(OBSERVED, manifest=text_of(replace(GOOD, kernel_id="aki-12345678")), kernel_asked=True)
    there = KernelImage(id="aki-12345678", region="us-east-1", architecture="x86_64")
    where = "manifest/machine_configuration/kernel_id"
    assert told(replace(own, kernel=there)) == []
    assert told(own) == [("error", "kernel", where, "us-east-1 has no kernel image aki-12345678")]
    gone = replace(OBSERVED, kernel_asked=True)
    assert told(gone) == [("error", "kernel", where, "us-east-1 has no kernel image aki-919dcaf8")]


def test_a_signature_of_another() -> None:
    what = "it is not the signature of your certificate over this manifest"
    assert told(replace(OBSERVED, signed=False)) == [("warning", "signature", "manifest/signature", what)]


WHERE = "manifest/image/ec2_encrypted_key"
UNSEEN = "its length fits EC2's certificate commercial (f5707aedb542); whether it was made for that cannot be seen"
RECORDED = (
    "the record of its build says that it was made for EC2's certificate us-gov-west-1 (4956f966c8a0); "
    "us-east-1 has EC2's certificate commercial (f5707aedb542)"
)


@pytest.mark.parametrize(
    ("observed", "target", "expected"),
    [
        pytest.param(
            {"made_for": US_GOV_WEST_1.sha256},
            {},
            (
                "error",
                "certificate",
                WHERE,
                RECORDED,
            ),
            id="record",
        ),
        pytest.param(
            {"made_for": ""},
            {},
            (
                "note",
                "certificate-unknown",
                WHERE,
                UNSEEN,
            ),
            id="no-record",
        ),
        pytest.param({"made_for": "", "opens_for_ec2": True}, {}, None, id="opened"),
        pytest.param(
            {"made_for": "", "opens_for_ec2": False},
            {},
            ("error", "certificate", WHERE, "the key of us-east-1 does not open it"),
            id="not-opened",
        ),
        pytest.param(
            {"made_for": ""},
            {"certificate": CN_NORTH_1.sha256, "modulus": (1 << 2048) - 1},
            (
                "error",
                "certificate",
                WHERE,
                "it was made for a key of 1024 bits, and EC2's in us-east-1 has 2048",
            ),
            id="length",
        ),
        pytest.param(
            {"made_for": ""},
            # The least that a modulus of 1024 bits can be is larger than the key's number, and smaller than the IV's.
            {"modulus": int("02" * 128, 16) | 1 << 1023},
            (
                "note",
                "certificate-unknown",
                WHERE,
                UNSEEN,
            ),
            id="small-number",
        ),
        pytest.param(
            {"made_for": "", "manifest": text_of(replace(GOOD, ec2_encrypted_iv="ff" * 128))},
            {"modulus": 1 << 1023 | 1},
            (
                "error",
                "certificate",
                "manifest/image/ec2_encrypted_iv",
                "it is a larger number than the modulus of EC2's key in us-east-1, so made for another key",
            ),
            id="large-number",
        ),
        pytest.param(
            {"made_for": ""},
            {"certificate": "", "modulus": 0},
            ("error", "certificate-none", WHERE, "us-east-1 has no published certificate for bundles"),
            id="region-without",
        ),
    ],
)
def test_certificate(
    observed: dict[str, Any], target: dict[str, Any], expected: tuple[str, str, str, str] | None
) -> None:
    found = told(replace(OBSERVED, **observed), replace(TARGET, **target))
    assert found == ([expected] if expected else [])


def test_an_account_that_nobody_names() -> None:
    assert told(OBSERVED, replace(TARGET, account="")) == [
        (
            "note",
            "account-unknown",
            "manifest/image/user",
            "it is of the account 123456789012; whether that registers it is not known",
        )
    ]


def test_errors_come_first() -> None:
    many = replace(OBSERVED, opens=False, made_for="", files={}, signed=False)
    assert [each.severity for each in lint(many, TARGET)] == ["error", "warning", "warning", "note"]


def test_the_same_objection_is_told_once() -> None:
    spaced = OBSERVED.manifest.replace(b"><", b">\n<")
    found = [each for each in lint(replace(OBSERVED, manifest=spaced), TARGET) if each.id == "white-space"]
    assert [re.sub(r"\d+", "N", each.what) for each in found] == ["there is white space around it; so are N more"]


def test_every_objection_has_advice() -> None:
    assert REFUSALS.keys() <= ADVICE.keys()
    assert all(ADVICE[code].severity == "error" for code in REFUSALS)


def test_advice_points_into_the_page() -> None:
    page = (ROOT / "docs/bundles.md").read_text()
    sections = set(re.findall(r"^#+ ([0-9]+(?:\.[0-9]+)?)\.? ", page, re.MULTILINE))
    for name, each in ADVICE.items():
        section = re.fullmatch(r".+ \(docs/bundles\.md, ([0-9.]+)\)", each.source)
        assert section and section[1] in sections, name


def test_every_rule_is_tried_and_written_down() -> None:
    """Each id stands in a test, and in the page's table."""
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_lint*.py"))
    page = (ROOT / "docs/bundles.md").read_text()
    assert [name for name in ADVICE if f'"{name}"' not in here and name not in ("kernel-name", "part-order")] == []
    assert [name for name in ADVICE if f"`{name}`" not in page] == []


@given(edits=st.lists(st.tuples(st.integers(0, 2**16), st.binary(max_size=3)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=300)
def test_whatever_is_changed_something_is_said_or_nothing_minds(edits: list[tuple[int, bytes]]) -> None:
    """Never a traceback; and what cannot be read is one error and nothing else."""
    data = OBSERVED.manifest
    for at, text in edits:
        at %= len(data)
        data = data[:at] + text + data[at + len(text) :]
    found = lint(replace(OBSERVED, manifest=data), TARGET)
    if any(each.id == "unreadable" for each in found):
        assert [each.id for each in found] == ["unreadable"]
