"""S3 as any AWS client sees it: plain boto3, every answer held against botocore's model."""

import hashlib
import http.client
import io
import os
import secrets
import zlib
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.exceptions import ClientError

from builder.region.control import Status
from tests.support.regions import client, refused

MIB = 1 << 20


def body(s3: Any, bucket: str, key: str, **options: Any) -> bytes:
    return bytes(s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read())


class TestObjects:
    def test_bytes_that_somebody_removed(self, s3: Any, bucket: str, region: Status) -> None:
        """An answer, not a search without an end."""
        data = secrets.token_bytes(64)
        s3.put_object(Bucket=bucket, Key="k", Body=data)
        digest = hashlib.sha256(data).hexdigest()
        (found,) = [path for path in region.directory.rglob(digest) if path.is_file()]
        found.unlink()
        with pytest.raises(ClientError, match="InternalError"):
            body(s3, bucket, "k")

    @pytest.mark.parametrize(
        "key",
        [
            "plain",
            "a/b/c",
            "/leading",
            "tailing/",
            "a//b",
            "ü ö+%2F?&=#",
            "..",
            "a/../b",
            "key\nline",
            "📦",
            "x" * 1024,
        ],
    )
    def test_any_key(self, s3: Any, bucket: str, key: str) -> None:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert body(s3, bucket, key) == key.encode()
        assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
        s3.delete_object(Bucket=bucket, Key=key)
        with refused("NoSuchKey"):
            s3.get_object(Bucket=bucket, Key=key)

    def test_what_is_said_with_it_is_kept(self, s3: Any, bucket: str) -> None:
        said = {
            "ContentType": "text/x-test",
            "CacheControl": "no-cache",
            "ContentDisposition": 'attachment; filename="x"',
            "ContentEncoding": "gzip",
            "ContentLanguage": "de",
            "Metadata": {"a-b": "1", "c": "two words"},
        }
        content = b"content"
        put = s3.put_object(Bucket=bucket, Key="k", Body=content, **said)
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        assert put["ETag"] == etag
        for answer in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
            assert {name: answer[name] for name in said} == said
            assert (answer["ETag"], answer["ContentLength"], answer["AcceptRanges"]) == (etag, 7, "bytes")

    def test_answer_headers_can_be_asked_for(self, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"")
        answer = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="a/b\r\nX-Evil: 1")
        assert answer["ContentType"] == "a/b  X-Evil: 1"
        assert "x-evil" not in answer["ResponseMetadata"]["HTTPHeaders"]

    @pytest.mark.parametrize(
        ("wanted", "expected", "said"),
        [
            ("bytes=0-0", b"0", "bytes 0-0/10"),
            ("bytes=3-5", b"345", "bytes 3-5/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=7-99", b"789", "bytes 7-9/10"),
            ("bytes=-2", b"89", "bytes 8-9/10"),
            ("bytes=-99", b"0123456789", "bytes 0-9/10"),
            ("bytes=5-3", b"0123456789", None),
            ("lines=1-2", b"0123456789", None),
        ],
    )
    def test_ranges(self, s3: Any, bucket: str, wanted: str, expected: bytes, said: str | None) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
        answer = s3.get_object(Bucket=bucket, Key="k", Range=wanted)
        assert (answer["Body"].read(), answer.get("ContentRange")) == (expected, said)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == (206 if said else 200)
        assert s3.head_object(Bucket=bucket, Key="k", Range=wanted)["ContentLength"] == len(expected)

    def test_a_range_beyond_the_end(self, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
        with refused("InvalidRange"):
            s3.get_object(Bucket=bucket, Key="k", Range="bytes=10-")

    def test_conditions(self, s3: Any, bucket: str) -> None:
        place = {"Bucket": bucket, "Key": "k"}
        etag = s3.put_object(**place, Body=b"1", IfNoneMatch="*")["ETag"]
        with refused("PreconditionFailed"):
            s3.put_object(**place, Body=b"2", IfNoneMatch="*")
        with refused("PreconditionFailed"):
            s3.put_object(**place, Body=b"2", IfMatch='"0"')
        with refused("PreconditionFailed"):
            s3.get_object(**place, IfMatch='"0"')
        with refused("304"):
            s3.get_object(**place, IfNoneMatch=etag)
        assert body(s3, bucket, "k", IfMatch=etag) == b"1"
        s3.put_object(**place, Body=b"2", IfMatch=etag)

    def test_exactly_one_writer_wins_a_conditional_put(self, s3: Any, bucket: str) -> None:
        def attempt(number: int) -> str:
            try:
                s3.put_object(Bucket=bucket, Key="k", Body=str(number).encode(), IfNoneMatch="*")
            except ClientError as error:
                return str(error.response["Error"]["Code"])
            return "done"

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(attempt, range(8))) == ["PreconditionFailed"] * 7 + ["done"]

    def test_missing_things(self, s3: Any, bucket: str) -> None:
        with refused("404"):
            s3.head_object(Bucket=bucket, Key="none")
        with refused("404"):
            s3.head_bucket(Bucket="no-such-bucket")
        with refused("NoSuchBucket"):
            s3.put_object(Bucket="no-such-bucket", Key="k", Body=b"x" * MIB)
        with refused("NoSuchKey"):
            s3.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": bucket, "Key": "none"})
        s3.delete_object(Bucket=bucket, Key="none")
        with refused("KeyTooLongError"):
            s3.put_object(Bucket=bucket, Key="x" * 1025, Body=b"")

    def test_copy(self, s3: Any, bucket: str) -> None:
        source = {"Bucket": bucket, "Key": "from ü"}
        s3.put_object(**source, Body=b"content", ACL="aws-exec-read", Metadata={"a": "1"}, ChecksumAlgorithm="SHA1")
        s3.copy_object(Bucket=bucket, Key="same", CopySource=source)
        s3.copy_object(Bucket=bucket, Key="other", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"})
        s3.delete_object(**source)
        answers = {key: s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED") for key in ("same", "other")}
        assert {each["Body"].read() for each in answers.values()} == {b"content"}
        assert (answers["same"]["Metadata"], answers["other"]["Metadata"]) == ({"a": "1"}, {"b": "2"})
        assert answers["same"]["ChecksumSHA1"] == b64encode(hashlib.sha1(b"content").digest()).decode()
        assert len(s3.get_object_acl(Bucket=bucket, Key="same")["Grants"]) == 1
        with refused("InvalidRequest"):
            s3.copy_object(Bucket=bucket, Key="same", CopySource={"Bucket": bucket, "Key": "same"})

    def test_delete_many(self, s3: Any, bucket: str) -> None:
        for key in "abc":
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in "abx"]})
        assert [each["Key"] for each in answer["Deleted"]] == ["a", "b", "x"]
        assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["c"]
        quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "c"}], "Quiet": True})
        assert "Deleted" not in quiet


