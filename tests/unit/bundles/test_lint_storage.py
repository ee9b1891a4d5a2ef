"""Rules about parts and buckets: one thing changed of what was observed, and exactly what is said of it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from builder.bundles.observed import File
from builder.catalog.ec2_user import EC2_USER
from builder.formats.bundle_manifest import Part
from builder.formats.bundle_stream import PART_SIZE
from tests.support.linted import BUCKET, FILES, GOOD, LAST, MANIFEST_FILE, OBSERVED, text_of, told


def with_files(**changes: File | None) -> dict[str, Any]:
    """The files with some changed, by the number of the part: `p1`; None takes it away."""
    files = {**FILES, **MANIFEST_FILE}
    for number, file in changes.items():
        name = f"web.part.{number[1:]}"
        if file is None:
            del files[name]
        else:
            files[name] = file
    return {"files": files}


def every(**changes: Any) -> dict[str, Any]:
    return {"files": {name: replace(file, **changes) for name, file in {**FILES, **MANIFEST_FILE}.items()}}


def policy(effect: str, **more: Any) -> str:
    statement = {
        "Effect": effect,
        "Principal": {"CanonicalUser": EC2_USER},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::b/p/*",
        **more,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


ENFORCED = replace(BUCKET, ownership="BucketOwnerEnforced")
NO_LIST = "its access control list grants EC2 nothing"
NO_LISTS = "the bucket allows no access control lists (BucketOwnerEnforced), and no policy lets EC2 in"
UNCLEAR = "the bucket's policy may allow it, and cannot be worked out"
PUBLIC = (("http://acs.amazonaws.com/groups/global/AllUsers", "READ"),)
IGNORED = "it is public-read, and the bucket's public access block makes that count for nothing"
UNSEEN = "the bucket's policy may not be looked at"
RESTRICTED = "the bucket's policy is public, and its public access block then lets nobody in from outside"
ALL = "this and 3 more: {}".format

# What is changed of what was observed, and what is said.
STORED: list[tuple[str, dict[str, Any], list[tuple[str, str, str, str]]]] = [
    ("missing", with_files(p1=None), [("error", "part-missing", "web.part.1", "is not there")]),
    (
        "many missing",
        with_files(p0=None, p1=None),
        [("error", "part-missing", "web.part.0", "this and 1 more: are not there")],
    ),
    (
        "longer",
        with_files(p2=replace(FILES["web.part.2"], size=LAST + 16)),
        [
            (
                "error",
                "part-sizes",
                "manifest/image/bundled_size",
                "the parts have 20975632 bytes together, and bundled_size is 20975616",
            )
        ],
    ),
    (
        "moved between parts",
        with_files(
            p0=replace(FILES["web.part.0"], size=PART_SIZE - 16), p2=replace(FILES["web.part.2"], size=LAST + 16)
        ),
        [("warning", "part-cut", "web.part.0", "has not 10 MiB")],
    ),
    (
        "another digest",
        with_files(p1=replace(FILES["web.part.1"], sha1="99" * 20)),
        [("error", "part-digest", "web.part.1", "is another file")],
    ),
    (
        "not read",
        with_files(p1=replace(FILES["web.part.1"], sha1="")),
        [("note", "unread", "manifest/image/parts", "the parts were not compared with their digests")],
    ),
    ("read", {**with_files(p1=replace(FILES["web.part.1"], sha1="")), "fault": ""}, []),
    (
        "read, not opened",
        {"fault": "", "opens": None},
        [
            (
                "note",
                "unopened",
                "manifest/image/digest",
                "what is in the parts was not looked at: no key here opens them",
            )
        ],
    ),
    (
        "rotten",
        {"fault": "web.part.1 is rotten"},
        [("error", "contents", "b/p/web.manifest.xml", "web.part.1 is rotten")],
    ),
    (
        "missing, and read",
        {**with_files(p1=None), "fault": "web.part.1 is not there"},
        [("error", "part-missing", "web.part.1", "is not there")],
    ),
    (
        "stale",
        with_files(p3=File(size=1), p10=File(size=2)),
        [("warning", "stale-parts", "web.part.10", "this and 1 more: are no parts of this bundle")],
    ),
    ("another bundle beside it", {"files": {**OBSERVED.files, "db.part.0": File(size=1)}}, []),  # type: ignore[dict-item]
    (
        "bucket elsewhere",
        {"bucket": replace(BUCKET, region="eu-west-1")},
        [("error", "bucket-region", "b", "the bucket is in eu-west-1, and the AMI is for us-east-1")],
    ),
    (
        "two slashes",
        {"where": "b//web.manifest.xml"},
        [("warning", "location", "b//web.manifest.xml", "there are two slashes side by side in it")],
    ),
    ("private", every(grants=(("owner", "FULL_CONTROL"),)), [("error", "access", "web.manifest.xml", ALL(NO_LIST))]),
    (
        "one private part",
        with_files(p1=replace(FILES["web.part.1"], grants=())),
        [("error", "access", "web.part.1", NO_LIST)],
    ),
    (
        "write is not read",
        every(grants=((EC2_USER, "WRITE"),)),
        [("error", "access", "web.manifest.xml", ALL(NO_LIST))],
    ),
    ("full control", every(grants=((EC2_USER, "FULL_CONTROL"),)), []),
    ("public, ignored", every(grants=PUBLIC), [("error", "access", "web.manifest.xml", ALL(IGNORED))]),
    ("public", {**every(grants=PUBLIC), "bucket": replace(BUCKET, ignores_public=False)}, []),
    (
        "public, block unknown",
        {**every(grants=PUBLIC), "bucket": replace(BUCKET, ignores_public=None)},
        [
            (
                "note",
                "access-unknown",
                "web.manifest.xml",
                ALL("it is public-read, and whether the bucket's public access block lets that count is not known"),
            )
        ],
    ),
    (
        "lists unknown",
        every(grants=None),
        [("note", "access-unknown", "web.manifest.xml", ALL("its access control list may not be looked at"))],
    ),
    ("enforced", {"bucket": ENFORCED}, [("error", "access", "web.manifest.xml", ALL(NO_LISTS))]),
    (
        "enforced, policy unknown",
        {"bucket": replace(ENFORCED, policy=None)},
        [("note", "access-unknown", "web.manifest.xml", ALL(f"{NO_LISTS}; {UNSEEN}"))],
    ),
    (
        "private, policy unknown",
        {**every(grants=()), "bucket": replace(BUCKET, policy=None)},
        [("note", "access-unknown", "web.manifest.xml", ALL(f"{NO_LIST}; {UNSEEN}"))],
    ),
    ("granted, policy unknown", {"bucket": replace(BUCKET, policy=None)}, []),
    (
        "public policy, restricted",
        {"bucket": replace(ENFORCED, policy=policy("Allow", Principal="*"), restricts_public=True)},
        [("error", "access", "web.manifest.xml", ALL(RESTRICTED))],
    ),
    ("policy for EC2, restricted", {"bucket": replace(ENFORCED, policy=policy("Allow"), restricts_public=True)}, []),
    ("policy", {"bucket": replace(ENFORCED, policy=policy("Allow"))}, []),
    ("policy for all", {"bucket": replace(ENFORCED, policy=policy("Allow", Principal="*", Action="s3:Get*"))}, []),
    (
        "policy for another prefix",
        {"bucket": replace(ENFORCED, policy=policy("Allow", Resource="arn:aws:s3:::b/q/*"))},
        [("error", "access", "web.manifest.xml", ALL(NO_LISTS))],
    ),
    (
        "policy with a condition",
        {"bucket": replace(ENFORCED, policy=policy("Allow", Condition={"Bool": {"aws:SecureTransport": "true"}}))},
        [("note", "access-unknown", "web.manifest.xml", ALL(f"{NO_LISTS}; {UNCLEAR}"))],
    ),
    (
        "policy for an account",
        {"bucket": replace(ENFORCED, policy=policy("Allow", Principal={"AWS": "arn:aws:iam::111122223333:root"}))},
        [("note", "access-unknown", "web.manifest.xml", ALL(f"{NO_LISTS}; {UNCLEAR}"))],
    ),
    (
        "policy that denies",
        {"bucket": replace(BUCKET, policy=policy("Deny", Principal="*"))},
        [("error", "access", "web.manifest.xml", ALL("the bucket's policy denies it"))],
    ),
    (
        "policy that denies with a condition",
        {"bucket": replace(BUCKET, policy=policy("Deny", Principal="*", Condition={"Bool": {}}))},
        [
            (
                "note",
                "access-unknown",
                "web.manifest.xml",
                ALL("the bucket's policy has conditions on it, or names others than EC2's canonical user"),
            )
        ],
    ),
    (
        "policy of rubbish",
        {"bucket": replace(ENFORCED, policy="{")},
        [("note", "access-unknown", "web.manifest.xml", ALL(f"{NO_LISTS}; {UNCLEAR}"))],
    ),
    (
        "kms",
        every(encryption="aws:kms"),
        [("error", "encryption", "web.manifest.xml", ALL("S3 encrypts it with a key of KMS (aws:kms)"))],
    ),
    (
        "archived",
        with_files(p2=replace(FILES["web.part.2"], archived="GLACIER")),
        [("error", "archived", "web.part.2", "it is in the storage class GLACIER")],
    ),
    ("no bucket", {"bucket": None}, []),
]


@pytest.mark.parametrize(("change", "expected"), [pytest.param(*each[1:], id=each[0]) for each in STORED])
def test_stored(change: dict[str, Any], expected: list[tuple[str, str, str, str]]) -> None:
    assert told(replace(OBSERVED, **change)) == expected


def test_parts_that_sort_in_another_order() -> None:
    """As Go's tool names them; nothing that EC2 minds."""
    parts = tuple(Part(filename=f"web.part.{index}", sha1=f"{index:040}") for index in range(11))
    files = {part.filename: File(size=PART_SIZE, sha1=part.sha1) for part in parts}
    manifest = text_of(replace(GOOD, parts=parts, bundled_size=11 * PART_SIZE))
    assert told(replace(OBSERVED, manifest=manifest, files=files, bucket=None)) == [
        (
            "note",
            "part-names",
            "manifest/image/parts",
            "sorted by name the parts stand in another order: web.part.10 comes too early",
        )
    ]


def test_an_empty_part_at_the_end() -> None:
    parts = (*GOOD.parts[:2], Part(filename="web.part.2", sha1="da39a3ee5e6b4b0d3255bfef95601890afd80709"))
    files = {**FILES, "web.part.2": File(size=0, sha1=parts[2].sha1)}
    manifest = text_of(replace(GOOD, parts=parts, bundled_size=2 * PART_SIZE))
    assert told(replace(OBSERVED, manifest=manifest, files=files, bucket=None)) == [
        ("note", "part-empty", "web.part.2", "it is empty")
    ]
