"""Whom an AMI and its snapshots are shared with: what is missing, what is too much, and what EC2 would refuse. Pure."""

from dataclasses import dataclass

from builder.cloud.grants import Grant
from builder.stages.publish.spec import Audience

_ALL: Grant = ("all", "")
_OF_SNAPSHOTS = ("account", "all")
"""A snapshot is shared with accounts and with all, not with organizations (API reference, CreateVolumePermission)."""
ENCRYPTED_PUBLIC = 'EC2 User Guide, "Make your AMI publicly available": one with encrypted snapshots cannot be public'
DEFAULT_KEY = (
    'EBS User Guide, "Share the KMS key": what is encrypted with the account\'s own key for EBS cannot be shared'
)
BLOCKED = 'EC2 User Guide, "Block public access to your AMIs"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Of the AMI, or of one of its snapshots."""

    resource: str
    add: frozenset[Grant] = frozenset()
    remove: frozenset[Grant] = frozenset()

    @property
    def empty(self) -> bool:
        return not (self.add or self.remove)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A snapshot, as far as sharing goes."""

    id: str
    encrypted: bool
    default_key: bool
    """Encrypted with the account's own key for EBS."""
    grants: frozenset[Grant] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """How an AMI is shared now."""

    image_id: str
    grants: frozenset[Grant]
    snapshots: tuple[Held, ...] = ()
    image_blocked: bool = False
    """The account keeps AMIs of this region from being made public."""
    snapshot_blocked: bool = False


def grants_of(audience: Audience) -> frozenset[Grant]:
    return frozenset(
        [
            *(("account", each) for each in audience.accounts),
            *(("organization", each) for each in audience.organizations),
            *(("unit", each) for each in audience.units),
            *([_ALL] if audience.public else []),
        ]
    )


def of_snapshots(grants: frozenset[Grant]) -> frozenset[Grant]:
    """What of an AMI's grants its snapshots can have as well."""
    return frozenset(each for each in grants if each[0] in _OF_SNAPSHOTS)


def sharing_changes(wanted: frozenset[Grant], shared: Shared, *, exact: bool) -> tuple[Change, ...]:
    """What to do, in this order: snapshots get first and lose last, so that nobody sees an AMI without them.

    Without `exact` nothing is taken away.
    """
    image = _change(shared.image_id, wanted, shared.grants, exact=exact)
    snapshots = [_change(each.id, of_snapshots(wanted), each.grants, exact=exact) for each in shared.snapshots]
    given = [Change(resource=each.resource, add=each.add) for each in (*snapshots, image)]
    taken = [Change(resource=each.resource, remove=each.remove) for each in (image, *snapshots)]
    return tuple(each for each in (*given, *taken) if not each.empty)


def _change(resource: str, wanted: frozenset[Grant], now: frozenset[Grant], *, exact: bool) -> Change:
    return Change(resource=resource, add=wanted - now, remove=now - wanted if exact else frozenset())


def sharing_faults(changes: tuple[Change, ...], shared: Shared) -> tuple[str, ...]:
    """What EC2 would refuse, each with the place where it says so."""
    adding = frozenset().union(*(each.add for each in changes)) if changes else frozenset()
    found = []
    for each in shared.snapshots:
        if _ALL in adding and each.encrypted:
            found.append(
                f"{shared.image_id} cannot be public: its snapshot {each.id} is encrypted ({ENCRYPTED_PUBLIC})"
            )
        elif adding and each.default_key:
            found.append(f"{shared.image_id} cannot be shared because of its snapshot {each.id} ({DEFAULT_KEY})")
    if _ALL in adding and shared.image_blocked:
        found.append(f"{shared.image_id} cannot be public: the account blocks public AMIs in this region ({BLOCKED})")
    if _ALL in adding and shared.snapshots and shared.snapshot_blocked:
        found.append(f"{shared.image_id}: its snapshots cannot be public: the account blocks that in this region")
    return tuple(found)


def grant_words(grant: Grant) -> str:
    kind, value = grant
    return "everybody" if kind == "all" else f"{kind} {value}"