class TestIntegrity:
    def test_digests_that_do_not_match_are_refused_and_nothing_is_kept(self, s3: Any, bucket: str) -> None:
        wrong = b64encode(hashlib.md5(b"other").digest()).decode()
        for claim, code in (
            ({"ContentMD5": wrong}, "BadDigest"),
            ({"ContentMD5": "rubbish!"}, "InvalidDigest"),
            ({"ChecksumSHA1": b64encode(hashlib.sha1(b"other").digest()).decode()}, "BadDigest"),
            ({"ChecksumSHA256": b64encode(hashlib.sha256(b"other").digest()).decode()}, "BadDigest"),
            ({"ChecksumCRC32": "AAAAAA=="}, "BadDigest"),
            ({"ChecksumCRC32C": "AAAAAA=="}, "BadDigest"),
            ({"ChecksumCRC64NVME": "AAAAAAAAAAA="}, "BadDigest"),
            ({"ChecksumSHA512": b64encode(hashlib.sha512(b"content").digest()).decode()}, "NotImplemented"),
        ):
            with refused(code):
                s3.put_object(Bucket=bucket, Key="k", Body=b"content", **claim)
        assert "Contents" not in s3.list_objects_v2(Bucket=bucket)

    def test_checksums_are_kept_and_told(self, s3: Any, bucket: str) -> None:
        content = os.urandom(100_003)
        expected = {
            "ChecksumSHA1": b64encode(hashlib.sha1(content).digest()).decode(),
            "ChecksumSHA256": b64encode(hashlib.sha256(content).digest()).decode(),
            "ChecksumCRC32": b64encode(zlib.crc32(content).to_bytes(4, "big")).decode(),
        }
        for name, value in expected.items():
            put = s3.put_object(Bucket=bucket, Key=name, Body=content, ChecksumAlgorithm=name.removeprefix("Checksum"))
            told = s3.head_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
            assert (put[name], told[name], told["ChecksumType"]) == (value, value, "FULL_OBJECT")
            assert name not in s3.head_object(Bucket=bucket, Key=name)

    def test_a_body_that_was_signed_differently(self, region: Status, bucket: str) -> None:
        status, answer = put_raw(region, f"/{bucket}/k", b"content", {"x-amz-content-sha256": "0" * 64})
        assert (status, b"XAmzContentSHA256Mismatch" in answer) == (400, True)

    def test_a_body_in_signed_chunks(self, region: Status, s3: Any, bucket: str) -> None:
        """aws-chunked, as SDKs send it over plain HTTP with a trailing checksum."""
        content = os.urandom(70_000)
        crc = b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
        for claimed, status in ((crc, 200), ("AAAAAA==", 400)):
            framed = b"".join(
                b"%x;chunk-signature=%s\r\n%s\r\n" % (len(piece), b"0" * 64, piece)
                for piece in (content[:65_536], content[65_536:])
            )
            framed += f"0;chunk-signature={'0' * 64}\r\nx-amz-checksum-crc32:{claimed}\r\n\r\n".encode()
            headers = {
                "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
                "Content-Encoding": "aws-chunked",
                "x-amz-decoded-content-length": str(len(content)),
                "x-amz-trailer": "x-amz-checksum-crc32",
            }
            assert put_raw(region, f"/{bucket}/k", framed, headers)[0] == status
        answer = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert (answer["Body"].read(), answer["ChecksumCRC32"]) == (content, crc)
        assert "ContentEncoding" not in answer

    @pytest.mark.parametrize("size", [b"-1", b"+1", b"1_0", b"", b"one"])
    def test_a_chunk_whose_size_is_no_number(self, size: bytes, region: Status, bucket: str) -> None:
        body = size + b";chunk-signature=0\r\n" + b"x" * 100
        connection = connect(region)
        headers = {"Authorization": "AWS local:x", "Content-Encoding": "aws-chunked"}
        connection.request("PUT", f"/{bucket}/k", body, headers)
        response = connection.getresponse()
        assert (response.status, b"A chunk's size is not a hexadecimal number" in response.read()) == (400, True)

    def test_a_chunked_transfer(self, region: Status, s3: Any, bucket: str) -> None:
        connection = connect(region)
        connection.request(
            "PUT", f"/{bucket}/k", iter([b"one", b"two"]), {"Authorization": "AWS local:x"}, encode_chunked=True
        )
        assert connection.getresponse().read() == b""
        assert body(s3, bucket, "k") == b"onetwo"

    def test_a_body_that_is_cut_off_leaves_nothing(self, region: Status, s3: Any, bucket: str) -> None:
        connection = connect(region)
        connection.putrequest("PUT", f"/{bucket}/k")
        connection.putheader("Authorization", "AWS local:x")
        connection.putheader("Content-Length", str(10 * MIB))
        connection.endheaders(b"x" * MIB)
        connection.close()
        assert "Contents" not in s3.list_objects_v2(Bucket=bucket)

    def test_large_bodies_do_not_stay_in_memory(self, region: Status, s3: Any, bucket: str) -> None:
        content = os.urandom(32 * MIB)

        def put(number: int) -> None:
            s3.put_object(Bucket=bucket, Key=f"k{number}", Body=content)
            assert body(s3, bucket, f"k{number}") == content

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, range(8)))
        peak = next(
            line for line in Path(f"/proc/{region.pid}/status").read_text().splitlines() if line.startswith("VmHWM")
        )
        assert int(peak.split()[1]) < 160 * 1024


