"""What is installed, by the image's own databases: dpkg's text, rpm's SQLite. They are read, no program runs on them.

A database of rpm before 4.16 is another one (Berkeley DB): of such an image the packages are not known.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from builder.compare.contents import Package
from builder.errors import BuilderError
from builder.formats import rpm_header

DPKG = "/var/lib/dpkg/status"
RPM = ("/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite")
DATABASES = (DPKG, *RPM, *(f"{path}-wal" for path in RPM))
"""The files of an image that the packages are read from."""
LIMIT = 512 * 1024**2
"""Bytes of the largest of them that is read."""


def read_packages(files: Mapping[str, Path]) -> tuple[Package, ...]:
    """All packages, in order. `files`: copies of DATABASES that this may change. BuilderError for a damaged one."""
    found: list[Package] = []
    if DPKG in files:
        found += parse_status(files[DPKG].read_text(errors="replace"))
    for path in RPM:
        if path in files:
            found += read_rpm(_with_journal(path, files))
    return tuple(sorted(found, key=lambda each: (each.name, each.architecture, each.version)))


def parse_status(text: str) -> Iterator[Package]:
    """dpkg's status file: paragraphs of `Field: value` (deb-control(5)); only what is installed."""
    for paragraph in text.split("\n\n"):
        fields = dict(
            (name.lower(), value.strip())
            for name, colon, value in (line.partition(":") for line in paragraph.splitlines() if line[:1].strip())
            if colon
        )
        if fields.get("status", "").endswith(" installed") and "package" in fields:
            size = fields.get("installed-size", "")
            yield Package(
                name=fields["package"],
                version=fields.get("version", ""),
                architecture=fields.get("architecture", ""),
                size=int(size) * 1024 if size.isascii() and size.isdigit() else 0,
                source=fields.get("source", fields["package"]),
            )


def read_rpm(path: Path) -> Iterator[Package]:
    """The packages of rpm's SQLite database; gpg-pubkey, which stands for a key, is none."""
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            for (blob,) in database.execute("SELECT blob FROM Packages"):
                each = _package(rpm_header.parse_header(blob))
                if each.name != "gpg-pubkey":
                    yield each
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise BuilderError(f"rpm's database in the image cannot be read: {error}") from None


def _package(header: Mapping[int, int | str]) -> Package:
    version = f"{header.get(rpm_header.VERSION, '')}-{header.get(rpm_header.RELEASE, '')}"
    epoch = header.get(rpm_header.EPOCH)
    return Package(
        name=str(header.get(rpm_header.NAME, "")),
        version=version if epoch is None else f"{epoch}:{version}",
        architecture=str(header.get(rpm_header.ARCHITECTURE, "")),
        size=int(header.get(rpm_header.LONG_SIZE, header.get(rpm_header.SIZE, 0))),
        license=str(header.get(rpm_header.LICENSE, "")),
        source=str(header.get(rpm_header.SOURCE, "")),
    )


def _with_journal(path: str, files: Mapping[str, Path]) -> Path:
    """The copy, its write-ahead log under the name that SQLite looks for."""
    journal = files.get(f"{path}-wal")
    if journal is not None:
        journal.rename(files[path].with_name(f"{files[path].name}-wal"))
    return files[path]
