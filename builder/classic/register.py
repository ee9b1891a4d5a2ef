"""ec2-register: a bundle in S3 becomes an AMI."""

import re
from typing import Any

from builder.classic import bucket
from builder.classic import place as places
from builder.classic.block_devices import mapping
from builder.classic.command import Command, Options, enter
from builder.classic.options import API, Option
from builder.cli import output
from builder.errors import RecipeError, RegionError

SUFFIX = ".manifest.xml"
ROOT_DEVICE = "/dev/sda1"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9()\[\] ./\-'@_]+")
"""What the name of an AMI cannot have."""
_NAME_LENGTH = (3, 128)

OPTIONS = (
    Option(names=("MANIFEST",), value="BUCKET/KEY", help="Where the manifest is: my-bucket/web/disk.img.manifest.xml."),
    Option(names=("-n", "--name"), value="NAME", help="The AMI's name. By default the manifest's path."),
    Option(names=("-d", "--description"), value="TEXT", help="The AMI's description."),
    Option(
        names=("-a", "--architecture"),
        value="ARCH",
        help="i386 or x86_64; by default what the manifest says.",
        choices=("i386", "x86_64"),
    ),
    Option(
        names=("-b", "--block-device-mapping"),
        value="DEVICE=WHAT",
        help="Disks of an instance: ephemeral0, none, or a volume. Can be repeated.",
        read=mapping,
        repeated=True,
        default=(),
    ),
    Option(names=("--kernel",), value="AKI", help="Kernel image, in place of the manifest's."),
    Option(names=("--ramdisk",), value="ARI", help="RAM disk image, in place of the manifest's."),
    Option(names=("--root-device-name",), value="DEVICE", help=f"The root device's name, such as {ROOT_DEVICE}."),
    Option(
        names=("--virtualization-type",),
        value="TYPE",
        help="paravirtual or hvm. [paravirtual]",
        choices=("paravirtual", "hvm"),
    ),
    Option(names=("--sriov",), value="simple", help="Enhanced networking (hvm).", choices=("simple",)),
    Option(names=("-s", "--snapshot"), value="SNAPSHOT", help="Register a volume's snapshot, not a bundle."),
    *API,
)


def run(options: Options) -> None:
    """Register, and print `IMAGE` and the AMI's id as the original does."""
    from builder.cloud import ec2

    wanted = request(options)
    options.url = None if options.region else options.url
    client = places.find(options, "ec2").client("ec2")
    if options.dry_run:
        output.say(ec2.may_register(client, wanted))
        return
    try:
        image_id = ec2.register_image(client, wanted)
    except ec2.NameTaken as error:
        raise RegionError(
            f"the AMI {wanted['Name']}: RegisterImage was refused: InvalidAMIName.Duplicate",
            detail=str(error),
            hint="give another name with -n, or deregister the AMI that has it",
        ) from error
    output.result(f"IMAGE\t{image_id}")


def request(options: Options) -> dict[str, Any]:
    """The RegisterImage call: only what was given, and a name."""
    location = _location(options)
    asked = {
        "Name": _held(options.name or _name(location)),
        "ImageLocation": location,
        "Description": options.description,
        "Architecture": options.architecture,
        "KernelId": options.kernel,
        "RamdiskId": options.ramdisk,
        "RootDeviceName": options.root_device_name or (ROOT_DEVICE if options.snapshot else None),
        "BlockDeviceMappings": [*_root_volume(options), *options.block_device_mapping],
        "VirtualizationType": options.virtualization_type,
        "SriovNetSupport": options.sriov,
    }
    return {name: value for name, value in asked.items() if value}


def _location(options: Options) -> str:
    """`bucket/key`; an address with s3:// in front, slashes too many, or without the manifest's name is put right."""
    if bool(options.manifest) == bool(options.snapshot):
        why = "a manifest or a snapshot, not both" if options.manifest else "neither a manifest nor a snapshot is named"
        raise RecipeError(f"ec2-register: {why}", hint="give BUCKET/PREFIX/NAME.manifest.xml")
    if options.snapshot:
        if not options.name:
            raise RecipeError("an AMI of a snapshot needs a name", hint="give it with -n")
        return ""
    found = bucket.parse(options.manifest.lstrip("/"))
    if not found.prefix:
        raise RecipeError(
            f'"{options.manifest}" is no manifest in S3', hint="write BUCKET/PREFIX/NAME.manifest.xml, not a file here"
        )
    return f"{found.bucket}/{found.prefix}"


def _name(location: str) -> str:
    """The manifest's path as a name; the classic call had none, and EC2 asks for one since 2010."""
    return _NOT_IN_NAMES.sub("-", location.removesuffix(SUFFIX))


def _held(name: str) -> str:
    """A name of a length that botocore sends; what else is wrong with one EC2 says."""
    if not _NAME_LENGTH[0] <= len(name) <= _NAME_LENGTH[1]:
        raise RecipeError(
            f'"{name}" cannot be the name of an AMI: it has {len(name)} characters',
            hint=f"give one of {_NAME_LENGTH[0]} to {_NAME_LENGTH[1]} with -n",
        )
    return name


def _root_volume(options: Options) -> list[dict[str, Any]]:
    if not options.snapshot:
        return []
    return [{"DeviceName": options.root_device_name or ROOT_DEVICE, "Ebs": {"SnapshotId": options.snapshot}}]


COMMAND = Command(
    name="ec2-register",
    summary="Register a bundle in S3 as an AMI, and print its id.",
    options=OPTIONS,
    run=run,
    examples="""\
ec2-register my-bucket/web/disk.img.manifest.xml
ec2-register my-bucket/web/disk.img.manifest.xml -n web-2 -d "web server" -a x86_64 --kernel aki-919dcaf8 \\
    -b /dev/sda2=ephemeral0 --region us-east-1""",
    manual="""\
details:
  Without -n the name is the manifest's path without .manifest.xml. Names are unique, so the same
  manifest cannot be registered twice; the classic call of before 2010 knew no names.
  -h is the help, as everywhere here; the original's -H (headers) is accepted.""",
    interrupted="it may be registered already: the same line again says so",
)


def main() -> None:
    enter(COMMAND)


if __name__ == "__main__":
    main()
