"""ec2-run-instances: an AMI becomes machines."""

import re
import sys
from pathlib import Path
from typing import Any

from builder.classic import api, lines
from builder.classic.block_devices import mapping
from builder.classic.command import Command, Options, enter
from builder.classic.options import Option
from builder.errors import RecipeError

_COUNT = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")


def count(text: str) -> tuple[int, int]:
    """`2`, or `2-5`: as many as there is room for, but no fewer than the first."""
    found = _COUNT.fullmatch(text)
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= least <= most:
        raise RecipeError(f'"{text}" is no number of instances', hint="write one such as 2, or MIN-MAX")
    return least, most


def request(options: Options) -> dict[str, Any]:
    """The RunInstances call: only what was given."""
    least, most = options.instance_count
    return {
        "ImageId": options.image,
        "MinCount": least,
        "MaxCount": most,
        **api.named(options.group, ids="SecurityGroupIds", names="SecurityGroups"),
        **api.given(
            KeyName=options.key,
            InstanceType=options.instance_type,
            UserData=user_data(options),
            KernelId=options.kernel,
            RamdiskId=options.ramdisk,
            BlockDeviceMappings=list(options.block_device_mapping),
            Placement=api.given(
                AvailabilityZone=options.availability_zone,
                GroupName=options.placement_group,
                Tenancy=options.tenancy,
            )
            or None,
            Monitoring={"Enabled": True} if options.monitor else None,
            DisableApiTermination=options.disable_api_termination,
            InstanceInitiatedShutdownBehavior=options.instance_initiated_shutdown_behavior,
            IamInstanceProfile=_profile(options.iam_profile),
            SubnetId=options.subnet,
            PrivateIpAddress=options.private_ip_address,
            EbsOptimized=options.ebs_optimized,
            ClientToken=options.client_token,
        ),
    }


def user_data(options: Options) -> str | bytes | None:
    """The text of -d, or the bytes of the file of -f (- for standard input)."""
    if options.user_data is not None and options.user_data_file is not None:
        raise RecipeError("user data is given twice", hint="give -d TEXT or -f FILE")
    if options.user_data_file is None:
        return str(options.user_data) if options.user_data is not None else None
    if options.user_data_file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(options.user_data_file).read_bytes()
    except OSError as error:
        raise RecipeError(
            f"the user data {options.user_data_file} cannot be read: {error.strerror}",
            hint="-d takes a text, -f a file",
        ) from error


def _profile(given: str | None) -> dict[str, str] | None:
    if not given:
        return None
    return {"Arn": given} if given.startswith("arn:") else {"Name": given}


def run(options: Options) -> None:
    """Start instances, and print their reservation: they are pending."""
    made = api.ask(options, "run_instances", request(options), f"instances of {options.image}")
    if made is not None:
        api.show(list(lines.reservation(made)), options)


COMMAND = Command(
    name="ec2-run-instances",
    summary="Start instances of an AMI.",
    options=(
        Option(names=("IMAGE",), value="IMAGE", help="The AMI's id.", required=True),
        Option(names=("-n", "--instance-count"), value="MIN[-MAX]", help="How many. [1]", read=count, default=(1, 1)),
        Option(names=("-k", "--key"), value="KEYPAIR", help="The key pair that lets you in."),
        Option(
            names=("-g", "--group"),
            value="GROUP",
            help="A security group, by name or id. Can be repeated. [default]",
            repeated=True,
            default=(),
        ),
        Option(names=("-t", "--instance-type"), value="TYPE", help="The instance type. [m1.small]"),
        Option(names=("-d", "--user-data"), value="TEXT", help="User data: what an instance can ask for."),
        Option(names=("-f", "--user-data-file"), value="FILE", help="User data, in a file."),
        Option(
            names=("-b", "--block-device-mapping"),
            value="DEVICE=WHAT",
            help="Disks: ephemeral0, none, or a volume. Can be repeated.",
            read=mapping,
            repeated=True,
            default=(),
        ),
        Option(names=("--kernel",), value="AKI", help="Kernel image, in place of the AMI's."),
        Option(names=("--ramdisk",), value="ARI", help="RAM disk image, in place of the AMI's."),
        Option(names=("-z", "--availability-zone"), value="ZONE", help="The availability zone."),
        Option(names=("--client-token",), value="TOKEN", help="The same line with the same token starts nothing more."),
        Option(names=("--disable-api-termination",), help="Refuse ec2-terminate-instances."),
        Option(
            names=("--instance-initiated-shutdown-behavior",),
            value="WHAT",
            help="When an instance powers off: stop (with a volume as its root), or terminate.",
            choices=("stop", "terminate"),
        ),
        Option(names=("-m", "--monitor"), help="Detailed monitoring."),
        Option(names=("-p", "--iam-profile"), value="PROFILE", help="An IAM instance profile: its name or ARN."),
        Option(names=("--placement-group",), value="GROUP", help="A placement group."),
        Option(names=("--tenancy",), value="TENANCY", help="default or dedicated.", choices=("default", "dedicated")),
        Option(names=("-s", "--subnet"), value="SUBNET", help="A subnet of a VPC."),
        Option(names=("--private-ip-address",), value="ADDRESS", help="An address of that subnet."),
        Option(names=("--ebs-optimized",), help="Bandwidth for volumes of its own."),
        *api.API,
    ),
    run=run,
    examples="""\
ec2-run-instances ami-1a2b3c4d -k gsg-keypair
ec2-run-instances ami-1a2b3c4d -n 2 -g websrv -k gsg-keypair -t m1.large -z us-east-1a -f start.sh
ec2-run-instances ami-1a2b3c4d -b /dev/sda3=none -d "role=database\"""",
    manual="""\
details:
  Without a key pair nobody may be able to log in. User data has up to 16 KiB. The group's rules
  decide who reaches an instance: at first nobody does, see ec2-authorize.

output:
  That of ec2-describe-instances. An instance is pending at first.""",
    interrupted="instances may have been started: see ec2-describe-instances",
)


def main() -> None:
    enter(COMMAND)
