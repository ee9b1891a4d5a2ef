"""What EC2's operations share: the region itself, the ids of its images, and who may use them."""

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from builder.catalog.regions import LOCAL_REGIONS
from builder.region.course import Course
from builder.region.ec2 import kernels
from builder.region.errors import ServiceError
from builder.region.faults import Faults
from builder.region.identity import RegionIdentity
from builder.region.state import Row, State

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

# The local region plays us-east-1: its kernels, its rules for bucket locations, its zone names.
NAME = "us-east-1"
# Others of this process: images and snapshots are copied there.
OTHERS = LOCAL_REGIONS[1:]
# Ids of eight digits were EC2's until 2016, and the kernels' are still in use.
IMAGE_ID = re.compile(r"(ami|aki|ari)-([0-9a-f]{8}|[0-9a-f]{17})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Whether an instance can be worked with: EC2's instance status check."""

    status: str
    """initializing, ok or impaired."""
    since: str | None = None
    """When it became impaired."""


DiskOf = Callable[[str], Path]


class Machines(Protocol):
    """What boots instances (builder/region/machines.py). Nothing here waits for a guest; states are in the records."""

    def room(self, virtualization: str) -> int:
        """How many more instances of a virtualization type can be started."""

    def launch(self, instances: Sequence[str], disk_of: DiskOf) -> None:
        """Take up instances that were just recorded as pending. `disk_of` tells where a snapshot lies as one file."""

    def terminate(self, instance: str) -> None:
        """End an instance that was just recorded as shutting down."""

    def stop(self, instance: str) -> None:
        """End an instance that was just recorded as stopping."""

    def reboot(self, instance: str) -> None:
        """Restart an instance that runs."""

    def regroup(self) -> None:
        """Look again at what may reach each instance: rules, groups or their members have changed."""

    def reach(self, instance: str) -> Reach: ...

    def console(self, instance: str, most: int) -> tuple[bytes, float | None]:
        """The end of what an instance wrote to its console, and when it last did."""


@dataclass(frozen=True, kw_only=True)  # no slots: the private key is read once
class Region:
    """The state that operations work on, and whose region it is."""

    state: State
    identity: RegionIdentity
    machines: Machines
    host: str = "127.0.0.1"
    name: str = NAME
    faults: Faults = field(default_factory=Faults)

    @property
    def account(self) -> str:
        return self.identity.account

    def as_seen_by(self, account: str) -> "Region":
        """The same region, asked by another account."""
        return self if account == self.account else replace(self, identity=replace(self.identity, account=account))

    def named(self, name: str) -> "Region":
        """The region of that name in this process: the first one, which has the name of EC2's that it plays and every
        name that is nobody else's, or one of the others."""
        return replace(self, name=name if name in OTHERS else NAME)

    @cached_property
    def private_key(self) -> "RSAPrivateKey":
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = load_pem_private_key(self.identity.private_key.read_bytes(), password=None)
        if not isinstance(key, RSAPrivateKey):
            raise TypeError(f"{self.identity.private_key} is not an RSA key")
        return key


# What is kept of an image and told by its attributes, or nowhere.
HIDDEN = frozenset({"UefiData", "BillingProducts", "Cooldown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image as it is remembered: the members of EC2's `Image` that do not change, and those that do."""

    record: Mapping[str, Any]
    state: str
    tags: Mapping[str, str]
    users: frozenset[str]
    """Accounts with launch permission."""
    public: bool
    organizations: frozenset[tuple[str, str]] = frozenset()
    """Organisations and organisational units (the kind, and the ARN) with launch permission. Nobody is in one here."""
    reason: str = ""
    """Why it failed."""

    def may_be_launched_by(self, account: str) -> bool:
        """By its owner and whom it was shared with; nobody else knows of it."""
        return self.public or account == self.owner or account in self.users

    @property
    def id(self) -> str:
        return str(self.record["ImageId"])

    @property
    def owner(self) -> str:
        return str(self.record["OwnerId"])

    def described(self) -> dict[str, Any]:
        """As DescribeImages has it."""
        tags = [{"Key": key, "Value": value} for key, value in sorted(self.tags.items())]
        return {
            **{name: value for name, value in self.record.items() if name not in HIDDEN},
            "State": self.state,
            "Public": self.public,
            **({"StateReason": {"Code": "Server.InternalError", "Message": self.reason}} if self.reason else {}),
            **({"Tags": tags} if tags else {}),
        }


def new_id(kind: str) -> str:
    """An id of 17 digits, as EC2 gives them since 2016."""
    return f"{kind}-0{secrets.token_hex(8)}"


def timestamp(moment: datetime) -> str:
    """EC2's form of a time, which is UTC: to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def now() -> str:
    return timestamp(datetime.now(UTC))


def all_images(region: Region) -> list[StoredImage]:
    """Every image of the region, amazon's kernels first, then in the order in which they were registered."""
    rows = region.state.rows(
        "SELECT * FROM images WHERE state = 'available' AND region = ? ORDER BY created, id", (region.name,)
    )
    tags = _grouped(region.state.rows("SELECT resource, key, value FROM tags"))
    permissions = _grouped(region.state.rows("SELECT image, value, kind FROM permissions"))
    # Tags are seen by their owner alone.
    registered = [
        _stored(row, tags.get(row["id"], {}) if row["owner"] == region.account else {}, permissions.get(row["id"], {}))
        for row in rows
    ]
    amazon = [
        StoredImage(record=each, state="available", tags={}, users=frozenset(), public=True) for each in kernels.IMAGES
    ]
    return amazon + registered


def _grouped(rows: list[Row]) -> dict[str, dict[str, str]]:
    grouped: dict[str, dict[str, str]] = {}
    for owner, name, value in (row.values() for row in rows):
        grouped.setdefault(owner, {})[name] = value
    return grouped


def _stored(row: Row, tags: Mapping[str, str], permissions: Mapping[str, str]) -> StoredImage:
    standing = Course.parse(row["course"]).standing() if row["course"] else None
    states = {"completed": row["state"], "pending": "pending", "error": "failed"}
    return StoredImage(
        record=json.loads(row["record"]),
        state=states[standing.state] if standing else row["state"],
        tags=tags,
        users=frozenset(value for value, kind in permissions.items() if kind == "user"),
        public="all" in permissions,
        organizations=frozenset(
            (kind, value) for value, kind in permissions.items() if kind in ("organization", "unit")
        ),
        reason=standing.reason if standing else "",
    )


def check_id(image_id: str, kinds: tuple[str, ...] = ("ami", "aki", "ari")) -> None:
    match = IMAGE_ID.fullmatch(image_id)
    if match is None or match[1] not in kinds:
        raise ServiceError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}"')


def find_own_image(region: Region, image_id: str) -> StoredImage:
    """The caller's available image of that id; EC2's errors for one that is gone, unknown, or somebody else's."""
    check_id(image_id)
    if any(each["ImageId"] == image_id for each in kernels.IMAGES):
        raise ServiceError("AuthFailure", f"Not authorized for image:{image_id}")
    row = region.state.row("SELECT * FROM images WHERE id = ? AND region = ?", (image_id, region.name))
    if row is None:
        raise ServiceError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    if row["owner"] != region.account:
        raise ServiceError("AuthFailure", f"Not authorized for image:{image_id}")
    if row["state"] != "available":
        raise ServiceError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is no longer available")
    tags = _grouped(region.state.rows("SELECT resource, key, value FROM tags WHERE resource = ?", (image_id,)))
    kept = region.state.rows("SELECT image, value, kind FROM permissions WHERE image = ?", (image_id,))
    return _stored(row, tags.get(image_id, {}), _grouped(kept).get(image_id, {}))