def connect(region: Status) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(region.endpoint_url.removeprefix("http://"), timeout=10)


def put_raw(region: Status, path: str, content: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = connect(region)
    connection.request("PUT", path, content, {"Authorization": "AWS local:x", **headers})
    answer = connection.getresponse()
    return answer.status, answer.read()


class TestAccess:
    def grants(self, s3: Any, bucket: str, key: str) -> list[tuple[str, str]]:
        return [
            (each["Grantee"].get("DisplayName") or each["Grantee"]["URI"].rpartition("/")[2], each["Permission"])
            for each in s3.get_object_acl(Bucket=bucket, Key=key)["Grants"]
        ]

    def test_canned(self, s3: Any, bucket: str) -> None:
        s3.delete_public_access_block(Bucket=bucket)
        owner = ("local", "FULL_CONTROL")
        for acl, expected in {
            "private": [owner],
            "aws-exec-read": [owner, ("za-team", "READ")],
            "public-read": [owner, ("AllUsers", "READ")],
            "authenticated-read": [owner, ("AuthenticatedUsers", "READ")],
            "bucket-owner-full-control": [owner],
        }.items():
            s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL=acl)
            assert self.grants(s3, bucket, "k") == expected
        with refused("InvalidArgument"):
            s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="everybody")

    def test_a_list_in_the_body(self, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="aws-exec-read")
        found = s3.get_object_acl(Bucket=bucket, Key="k")
        policy = {"Owner": found["Owner"], "Grants": found["Grants"][::-1]}
        s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=policy)
        assert self.grants(s3, bucket, "k") == [("za-team", "READ"), ("local", "FULL_CONTROL")]

    def test_new_buckets_are_as_s3_makes_them(self, s3: Any) -> None:
        """Since April 2023: no access control lists, nothing public."""
        name = f"test-{secrets.token_hex(8)}"
        s3.create_bucket(Bucket=name)
        rules = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
        assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]
        assert set(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values()) == {True}
        for acl in ("aws-exec-read", "public-read", "private"):
            with refused("AccessControlListNotSupported"):
                s3.put_object(Bucket=name, Key="k", Body=b"", ACL=acl)
        s3.put_object(Bucket=name, Key="k", Body=b"", ACL="bucket-owner-full-control")
        with refused("AccessControlListNotSupported"):
            s3.put_object_acl(Bucket=name, Key="k", ACL="aws-exec-read")
        with refused("InvalidBucketAclWithObjectOwnership"):
            s3.create_bucket(Bucket=f"{name}-2", ACL="public-read")

    def test_ownership_controls_can_go(self, s3: Any, bucket: str) -> None:
        s3.delete_bucket_ownership_controls(Bucket=bucket)
        with refused("OwnershipControlsNotFoundError"):
            s3.get_bucket_ownership_controls(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="aws-exec-read")

    def test_public_objects_are_all_that_strangers_read(self, region: Status, s3: Any, bucket: str) -> None:
        nobody = client("s3", region.endpoint_url, signature_version=UNSIGNED)
        with refused("AccessDenied", "public access block"):
            s3.put_object(Bucket=bucket, Key="open", Body=b"1", ACL="public-read")
        s3.delete_public_access_block(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="open", Body=b"1", ACL="public-read")
        s3.put_object(Bucket=bucket, Key="shut", Body=b"2")
        assert body(nobody, bucket, "open") == b"1"
        for call in (
            lambda: nobody.get_object(Bucket=bucket, Key="shut"),
            lambda: nobody.get_object(Bucket=bucket, Key="none"),
            lambda: nobody.put_object(Bucket=bucket, Key="open", Body=b"3"),
            lambda: nobody.delete_object(Bucket=bucket, Key="open"),
            lambda: nobody.list_objects_v2(Bucket=bucket),
            lambda: nobody.list_buckets(),
        ):
            with refused("AccessDenied"):
                call()
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
        with refused("AccessDenied"):
            nobody.get_object(Bucket=bucket, Key="open")

    def test_presigned_addresses(self, region: Status, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"content")
        address = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        connection = connect(region)
        connection.request("GET", address.removeprefix(region.endpoint_url))
        assert connection.getresponse().read() == b"content"


