"""A recipe to start from: what `recipe new` writes."""

import json
import re

from builder.errors import RecipeError

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")

_TEXT = """\
# NAME: what this image is for.
#
#   ami-factory check NAME.toml     is it right?
#   ami-factory plan NAME.toml      what would be done, and why
#   ami-factory build NAME.toml     the AMI
#
# Every key is described in recipes/README.md.

name = "NAME"
version = "1"
description = "What people see in a list of images"

# One AMI for each: the file system table follows the type's disks.
instance_types = ["m1.small"]

kernel = "quickstart"

[distribution]
# The quickstart distribution: Debian's packages, repacked as RPMs on this machine. For Fedora itself, take
# [distribution] and kernel of recipes/fedora.toml.
release = "12"
packages = [
    "systemd-sysv", "systemd-resolved", "udev",
    "openssh-server", "curl", "ca-certificates",
    "iproute2", "procps", "kmod", "e2fsprogs", "less",
]

[[distribution.repositories]]
id = "quickstart"
repack = "debian"

[ssh]
# The key that an instance is launched with is let in by itself; these are let in as well.
authorized_keys = [
    # "ssh-ed25519 AAAA... you@example.com",
]

# Files of your own, from the directory NAME/ beside this file, or written here.
[[files]]
destination = "/etc/motd"
content = "This is {{ name }}, version {{ version }}.\\n"
template = true

# A script runs as root in the new tree, in a sandbox without network. Each one is cached by itself.
# [[scripts]]
# run = "echo made by ami-factory > /etc/made-by"

# [services]
# enable = ["my.service"]

# [image]
# size = "2GiB"
"""


_ON_TOP = """\
# NAME: what this image is for.
#
#   ami-factory check NAME.toml     is it right?
#   ami-factory recipe show NAME.toml   what all its files come to
#   ami-factory build NAME.toml     the AMI
#
# Every key is described in recipes/README.md.

HEAD
name = "NAME"
description = "What people see in a list of images"

# Added to the other recipe's packages; [distribution] packages would take their place.
# [add.distribution]
# packages = ["nano"]

# Taken away of what the other recipe and the parts bring.
# [remove]
# files = ["/etc/motd"]

# For some variants only.
# [[when]]
# if = { virtualization = ["hvm"] }
# services.enable = ["my.service"]
"""


def starter(name: str, *, extends: str = "", parts: tuple[str, ...] = ()) -> str:
    """The text of a new recipe: complete in itself, or on top of another; with parts."""
    if not _NAME.fullmatch(name):
        raise RecipeError(
            f'"{name[:64]}" is not a name for a recipe', hint="use lower case letters, digits, dots and dashes"
        )
    head = [f"extends = {json.dumps(extends)}"] if extends else []
    head += [f"include = {json.dumps(parts)}"] if parts else []
    if extends:
        return _ON_TOP.replace("NAME", name).replace("HEAD", "\n".join(head))
    text = _TEXT.replace("NAME", name)
    return text.replace('\nname = "', "\n" + "".join(f"{line}\n" for line in head) + 'name = "', 1)
