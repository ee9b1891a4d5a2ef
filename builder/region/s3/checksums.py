"""S3's additional checksums: computed as bytes come in, compared with what the client said, stored and given back."""

import hashlib
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping

from builder.formats.crc import CRC32C, TableCrc
from builder.region.errors import ServiceError
from builder.region.state import Hash

# A reversed polynomial, as that of CRC32C is.
CRC64NVME = 0x9A6C9329AC4BC9B5


class Crc32:
    """zlib's CRC-32."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


ALGORITHMS: Mapping[str, Callable[[], Hash]] = {
    "CRC32": Crc32,
    "CRC32C": lambda: TableCrc(CRC32C, 32),
    "CRC64NVME": lambda: TableCrc(CRC64NVME, 64),
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
}
# CRC64NVME is of the whole object only, SHA of the parts' checksums only, the others either way.
WHOLE_ONLY, PARTS_ONLY = frozenset({"CRC64NVME"}), frozenset({"SHA1", "SHA256"})
HEADER = "x-amz-checksum-"


def member(algorithm: str) -> str:
    """botocore's name of the field."""
    return f"Checksum{algorithm}"


def asked_for(headers: Mapping[str, str], parameters: Mapping[str, object], trailer: str = "") -> tuple[str, ...]:
    """The algorithms that a request names, in a header, in x-amz-sdk-checksum-algorithm or in its trailer."""
    named = [name.lower().removeprefix(HEADER).upper() for name in headers if name.lower().startswith(HEADER)]
    if trailer:
        named += [each.strip().lower().removeprefix(HEADER).upper() for each in trailer.split(",") if HEADER in each]
    wanted = parameters.get("ChecksumAlgorithm")
    named += [str(wanted)] if wanted else []
    found = tuple(dict.fromkeys(each for each in named if each not in {"ALGORITHM", "TYPE", "MODE"}))
    for each in found:
        if each not in ALGORITHMS:
            raise ServiceError(
                "NotImplemented",
                f"The local region does not check {each} (it checks {', '.join(ALGORITHMS)}), so it does not take it",
            )
    return found


def compare(claimed: Mapping[str, str], computed: Mapping[str, str]) -> None:
    """BadDigest when a checksum that the client sent is not that of the bytes that came."""
    for name, value in claimed.items():
        algorithm = name.lower().removeprefix(HEADER).upper()
        if not name.lower().startswith(HEADER) or algorithm not in ALGORITHMS:
            continue
        if _bytes_of(value) != b64decode(computed[algorithm]):
            raise ServiceError("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")


def _bytes_of(value: str) -> bytes:
    try:
        return b64decode(value, validate=True)
    except ValueError as error:
        raise ServiceError("InvalidRequest", "Value for x-amz-checksum header is invalid.") from error


def texts(hashes: Mapping[str, Hash], algorithms: Iterable[str]) -> dict[str, str]:
    return {each: b64encode(hashes[each].digest()).decode() for each in algorithms}


def of_parts(algorithm: str, checksums: Iterable[str]) -> str:
    """A composite checksum: of the parts' checksums, with their count behind it."""
    parts = [b64decode(each) for each in checksums]
    total = ALGORITHMS[algorithm]()
    for each in parts:
        total.update(each)
    return f"{b64encode(total.digest()).decode()}-{len(parts)}"
