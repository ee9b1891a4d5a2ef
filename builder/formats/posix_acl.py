"""POSIX access lists: from the text that tar keeps to the attribute that Linux keeps.

Sources: acl(5), "Long text form"; Linux, include/uapi/linux/posix_acl_xattr.h (version 2, little-endian).
"""

import re
import struct

_VERSION = 2
_UNDEFINED = 0xFFFFFFFF
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_TAGS = {"user": (_USER_OBJ, _USER), "group": (_GROUP_OBJ, _GROUP), "mask": (_MASK, 0), "other": (_OTHER, 0)}
_ENTRY = re.compile(r"(user|group|mask|other):([^:]*):([r-][w-][x-])(?::([0-9]+))?")
_COMMENT = re.compile(r"\s*#.*")


def attribute(text: str) -> bytes:
    """The value of system.posix_acl_access or _default.

    ValueError for what is no access list, or names somebody by name alone: whose number that is, only the machine
    that made the text knows. root is 0 everywhere.
    """
    entries = []
    for written in re.split(r"[,\n]", text):
        line = _COMMENT.sub("", written).strip()
        if not line:
            continue
        found = _ENTRY.fullmatch(line)
        if found is None:
            raise ValueError(f'"{line[:80]}" is no entry of an access list')
        kind, name, rights, number = found.groups()
        everybody, one = _TAGS[kind]
        if name and not one:
            raise ValueError(f'"{line[:80]}": {kind} has no name')
        entries.append((one if name else everybody, _bits(rights), _identity(name, number) if name else _UNDEFINED))
    if not {_USER_OBJ, _GROUP_OBJ, _OTHER} <= {tag for tag, _, _ in entries}:
        raise ValueError("an access list without its user, group or other")
    ordered = sorted(entries, key=lambda entry: (entry[0], entry[2]))
    return struct.pack("<I", _VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in ordered)


def _bits(rights: str) -> int:
    return sum(value for letter, value in zip(rights, (4, 2, 1), strict=True) if letter != "-")


def _identity(name: str, number: str | None) -> int:
    said = number or ("0" if name == "root" else name)
    if not (said.isascii() and said.isdigit()) or int(said) >= _UNDEFINED:
        raise ValueError(f'"{name[:80]}" is a name, and access lists are kept by number')
    return int(said)
