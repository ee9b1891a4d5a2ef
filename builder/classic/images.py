"""ec2-describe-images and ec2-deregister."""

from typing import Any

from builder.classic import api, lines
from builder.classic.command import Command, Options, enter
from builder.classic.options import API, Option

_MINE = ({"Owners": ["self"]}, {"ExecutableUsers": ["self"]})
"""What is asked for when nothing is: your own, and what somebody gave you the right to start."""


def requests(options: Options) -> tuple[dict[str, Any], ...]:
    """The DescribeImages calls whose answers, one after the other, are wanted."""
    asked = api.given(
        ImageIds=list(options.image),
        Owners=list(options.owner),
        ExecutableUsers=list(options.executable_by),
        Filters=api.filters(options),
    )
    if options.all or asked.keys() - {"Filters"}:
        return (asked,)
    return tuple({**asked, **each} for each in _MINE)


def describe(options: Options) -> None:
    """Print a table of images, each of them once."""
    found = api.listed(options, "describe_images", "Images", *requests(options), about="the images")
    once = {each["ImageId"]: each for each in found}
    api.show([line for each in once.values() for line in lines.image(each)], options)


def deregister(options: Options) -> None:
    """Deregister, and print `IMAGE` and its id."""
    about = f"the AMI {options.image}"
    if api.ask(options, "deregister_image", {"ImageId": options.image}, about) is not None:
        api.show([("IMAGE", options.image)], options)


DESCRIBE = Command(
    name="ec2-describe-images",
    summary="List images: yours and those that you were given, or others.",
    options=(
        Option(names=("IMAGE",), value="IMAGE", help="Ids of images.", repeated=True, default=()),
        Option(names=("-a", "--all"), help="All that you may start, public ones too."),
        Option(
            names=("-o", "--owner"),
            value="OWNER",
            help="Of this owner: self, amazon, or an account number. Can be repeated.",
            repeated=True,
            default=(),
        ),
        Option(
            names=("-x", "--executable-by"),
            value="USER",
            help="That this account (or self, or all) was given. Can be repeated.",
            repeated=True,
            default=(),
        ),
        api.FILTER,
        *api.API,
    ),
    run=describe,
    examples="""\
ec2-describe-images -a
ec2-describe-images -o self -o amazon
ec2-describe-images -F architecture=x86_64 -F name='web-*' --region us-east-1""",
    manual="""\
output:
  IMAGE               id, location, owner or its alias, state, public or private, product codes,
                      architecture, type, kernel, RAM disk, platform, root device type,
                      virtualization type, hypervisor
  BLOCKDEVICEMAPPING  EPHEMERAL, device, name; or EBS, device, (empty), snapshot, GiB,
                      deleted at the end, volume type, IOPS
  TAG                 image, id, key, value""",
    interrupted="nothing was changed",
)
DEREGISTER = Command(
    name="ec2-deregister",
    summary="Deregister an AMI: nobody can start it any more. Its bundle stays; see ec2-delete-bundle.",
    options=(Option(names=("IMAGE",), value="IMAGE", help="The AMI's id.", required=True), *API),
    run=deregister,
    examples="ec2-deregister ami-1a2b3c4d",
    interrupted="it may be deregistered already: the same line again says so",
)


def describe_main() -> None:
    enter(DESCRIBE)


def deregister_main() -> None:
    enter(DEREGISTER)
