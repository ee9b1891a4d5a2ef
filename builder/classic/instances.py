"""ec2-describe-instances, ec2-terminate-instances, ec2-reboot-instances and ec2-get-console-output."""

from collections.abc import Iterable, Iterator

from builder.classic import api, lines
from builder.classic.command import Command, Options, enter
from builder.classic.lines import Answer
from builder.classic.options import Option
from builder.cli import output

_WISHED = "Client.UserInitiatedShutdown"


def describe(options: Options) -> None:
    """Print a table of instances; why one ended by itself, for which the table has no column, goes to stderr."""
    request = api.given(InstanceIds=list(options.instance), Filters=api.filters(options))
    found = api.listed(options, "describe_instances", "Reservations", request, about="the instances")
    api.show([line for each in found for line in lines.reservation(each)], options)
    for note in endings(each for reservation in found for each in reservation["Instances"]):
        output.say(note)


def endings(instances: Iterable[Answer]) -> Iterator[str]:
    """Why instances ended that nobody terminated."""
    for each in instances:
        reason = each.get("StateReason", {})
        if reason.get("Code", _WISHED) != _WISHED:
            yield f"note: {each['InstanceId']} is {each['State']['Name']}: {reason.get('Message') or reason['Code']}"


def terminate(options: Options) -> None:
    """Terminate, and print the states before and now."""
    request = {"InstanceIds": list(options.instance)}
    made = api.ask(options, "terminate_instances", request, _about(options))
    if made is not None:
        api.show([lines.change(each) for each in made["TerminatingInstances"]], options)


def reboot(options: Options) -> None:
    """Ask for a restart; as with the original nothing is printed."""
    api.ask(options, "reboot_instances", {"InstanceIds": list(options.instance)}, _about(options))


def console(options: Options) -> None:
    """Print what an instance wrote to its console."""
    request = {"InstanceId": options.instance}
    found = api.ask(options, "get_console_output", request, f"the console of {options.instance}")
    if found is not None:
        output.result(lines.console(found, raw=options.raw_console_output))


def _about(options: Options) -> str:
    return ", ".join(options.instance)


DESCRIBE = Command(
    name="ec2-describe-instances",
    summary="List instances.",
    options=(api.INSTANCES, api.FILTER, *api.API),
    run=describe,
    examples="""\
ec2-describe-instances
ec2-describe-instances i-1a2b3c4d
ec2-describe-instances -F instance-state-name=running -F instance-type='m1.*'""",
    manual="""\
output:
  RESERVATION  id, owner, security groups
  INSTANCE     id, AMI, public name, private name, state, key pair, launch index, product codes, type,
               launch time, availability zone, kernel, RAM disk, platform, monitoring, public address,
               private address, VPC, subnet, root device type, life cycle, spot request, licence,
               placement group, virtualization type, hypervisor, client token, group ids, tenancy,
               EBS-optimized, instance profile
  BLOCKDEVICE  device, volume, attach time, deleted at the end
  TAG          instance, id, key, value
  In the local region both the public name and the public address are an address of this machine. A
  tag ami-factory:port:22 says where that port is when it could not be had there itself.""",
    interrupted="nothing was changed",
)
TERMINATE = Command(
    name="ec2-terminate-instances",
    summary="End instances for good. What is on their instance-store disks is gone.",
    options=(api.REQUIRED_INSTANCES, *api.API),
    run=terminate,
    examples="ec2-terminate-instances i-1a2b3c4d",
    manual="""\
output:
  INSTANCE  id, state before, state now""",
    interrupted="see ec2-describe-instances",
)
REBOOT = Command(
    name="ec2-reboot-instances",
    summary="Ask instances to restart. What is on their disks stays.",
    options=(api.REQUIRED_INSTANCES, *api.API),
    run=reboot,
    examples="ec2-reboot-instances i-1a2b3c4d",
    interrupted="they may be restarting",
)
CONSOLE = Command(
    name="ec2-get-console-output",
    summary="Print what an instance wrote to its console: the last 64 KiB.",
    options=(
        Option(names=("INSTANCE",), value="INSTANCE", help="The instance's id.", required=True),
        Option(names=("-r", "--raw-console-output"), help="As it is, control characters too."),
        *api.API,
    ),
    run=console,
    examples="ec2-get-console-output i-1a2b3c4d",
    manual="""\
output:
  The instance's id, the time of the last change, and the console. Without -r control characters are
  shown as ^[ and the like, so that they do nothing to your terminal.""",
    interrupted="nothing was changed",
)


def describe_main() -> None:
    enter(DESCRIBE)


def terminate_main() -> None:
    enter(TERMINATE)


def reboot_main() -> None:
    enter(REBOOT)


def console_main() -> None:
    enter(CONSOLE)
