"""Headers of rpm's database, and such a database, made by hand."""

import sqlite3
import struct
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path


def header(values: Mapping[int, int | str]) -> bytes:
    """Texts as strings; numbers of 32 bits, or of 64 for the tags from 5000 on."""
    index, data = b"", b""
    for tag, value in values.items():
        if isinstance(value, str):
            kind, raw = 6, value.encode() + b"\0"
        else:
            kind, raw = (5, value.to_bytes(8)) if tag >= 5000 else (4, value.to_bytes(4))
        index += struct.pack(">iIiI", tag, kind, len(data), 1)
        data += raw
    return struct.pack(">II", len(values), len(data)) + index + data


def database(path: Path, headers: Iterable[bytes]) -> Path:
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        made.executemany("INSERT INTO Packages (blob) VALUES (?)", [(each,) for each in headers])
    return path
