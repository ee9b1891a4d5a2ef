"""What the region remembers: records in one SQLite database, object bytes as files named by their SHA-256.

What was answered is there after SIGKILL: bytes are renamed into place before the transaction that names them commits,
and both happen before the answer. Bytes that no record names (a request that was cut off) are swept at the next start.
The write-ahead log is not flushed to the disk at each commit, so a power cut may lose the last answers.
"""

import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

Row = Mapping[str, Any]
# What makes a database of format N one of format N + 1: entry N. A new one goes through all of them.
FORMATS = (
    """
CREATE TABLE buckets (
    name TEXT PRIMARY KEY, created TEXT NOT NULL, ownership TEXT NOT NULL, public_access TEXT, acl TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE objects (
    id INTEGER PRIMARY KEY, bucket TEXT NOT NULL REFERENCES buckets, key TEXT NOT NULL, size INTEGER NOT NULL,
    etag TEXT NOT NULL, modified TEXT NOT NULL, acl TEXT NOT NULL, attributes TEXT NOT NULL, checksums TEXT NOT NULL,
    UNIQUE (bucket, key)
);
CREATE TABLE pieces (
    object INTEGER NOT NULL REFERENCES objects ON DELETE CASCADE, position INTEGER NOT NULL,
    blob TEXT NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (object, position)
) WITHOUT ROWID;
CREATE TABLE uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL REFERENCES buckets, key TEXT NOT NULL, initiated TEXT NOT NULL,
    acl TEXT NOT NULL, attributes TEXT NOT NULL, algorithm TEXT NOT NULL, checksum_type TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE parts (
    upload TEXT NOT NULL REFERENCES uploads ON DELETE CASCADE, number INTEGER NOT NULL, blob TEXT NOT NULL,
    size INTEGER NOT NULL, etag TEXT NOT NULL, modified TEXT NOT NULL, checksums TEXT NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE TABLE images (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, created TEXT NOT NULL,
    record TEXT NOT NULL, manifest BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE permissions (image TEXT NOT NULL REFERENCES images, kind TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (image, kind, value)) WITHOUT ROWID;
CREATE TABLE tags (resource TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (resource, key)) WITHOUT ROWID;
CREATE UNIQUE INDEX images_by_name ON images (owner, name) WHERE state = 'available';
CREATE INDEX pieces_by_blob ON pieces (blob);
CREATE INDEX parts_by_blob ON parts (blob);
CREATE INDEX uploads_by_bucket ON uploads (bucket, key);
""",
    """
CREATE TABLE IF NOT EXISTS settings (
    bucket TEXT NOT NULL REFERENCES buckets ON DELETE CASCADE, name TEXT NOT NULL, document TEXT NOT NULL,
    PRIMARY KEY (bucket, name)
) WITHOUT ROWID;
CREATE TABLE key_pairs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, type TEXT NOT NULL, fingerprint TEXT NOT NULL,
    public_key TEXT NOT NULL, created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE security_groups (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL, created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE security_group_rules (
    id TEXT PRIMARY KEY, security_group TEXT NOT NULL REFERENCES security_groups ON DELETE CASCADE,
    protocol TEXT NOT NULL, from_port INTEGER NOT NULL, to_port INTEGER NOT NULL,
    cidr TEXT, source_group TEXT REFERENCES security_groups, description TEXT,
    CHECK ((cidr IS NULL) <> (source_group IS NULL))
) WITHOUT ROWID;
CREATE TABLE reservations (
    id TEXT PRIMARY KEY, created TEXT NOT NULL, client_token TEXT UNIQUE, request TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE instances (
    id TEXT PRIMARY KEY, reservation TEXT NOT NULL REFERENCES reservations, position INTEGER NOT NULL,
    image TEXT NOT NULL, key_pair TEXT, state TEXT NOT NULL, launched TEXT NOT NULL, ended TEXT,
    private_address TEXT NOT NULL, public_address TEXT NOT NULL, mac TEXT NOT NULL, ports TEXT NOT NULL,
    reason_code TEXT, reason TEXT, transition TEXT NOT NULL, record TEXT NOT NULL, user_data BLOB
) WITHOUT ROWID;
CREATE TABLE instance_groups (
    instance TEXT NOT NULL REFERENCES instances ON DELETE CASCADE,
    security_group TEXT NOT NULL REFERENCES security_groups, PRIMARY KEY (instance, security_group)
) WITHOUT ROWID;
CREATE UNIQUE INDEX instances_by_private_address ON instances (private_address) WHERE state <> 'terminated';
CREATE UNIQUE INDEX instances_by_public_address ON instances (public_address) WHERE state <> 'terminated';
CREATE INDEX rules_by_security_group ON security_group_rules (security_group);
CREATE INDEX rules_by_source_group ON security_group_rules (source_group);
CREATE INDEX instances_by_reservation ON instances (reservation);
CREATE INDEX instances_by_security_group ON instance_groups (security_group);
""",
    """
ALTER TABLE images ADD COLUMN region TEXT NOT NULL DEFAULT 'us-east-1';
DROP INDEX images_by_name;
CREATE UNIQUE INDEX images_by_name ON images (region, owner, name) WHERE state = 'available';
CREATE TABLE snapshots (
    id TEXT PRIMARY KEY, region TEXT NOT NULL, owner TEXT NOT NULL, volume_size INTEGER NOT NULL,
    started TEXT NOT NULL, description TEXT NOT NULL, encrypted INTEGER NOT NULL, kms_key TEXT, parent TEXT,
    lineage TEXT NOT NULL, timeout INTEGER NOT NULL, touched REAL NOT NULL, progress INTEGER NOT NULL, course TEXT,
    client_token TEXT, request TEXT, origin TEXT
) WITHOUT ROWID;
CREATE TABLE snapshot_blocks (
    snapshot TEXT NOT NULL REFERENCES snapshots ON DELETE CASCADE, position INTEGER NOT NULL, blob TEXT NOT NULL,
    own INTEGER NOT NULL, PRIMARY KEY (snapshot, position)
) WITHOUT ROWID;
CREATE TABLE snapshot_permissions (
    snapshot TEXT NOT NULL REFERENCES snapshots ON DELETE CASCADE, kind TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (snapshot, kind, value)
) WITHOUT ROWID;
CREATE UNIQUE INDEX snapshots_by_token ON snapshots (region, owner, client_token) WHERE client_token IS NOT NULL;
CREATE INDEX snapshot_blocks_by_blob ON snapshot_blocks (blob);
""",
    """
ALTER TABLE images ADD COLUMN course TEXT;
ALTER TABLE images ADD COLUMN client_token TEXT;
ALTER TABLE images ADD COLUMN request TEXT;
CREATE UNIQUE INDEX images_by_token ON images (region, owner, client_token) WHERE client_token IS NOT NULL;
CREATE TABLE account_settings (
    region TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (region, owner, name)
) WITHOUT ROWID;
CREATE TABLE import_tasks (
    id TEXT PRIMARY KEY, region TEXT NOT NULL, owner TEXT NOT NULL, created TEXT NOT NULL, snapshot TEXT,
    client_token TEXT, request TEXT NOT NULL, state TEXT NOT NULL, message TEXT NOT NULL, course TEXT,
    record TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX import_tasks_by_token ON import_tasks (region, owner, client_token)
    WHERE client_token IS NOT NULL;
CREATE TABLE parameters (
    region TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, record TEXT NOT NULL,
    labels TEXT NOT NULL, PRIMARY KEY (region, owner, name, version)
) WITHOUT ROWID;
""",
)
VERSION = len(FORMATS)
# Blobs that a transaction let go of; rows that go by cascade fire triggers too.
RELEASED = """
CREATE TEMP TABLE released (blob TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TRIGGER piece_released AFTER DELETE ON pieces BEGIN INSERT OR IGNORE INTO released VALUES (old.blob); END;
CREATE TEMP TRIGGER part_released AFTER DELETE ON parts BEGIN INSERT OR IGNORE INTO released VALUES (old.blob); END;
CREATE TEMP TRIGGER block_released AFTER DELETE ON snapshot_blocks BEGIN
    INSERT OR IGNORE INTO released VALUES (old.blob);
END;
"""


class Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


class Incoming:
    """Bytes on their way in: a file aside, hashed as it is written. Left behind by nobody but SIGKILL."""

    def __init__(self, directory: Path, hashes: Mapping[str, Hash]) -> None:
        self.path = directory / secrets.token_hex(16)
        self.hashes = {"SHA256": hashlib.sha256(), "MD5": hashlib.md5(usedforsecurity=False), **hashes}
        self.size = 0
        self._file = self.path.open("xb", buffering=0)

    def __enter__(self) -> "Incoming":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def write(self, chunk: bytes | memoryview) -> None:
        view = memoryview(chunk)
        for each in self.hashes.values():
            each.update(view)
        self.size += len(view)
        while view:
            view = view[self._file.write(view) :]

    @property
    def blob(self) -> str:
        return self.hashes["SHA256"].digest().hex()


def _as_dictionary(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


class State:
    """One process owns it at a time (the daemon holds the directory's lock); its threads share one connection."""

    def __init__(self, directory: Path) -> None:
        self._blobs = directory / "blobs"
        self._incoming = directory / "incoming"
        self._disks = directory / "disks"
        for each in (directory, self._blobs, self._incoming, self._disks):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.RLock()
        self._database = sqlite3.connect(
            directory / "region.sqlite", isolation_level=None, check_same_thread=False, timeout=10
        )
        self._database.row_factory = _as_dictionary
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "recursive_triggers = ON"):
            self._database.execute(f"PRAGMA {pragma}")
        self._migrate()
        self._database.executescript(RELEASED)
        self._sweep()

    def _migrate(self) -> None:
        """Bring a database of an older format to this one, one format at a time, each whole or not at all."""
        found = self._database.execute("PRAGMA user_version").fetchone()["user_version"]
        if found > VERSION:
            raise RuntimeError(f"the region's database has format {found}, this program writes {VERSION}: reset it")
        for number in range(found, VERSION):
            self._database.executescript(f"BEGIN; {FORMATS[number]} PRAGMA user_version = {number + 1}; COMMIT;")

    def _sweep(self) -> None:
        """Remove what requests left that were cut off by the end of the process."""
        for path in self._incoming.iterdir():
            path.unlink()
        query = "SELECT blob FROM pieces UNION SELECT blob FROM parts UNION SELECT blob FROM snapshot_blocks"
        named = {row["blob"] for row in self._database.execute(query)}
        for path in self._blobs.glob("??/*"):
            if path.name not in named:
                path.unlink()
        kept = {row["id"] for row in self._database.execute("SELECT id FROM snapshots")}
        for path in self._disks.iterdir():
            if path.stem not in kept:
                path.unlink()

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Read and write as one: committed at the end, undone by an exception. Blobs that nobody names any more go.

        Inside another one it is part of that.
        """
        with self._lock:
            if self._database.in_transaction:
                yield self._database
                return
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
            self._remove_released()

    def _remove_released(self) -> None:
        for row in self._database.execute("SELECT blob FROM released").fetchall():
            blob = row["blob"]
            if not self._is_named(blob):
                self.blob(blob).unlink(missing_ok=True)
            self._database.execute("DELETE FROM released WHERE blob = ?", (blob,))

    def _is_named(self, blob: str) -> bool:
        query = (
            "SELECT 1 FROM pieces WHERE blob = ?1 UNION ALL SELECT 1 FROM parts WHERE blob = ?1 "
            "UNION ALL SELECT 1 FROM snapshot_blocks WHERE blob = ?1 LIMIT 1"
        )
        return self._database.execute(query, (blob,)).fetchone() is not None

    def rows(self, query: str, parameters: Iterable[object] = ()) -> list[Row]:
        with self._lock:
            return self._database.execute(query, tuple(parameters)).fetchall()

    def row(self, query: str, parameters: Iterable[object] = ()) -> Row | None:
        return next(iter(self.rows(query, parameters)), None)

    def incoming(self, hashes: Mapping[str, Hash]) -> Incoming:
        return Incoming(self._incoming, hashes)

    def keep(self, incoming: Incoming) -> str:
        """Give the bytes their name. Inside a transaction that names the blob in a record, or they are swept."""
        self._name(incoming.path, incoming.blob)
        return incoming.blob

    def _name(self, aside: Path, blob: str) -> None:
        path = self.blob(blob)
        if path.exists():  # the same bytes; ext4 would flush what a rename puts over another file: 1.4 ms
            return
        with suppress(FileExistsError):
            path.parent.mkdir(mode=0o700)
        aside.rename(path)

    @contextmanager
    def set_aside(self, content: bytes, digest: str) -> Iterator[Callable[[], None]]:
        """Bytes whose SHA-256 is known, in a file aside; what is yielded gives them their name, as `keep` does."""
        aside = self._incoming / secrets.token_hex(16)
        try:
            aside.write_bytes(content)
            yield lambda: self._name(aside, digest)
        finally:
            aside.unlink(missing_ok=True)

    def blob(self, digest: str) -> Path:
        return self._blobs / digest[:2] / digest

    def disk(self, snapshot: str) -> Path:
        """Where a snapshot lies as one file, once it has been asked for."""
        return self._disks / f"{snapshot}.raw"

    def usage(self) -> dict[str, int]:
        """Counts and bytes, for `status`."""
        return dict(
            self.rows(
                "SELECT (SELECT count(*) FROM buckets) AS buckets, count(*) AS objects, "
                "coalesce(sum(size), 0) AS bytes, "
                "(SELECT count(*) FROM images WHERE state = 'available') AS images, "
                "(SELECT count(*) FROM instances WHERE state <> 'terminated') AS instances FROM objects"
            )[0]
        )
