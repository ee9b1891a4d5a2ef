"""S3's checksums: the published check values, and any cut into chunks."""

import zlib
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.region.errors import ServiceError
from builder.region.s3 import checksums

# "123456789" by algorithm, from the CRC catalogue and FIPS 180.
CHECK = {
    "CRC32": "cbf43926",
    "CRC32C": "e3069283",
    "CRC64NVME": "ae8b14860a799888",
    "SHA1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "SHA256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_check_values(algorithm: str) -> None:
    total = checksums.ALGORITHMS[algorithm]()
    total.update(b"123456789")
    assert total.digest().hex() == CHECK[algorithm]


@settings(deadline=None)
@given(pieces=st.lists(st.binary(max_size=40), max_size=6), algorithm=st.sampled_from(["CRC32C", "CRC64NVME"]))
def test_chunks_do_not_matter(pieces: list[bytes], algorithm: str) -> None:
    whole, cut = checksums.ALGORITHMS[algorithm](), checksums.ALGORITHMS[algorithm]()
    whole.update(b"".join(pieces))
    for each in pieces:
        cut.update(memoryview(each))
    assert cut.digest() == whole.digest()


def test_composite() -> None:
    parts = [b64encode(zlib.crc32(each).to_bytes(4, "big")).decode() for each in (b"one", b"two")]
    joined = b"".join(zlib.crc32(each).to_bytes(4, "big") for each in (b"one", b"two"))
    expected = b64encode(zlib.crc32(joined).to_bytes(4, "big")).decode()
    assert checksums.of_parts("CRC32", parts) == f"{expected}-2"


def test_what_is_asked_for() -> None:
    headers = {"X-Amz-Checksum-Sha1": "x", "x-amz-checksum-type": "FULL_OBJECT", "x-amz-checksum-mode": "ENABLED"}
    found = checksums.asked_for(headers, {"ChecksumAlgorithm": "CRC32"}, "x-amz-checksum-crc64nvme")
    assert found == ("SHA1", "CRC64NVME", "CRC32")
    assert checksums.asked_for({}, {}) == ()
    with pytest.raises(ServiceError, match="XXHASH3"):
        checksums.asked_for({"x-amz-checksum-xxhash3": "x"}, {})


def test_comparing() -> None:
    computed = {"CRC32": "y/Q5Jg=="}
    checksums.compare({"x-amz-checksum-crc32": "y/Q5Jg==", "Content-Type": "x"}, computed)
    for claimed, code in (("AAAAAA==", "BadDigest"), ("rubbish", "InvalidRequest")):
        with pytest.raises(ServiceError) as caught:
            checksums.compare({"x-amz-checksum-crc32": claimed}, computed)
        assert caught.value.code == code
