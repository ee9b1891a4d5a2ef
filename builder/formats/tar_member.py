"""The tar stream of a bundle: exactly one member, the image, and nothing that varies.

Old GNU flavour, regular file, mode 0644, ids and time 0, no owner names; the header's bytes are laid out here because
tools differ in fields that mean nothing (device numbers: zeros in octal or NULs). Holes are not described: the member
is a plain file, which every reader knows.
"""

import re

BLOCK = 512
RECORD = 20 * BLOCK
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What a bundle may be called: no escaping in the manifest or in S3 keys, and the 100 bytes of the name field."""

_OCTAL_LIMIT = 8**11


def format_header(name: str, size: int) -> bytes:
    """The 512 bytes that stand before an image of `size` bytes. ValueError for a name that NAME refuses."""
    if NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} cannot be a member's name")
    fields = (
        name.encode("ascii").ljust(100, b"\0"),
        b"0000644\0",  # mode
        b"0000000\0",  # user
        b"0000000\0",  # group
        _format_size(size),
        b"00000000000\0",  # time
        b" " * 8,  # the checksum counts itself as blanks
        b"0",  # regular file
        bytes(100),
        b"ustar  \0",  # GNU's magic
        bytes(247),
    )
    header = b"".join(fields)
    checksum = b"%06o\0 " % sum(header)
    return header[:148] + checksum + header[156:]


def padding_after(size: int) -> int:
    """How many zero bytes follow the image: to a whole block, two blocks as the end mark, to a whole record."""
    end = BLOCK + size + -size % BLOCK + 2 * BLOCK
    return end + -end % RECORD - BLOCK - size


def _format_size(size: int) -> bytes:
    """Eleven octal digits, or GNU's base-256 from 8 GiB on."""
    if size < _OCTAL_LIMIT:
        return b"%011o\0" % size
    return b"\x80" + size.to_bytes(11, "big")
