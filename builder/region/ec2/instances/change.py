"""TerminateInstances, RebootInstances, and the two that an instance of the instance store cannot do."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from builder.region.ec2.instances import states
from builder.region.ec2.instances.record import Instance, described_state, find_instances
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
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S GMT")
    with region.state.transaction() as database:
        for each in before:
            states.shut_down(
                database,
                each.id,
                code=states.USER,
                reason="User initiated shutdown",
                transition=f"User initiated ({when})",
            )
    after = find_instances(region.state, wanted["InstanceIds"])
    for each in after:
        if each.state == "shutting-down":
            region.machines.terminate(each.id)
    changes = [
        {"InstanceId": new.id, "PreviousState": described_state(old.state), "CurrentState": described_state(new.state)}
        for old, new in zip(before, after, strict=True)
    ]
    return {"TerminatingInstances": changes}


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
    if wanted.get("Hibernate"):
        raise ServiceError("UnsupportedHibernationConfiguration", "An instance of the instance store cannot hibernate")
    _refuse(find_instances(region.state, wanted["InstanceIds"])[0], "stopped")


def start_instances(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    _refuse(find_instances(region.state, wanted["InstanceIds"])[0], "started")


def _refuse(instance: Instance, done: str) -> NoReturn:
    if not instance.live:
        raise ServiceError(
            "IncorrectInstanceState",
            f"The instance '{instance.id}' is not in a state from which it can be {done}.",
        )
    raise ServiceError(
        "UnsupportedOperation",
        f"The instance '{instance.id}' does not have an 'ebs' root device type and cannot be {done}.",
    )
