"""TerminateInstances, RebootInstances, and the two that only an instance whose root is a volume can do."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from builder.region.ec2.instances import states
from builder.region.ec2.instances.record import Instance, described_state, find_instances
from builder.region.ec2.instances.run import disk_of
from builder.region.ec2.region import Region
from builder.region.errors import ServiceError


def terminate_instances(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """All of them or, when one may not be terminated, none. Terminating what is terminated is no error."""
    before = find_instances(region.state, wanted["InstanceIds"])
    for each in before:
        if each.record["DisableApiTermination"] and each.state != "terminated":
            raise ServiceError(
                "OperationNotPermitted",
                f"The instance '{each.id}' may not be terminated. Modify its 'disableApiTermination' instance "
                "attribute and try again.",
            )
    with region.state.transaction() as database:
        for each in before:
            states.shut_down(
                database,
                each.id,
                code=states.USER,
                reason="User initiated shutdown",
                transition=_by_user(),
            )
    after = find_instances(region.state, wanted["InstanceIds"])
    for each in after:
        if each.state == "shutting-down":
            region.machines.terminate(each.id)
    return {"TerminatingInstances": _changes(before, after)}


def reboot_instances(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Asked for, not waited for. What is on the disks of the instance stays."""
    found = find_instances(region.state, wanted["InstanceIds"])
    for each in found:
        if each.state != "running":
            raise ServiceError("IncorrectInstanceState", f"The instance '{each.id}' is not in the 'running' state.")
    for each in found:
        region.machines.reboot(each.id)
    return {}


def stop_instances(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """All of them or none. Their volumes stay; what is stopped already stays as it is."""
    before = find_instances(region.state, wanted["InstanceIds"])
    if wanted.get("Hibernate"):
        raise ServiceError("UnsupportedHibernationConfiguration", "No instance of the local region can hibernate")
    for each in before:
        _check(each, "stopped", ("running", "stopping", "stopped"))
    with region.state.transaction() as database:
        begun = [
            each.id
            for each in before
            if states.stop(database, each.id, reason="User initiated shutdown", transition=_by_user())
        ]
    after = find_instances(region.state, wanted["InstanceIds"])
    for instance in begun:
        region.machines.stop(instance)
    return {"StoppingInstances": _changes(before, after)}


def start_instances(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """All of them or none. They go on with their volumes; their other disks are new."""
    before = find_instances(region.state, wanted["InstanceIds"])
    for each in before:
        _check(each, "started", ("pending", "running", "stopped"))
    stopped = [each for each in before if each.state == "stopped"]
    for kind in ("paravirtual", "hvm"):
        number = sum(each.record["VirtualizationType"] == kind for each in stopped)
        if number > region.machines.room(kind):
            raise ServiceError("InsufficientInstanceCapacity", "There is no room for so many instances")
    with region.state.transaction() as database:
        begun = [each.id for each in stopped if states.resume(database, each.id)]
    after = find_instances(region.state, wanted["InstanceIds"])
    region.machines.launch(begun, disk_of(region))
    return {"StartingInstances": _changes(before, after)}


def _check(instance: Instance, done: str, allowed: Sequence[str]) -> None:
    if not instance.keeps_volumes and instance.live:
        raise ServiceError(
            "UnsupportedOperation",
            f"The instance '{instance.id}' does not have an 'ebs' root device type and cannot be {done}.",
        )
    if instance.state not in allowed:
        raise ServiceError(
            "IncorrectInstanceState",
            f"The instance '{instance.id}' is not in a state from which it can be {done}.",
        )


def _changes(before: Sequence[Instance], after: Sequence[Instance]) -> list[dict[str, Any]]:
    return [
        {"InstanceId": new.id, "PreviousState": described_state(old.state), "CurrentState": described_state(new.state)}
        for old, new in zip(before, after, strict=True)
    ]


def _by_user() -> str:
    return f"User initiated ({datetime.now(UTC).strftime('%Y-%m-%d %H:%M:%S GMT')})"
