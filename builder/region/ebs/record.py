"""A snapshot as it is remembered, who may know of it, and what state it is in."""

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass

from builder.region.course import Course, Standing
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError
from builder.region.state import Row

BLOCK = 512 << 10
BLOCKS_PER_GIB = (1 << 30) // BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A record and what belongs to it."""

    row: Row
    tags: Mapping[str, str]
    users: frozenset[str]
    """Accounts that may make volumes of it."""
    public: bool

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def owner(self) -> str:
        return str(self.row["owner"])

    @property
    def volume_size(self) -> int:
        """GiB."""
        return int(self.row["volume_size"])

    @property
    def blocks(self) -> int:
        """How many there can be."""
        return self.volume_size * BLOCKS_PER_GIB

    @property
    def open(self) -> bool:
        """It was begun by StartSnapshot and has not been completed: blocks can be put, until its time is over."""
        return self.row["course"] is None and self.standing().state == "pending"

    def standing(self) -> Standing:
        if self.row["course"] is not None:
            return Course.parse(self.row["course"]).standing()
        if time.time() > self.row["touched"] + 60 * self.row["timeout"]:
            return Standing(
                state="error",
                percent=self.row["progress"],
                reason=f"No block was written, and it was not completed, for {self.row['timeout']} minutes",
            )
        return Standing(state="pending", percent=self.row["progress"])

    def may_be_used_by(self, account: str) -> bool:
        return self.public or account == self.owner or account in self.users


def find(region: Region, snapshot_id: str) -> Snapshot | None:
    """The snapshot of that id in the caller's region, when the caller may know of it."""
    row = region.state.row("SELECT * FROM snapshots WHERE id = ? AND region = ?", (snapshot_id, region.name))
    found = gathered(region, [row])[0] if row is not None else None
    return found if found is not None and found.may_be_used_by(region.account) else None


def gathered(region: Region, rows: list[Row]) -> list[Snapshot]:
    """Records with their tags, which their owner alone sees, and permissions."""
    one = rows[0]["id"] if len(rows) == 1 else None
    where, values = ("= ?", (one,)) if one else ("LIKE 'snap-%'", ())
    tags: dict[str, dict[str, str]] = {}
    for row in region.state.rows(f"SELECT * FROM tags WHERE resource {where} ORDER BY key", values):
        tags.setdefault(row["resource"], {})[row["key"]] = row["value"]
    permissions: dict[str, set[tuple[str, str]]] = {}
    for row in region.state.rows(f"SELECT * FROM snapshot_permissions WHERE snapshot {where}", values):
        permissions.setdefault(row["snapshot"], set()).add((row["kind"], row["value"]))
    return [
        Snapshot(
            row=row,
            tags=tags.get(row["id"], {}) if row["owner"] == region.account else {},
            users=frozenset(value for kind, value in permissions.get(row["id"], ()) if kind == "user"),
            public=("group", "all") in permissions.get(row["id"], ()),
        )
        for row in rows
    ]


def default_key(region: Region) -> str:
    """The key that EBS encrypts with when none is named: the account's aws/ebs."""
    digits = region.identity.id
    key = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))
    return f"arn:aws:kms:{region.name}:{region.account}:key/{key}"


def insert(
    region: Region,
    database: sqlite3.Connection,
    *,
    id: str,
    volume_size: int,
    started: str,
    description: str = "",
    encrypted: bool = False,
    kms_key: str | None = None,
    parent: str | None = None,
    lineage: str | None = None,
    timeout: int = 60,
    course: Course | None = None,
    token: str | None = None,
    request: str | None = None,
    origin: str | None = None,
) -> None:
    """A new record of the caller's in its region. sqlite3.IntegrityError when the token is taken."""
    database.execute(
        "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
        (
            id, region.name, region.account, volume_size, started, description, encrypted, kms_key, parent,
            lineage or id, timeout, time.time(), course.text() if course else None, token, request, origin,
        ),
    )  # fmt: skip


def inherit(database: sqlite3.Connection, child: str, parent: str, *, own: bool) -> None:
    """Give a new snapshot all blocks of another: the bytes are the same files."""
    database.execute(
        "INSERT INTO snapshot_blocks SELECT ?, position, blob, ? FROM snapshot_blocks WHERE snapshot = ?",
        (child, own, parent),
    )


def invalid(reason: str, message: str) -> ServiceError:
    return ServiceError("ValidationException", message, {"Reason": reason})


def unknown(snapshot_id: str) -> ServiceError:
    return ServiceError(
        "ResourceNotFoundException", f"The snapshot '{snapshot_id}' does not exist.", {"Reason": "SNAPSHOT_NOT_FOUND"}
    )
