"""Sharing in one region: looked at, and changed."""

from builder.cloud import grants
from builder.cloud.amis import Ami
from builder.cloud.asking import asked
from builder.cloud.errors import Client, refused_with
from builder.cloud.grants import Grant
from builder.cloud.snapshots import snapshot
from builder.errors import RecipeError, RegionError
from builder.images.sharing import Change, Held, Shared, sharing_changes, sharing_faults


def look(client: Client, image: Ami, wanted: frozenset[Grant] = frozenset()) -> Shared:
    """How an AMI and its snapshots are shared. What only matters for `wanted` is asked only then."""
    held = tuple(_held(client, each, asking_key=bool(wanted)) for each in image.snapshots)
    public = ("all", "") in wanted
    image_blocked, snapshot_blocked = grants.public_blocked(client) if public else (False, False)
    return Shared(
        image_id=image.id,
        grants=grants.image_grants(client, image.id),
        snapshots=held,
        image_blocked=image_blocked,
        snapshot_blocked=snapshot_blocked,
    )


def plan(client: Client, image: Ami, wanted: frozenset[Grant], *, exact: bool) -> tuple[Change, ...]:
    """What to change. RecipeError for what EC2 would refuse of it, before anything is sent."""
    shared = look(client, image, wanted)
    changes = sharing_changes(wanted, shared, exact=exact)
    faults = sharing_faults(changes, shared)
    if faults:
        raise RecipeError(
            faults[0],
            detail="\n".join(faults[1:]),
            hint="share an unencrypted AMI, or one encrypted with a key of KMS that they may use, with accounts",
        )
    return changes


def change(client: Client, changes: tuple[Change, ...]) -> None:
    """Do it, in the order of the changes. Doing it twice does no harm."""
    for each in changes:
        act = grants.change_image if each.resource.startswith("ami-") else grants.change_snapshot
        act(client, each.resource, add=each.add, remove=each.remove)


def _held(client: Client, snapshot_id: str, *, asking_key: bool) -> Held:
    found = snapshot(client, snapshot_id)
    if found is None:
        raise RegionError(f"there is no snapshot {snapshot_id}, which the AMI names")
    default = asking_key and found.encrypted and found.kms_key.rpartition("/")[2] == _default_key(client)
    return Held(
        id=snapshot_id,
        encrypted=found.encrypted,
        default_key=default,
        grants=grants.snapshot_grants(client, snapshot_id),
    )


def _default_key(client: Client) -> str:
    """The id of the account's own key for EBS; "" where it may not be asked, or is named by an alias."""
    try:
        answer = asked(client, "get_ebs_default_kms_key_id", {}, "the account's key for EBS")
    except RegionError as error:
        if refused_with(error) in ("UnauthorizedOperation", "AccessDenied"):
            return ""
        raise
    return str(answer.get("KmsKeyId", "")).rpartition("/")[2]