class TestBuckets:
    def test_life(self, s3: Any) -> None:
        name = f"test-{secrets.token_hex(8)}"
        for _ in range(2):  # in us-east-1 the owner may make it again
            s3.create_bucket(Bucket=name)
        assert name in [each["Name"] for each in s3.list_buckets(Prefix=name)["Buckets"]]
        assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
        assert s3.head_bucket(Bucket=name)["BucketRegion"] == "us-east-1"
        assert "Status" not in s3.get_bucket_versioning(Bucket=name)
        s3.put_object(Bucket=name, Key="k", Body=b"")
        with refused("BucketNotEmpty"):
            s3.delete_bucket(Bucket=name)
        s3.delete_object(Bucket=name, Key="k")
        s3.delete_bucket(Bucket=name)
        with refused("NoSuchBucket"):
            s3.list_objects_v2(Bucket=name)

    @pytest.mark.parametrize("name", ["UPPER", "has_underscore", "a..b", "192.168.0.1", "-dash", "dash-"])
    def test_wrong_names(self, s3: Any, name: str) -> None:
        with refused("InvalidBucketName"):
            s3.create_bucket(Bucket=name)

    def test_the_expected_owner(self, s3: Any, bucket: str) -> None:
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner="123456789012")
        with refused("AccessDenied"):
            s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner="111122223333")

    def test_other_locations(self, s3: Any) -> None:
        with refused("IllegalLocationConstraintException"):
            s3.create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})


