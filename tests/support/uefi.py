"""Stores of UEFI's variables in EC2's form, written by themselves: what reads them must not be what made them."""

import base64
import zlib


def store(stream: bytes = b"", *, magic: bytes = b"AMZNUEFI", version: int = 0, checksum: int | None = None) -> str:
    checked = version.to_bytes(4, "little") + (stream or zlib.compress(b"\0" * 8))
    made = crc32c(checked) if checksum is None else checksum
    return base64.b64encode(magic + made.to_bytes(4, "little") + checked).decode()


def crc32c(data: bytes) -> int:
    """Bit by bit, as the polynomial says it."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF
