"""Cyclic redundancy checks for which the standard library has no code: right, and slower than zlib's."""

import functools
import struct

CRC32C = 0x82F63B78
"""The reversed polynomial. Both it and its like start from and end in all ones."""


@functools.cache
def _tables(polynomial: int) -> tuple[list[int], ...]:
    """Tables that take eight bytes at a time as four 16-bit words: 0.1 s to make, 0.05 s for a MiB of data then."""
    one_bit = [value for value in range(65536)]
    for _ in range(16):
        one_bit = [(value >> 1) ^ (polynomial if value & 1 else 0) for value in one_bit]
    tables = [one_bit]
    for _ in range(3):
        tables.append([(value >> 16) ^ one_bit[value & 0xFFFF] for value in tables[-1]])
    return tuple(tables)


class TableCrc:
    """A checksum of `width` bits by a reversed polynomial, as hashlib's objects are used."""

    def __init__(self, polynomial: int, width: int) -> None:
        self._polynomial, self._bytes = polynomial, width // 8
        self._ones = (1 << width) - 1
        self._value = self._ones

    def update(self, data: bytes | memoryview, /) -> None:
        view = memoryview(data)
        nearest, second, third, farthest = _tables(self._polynomial)
        value = self._value
        whole = len(view) // 8 * 8
        for (word,) in struct.iter_unpack("<Q", view[:whole]):
            word ^= value
            value = (
                farthest[word & 0xFFFF] ^ third[word >> 16 & 0xFFFF] ^ second[word >> 32 & 0xFFFF] ^ nearest[word >> 48]
            )
        for byte in view[whole:]:
            value ^= byte
            for _ in range(8):
                value = (value >> 1) ^ (self._polynomial if value & 1 else 0)
        self._value = value

    def digest(self) -> bytes:
        return (self._value ^ self._ones).to_bytes(self._bytes, "big")


def crc32c(data: bytes) -> int:
    """Of all of it, as in the UEFI variable stores of EC2."""
    total = TableCrc(CRC32C, 32)
    total.update(data)
    return int.from_bytes(total.digest(), "big")