KEYS = sorted(
    [
        *(f"d{number % 25:02}/{number:04}" for number in range(2500)),
        *("a", "d00", "d00/", "ü/x", "z", "d24/0/deep", "\U0001f4e6/y"),
    ],
    key=str.encode,
)


@pytest.fixture(scope="module")
def full(region: Status) -> str:
    """2500 keys in 25 directories, a few outside."""
    s3 = client("s3", region.endpoint_url, checked=False)
    name = f"test-{secrets.token_hex(8)}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key=KEYS[0], Body=b"")
    with ThreadPoolExecutor(4) as pool:
        source = {"Bucket": name, "Key": KEYS[0]}
        list(pool.map(lambda key: s3.copy_object(Bucket=name, Key=key, CopySource=source), KEYS[1:]))
    return name


class TestListing:
    def test_all_in_order_over_pages(self, s3: Any, full: str) -> None:
        for method in ("list_objects_v2", "list_objects"):
            pages = list(s3.get_paginator(method).paginate(Bucket=full))
            assert [len(page["Contents"]) for page in pages] == [1000, 1000, 507]
            assert [each["Key"] for page in pages for each in page["Contents"]] == KEYS

    @pytest.mark.parametrize("size", [1, 2, 7, 1000])
    def test_directories(self, s3: Any, full: str, size: int) -> None:
        for method in ("list_objects_v2", "list_objects"):
            pages = s3.get_paginator(method).paginate(Bucket=full, Delimiter="/", PaginationConfig={"PageSize": size})
            keys, prefixes = [], []
            for page in pages:
                keys += [each["Key"] for each in page.get("Contents", ())]
                prefixes += [each["Prefix"] for each in page.get("CommonPrefixes", ())]
            assert keys == ["a", "d00", "z"]
            assert prefixes == [*(f"d{number:02}/" for number in range(25)), "ü/", "\U0001f4e6/"]

    def test_prefix_and_start(self, s3: Any, full: str) -> None:
        inside = [key for key in KEYS if key.startswith("d24/")]
        found = s3.list_objects_v2(Bucket=full, Prefix="d24/")
        assert [each["Key"] for each in found["Contents"]] == inside
        later = s3.list_objects_v2(Bucket=full, Prefix="d24/", StartAfter=inside[3], MaxKeys=2)
        assert ([each["Key"] for each in later["Contents"]], later["IsTruncated"]) == (inside[4:6], True)
        below = s3.list_objects_v2(Bucket=full, Prefix="d24/", Delimiter="/")
        assert [each["Prefix"] for each in below["CommonPrefixes"]] == ["d24/0/"]
        assert s3.list_objects_v2(Bucket=full, Prefix="none")["KeyCount"] == 0
        assert s3.list_objects_v2(Bucket=full, MaxKeys=0)["KeyCount"] == 0


