import zlib

from builder.formats.crc import TableCrc, crc32c


def test_check_value() -> None:
    """From the CRC catalogue."""
    assert crc32c(b"123456789") == 0xE3069283


def test_the_table_driven_code_agrees_with_zlib() -> None:
    ours = TableCrc(0xEDB88320, 32)
    ours.update(bytes(range(256)) * 33 + b"tail")
    assert ours.digest() == zlib.crc32(bytes(range(256)) * 33 + b"tail").to_bytes(4, "big")
