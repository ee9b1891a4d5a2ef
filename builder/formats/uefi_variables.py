"""The store of UEFI's variables as EC2 takes it (RegisterImage's UefiData) and gives it (GetInstanceUefiData).

Base64 of 16 bytes and a zlib stream: the magic number, a CRC-32C over all that follows it, and a version, both of them
32 bits, little endian. The stream is made with a preset dictionary of EC2's own, so what is in it is not looked at
here; AWS's own tool, python-uefivars, makes stores and shows them (the format is read from its source).
"""

import base64
import binascii
import struct

from builder.formats.crc import crc32c

MOST = 64000
"""Characters (EC2 API reference, RegisterImage)."""
_MAGIC = b"AMZNUEFI"
_HEAD = struct.Struct("<8sII")
_KNOWN = 0
"""The version that there is."""


def parse_variables(text: str) -> str:
    """The store without line ends, as it is sent. ValueError says what is wrong with it."""
    joined = "".join(text.split())
    if len(joined) > MOST:
        raise ValueError(f"it has {len(joined)} characters, and EC2 takes {MOST}")
    try:
        store = base64.b64decode(joined, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64") from None
    if len(store) <= _HEAD.size or not store.startswith(_MAGIC):
        raise ValueError("it is no store of UEFI variables: it does not begin with AMZNUEFI")
    _, checksum, version = _HEAD.unpack_from(store)
    if crc32c(store[12:]) != checksum:
        raise ValueError("its checksum is wrong: it was cut short or changed")
    if version != _KNOWN:
        raise ValueError(f"it is of version {version}, and only {_KNOWN} is known")
    return joined