def test_wrong_limits(s3: Any, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "k"}
    upload = {**place, "UploadId": s3.create_multipart_upload(**place)["UploadId"]}
    for call in (
        lambda: s3.list_objects_v2(Bucket=bucket, MaxKeys=-1),
        lambda: s3.list_multipart_uploads(Bucket=bucket, MaxUploads=-1),
        lambda: s3.list_parts(**upload, MaxParts=-1),
    ):
        with refused("InvalidArgument"):
            call()


class TestMultipart:
    @pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
    def test_through_boto3(self, s3: Any, bucket: str, algorithm: str) -> None:
        content = os.urandom(11 * MIB + 5)
        settings = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
        extra = {"ACL": "aws-exec-read", "Metadata": {"a": "1"}, "ChecksumAlgorithm": algorithm}
        s3.upload_fileobj(io.BytesIO(content), bucket, "k", ExtraArgs=extra, Config=settings)
        answer = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        pieces = [content[at : at + 5 * MIB] for at in range(0, len(content), 5 * MIB)]
        etag = hashlib.md5(b"".join(hashlib.md5(each).digest() for each in pieces)).hexdigest()
        assert (answer["ETag"], answer["Metadata"]) == (f'"{etag}-3"', {"a": "1"})
        assert answer[f"Checksum{algorithm}"].endswith("-3")
        target = io.BytesIO()
        s3.download_fileobj(bucket, "k", target, Config=settings)
        assert target.getvalue() == content
        assert body(s3, bucket, "k", PartNumber=3) == pieces[2]
        assert len(s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]) == 2
        assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)

    def test_by_hand(self, s3: Any, bucket: str) -> None:
        place = {"Bucket": bucket, "Key": "k"}
        upload = {**place, "UploadId": s3.create_multipart_upload(**place)["UploadId"]}
        first, last = os.urandom(5 * MIB), b"end"
        s3.upload_part(**upload, PartNumber=1, Body=b"replaced")
        parts = [
            {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=content)["ETag"]}
            for number, content in ((1, first), (9, last))
        ]
        s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
        source = {"Bucket": bucket, "Key": "source"}
        copied = s3.upload_part_copy(**upload, PartNumber=10, CopySource=source, CopySourceRange="bytes=2-4")
        assert [each["Size"] for each in s3.list_parts(**upload)["Parts"]] == [5 * MIB, 3, 3]
        assert [each["Key"] for each in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["k"]
        for wrong, code in (
            (parts[::-1], "InvalidPartOrder"),
            ([{"PartNumber": 2, "ETag": parts[0]["ETag"]}], "InvalidPart"),
            ([{"PartNumber": 1, "ETag": parts[1]["ETag"]}], "InvalidPart"),
            ([*parts, {"PartNumber": 10, "ETag": copied["CopyPartResult"]["ETag"]}], "EntityTooSmall"),
            ([], "MalformedXML"),
        ):
            with refused(code):
                s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": wrong})
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        assert body(s3, bucket, "k") == first + last
        with refused("NoSuchUpload"):
            s3.upload_part(**upload, PartNumber=1, Body=b"late")

    def test_abort(self, region: Status, s3: Any, bucket: str) -> None:
        place = {"Bucket": bucket, "Key": "k"}
        upload = {**place, "UploadId": s3.create_multipart_upload(**place)["UploadId"]}
        content = os.urandom(MIB)
        s3.upload_part(**upload, PartNumber=1, Body=content)
        digest = hashlib.sha256(content).hexdigest()
        file = region.directory / "state" / "blobs" / digest[:2] / digest
        assert file.read_bytes() == content
        s3.abort_multipart_upload(**upload)
        assert not file.exists()
        with refused("NoSuchUpload"):
            s3.list_parts(**upload)
