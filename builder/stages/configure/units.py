"""Which systemd units a tree has, which of them an instance needs, and what a recipe asks of them."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from builder.errors import BuilderError, RecipeError
from builder.host import tree_files
from builder.host.sandbox import run_in_tree
from builder.stages.configure.spec import ServicesSpec

# Where systemd looks (systemd.unit(5)), and where the scripts of SysV lie, from which it makes units.
UNIT_DIRECTORIES = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
SCRIPT_DIRECTORIES = ("/etc/init.d", "/etc/rc.d/init.d")
SUFFIXES = (".service", ".socket", ".target", ".timer", ".mount", ".path", ".swap", ".automount", ".slice")


def find_units(tree: Path) -> dict[str, str]:
    """The names of all unit files and scripts of a tree, to the name that systemctl enables: an alias's own unit."""
    found = {}
    for directory in SCRIPT_DIRECTORIES:
        found.update({f"{each.name}.service": f"{each.name}.service" for each in _files(tree, directory)})
    for directory in reversed(UNIT_DIRECTORIES):
        for each in _files(tree, directory):
            if each.name.endswith(SUFFIXES):
                target = each.readlink().name if each.is_symlink() else each.name
                found[each.name] = target if target.endswith(SUFFIXES) else each.name
    return found


def _files(tree: Path, directory: str) -> list[Path]:
    place = tree_files.follow(tree, directory)
    return [*place.iterdir()] if place.is_dir() else []


def ssh_unit(units: Mapping[str, str]) -> str:
    """Fedora's name, or Debian's."""
    name = _first(("sshd.service", "ssh.service"), units)
    if not name:
        raise BuilderError("the tree has no SSH server", hint="add openssh-server to distribution.packages")
    return name


def network_units(renderer: str, units: Mapping[str, str]) -> tuple[str, ...]:
    """What must run for the renderer's files to be read."""
    choices = {
        "networkd": ("systemd-networkd.service",),
        "networkmanager": ("NetworkManager.service",),
        "ifcfg": ("network.service", "NetworkManager.service"),
    }[renderer]
    name = _first(choices, units)
    if not name:
        raise BuilderError(
            f"the tree has no {' or '.join(choices)}, which network.renderer {renderer} needs",
            hint="add its package to distribution.packages, or choose another network.renderer",
        )
    resolved = ("systemd-resolved.service",) if renderer == "networkd" and "systemd-resolved.service" in units else ()
    return (name, *resolved)


def check_services(services: ServicesSpec, needed: Sequence[str], units: Mapping[str, str]) -> None:
    """RecipeError for units that are not there, with the nearest name, and for turning off what is needed."""
    wrong: dict[str, str] = {}  # what is wrong, and what to do about it
    for what, names in (("enable", services.enable), ("disable", services.disable), ("mask", services.mask)):
        for name in names:
            if template_of(full_name(name)) not in units:
                near = difflib.get_close_matches(full_name(name), units, n=1)
                said = f'services.{what}: the tree has no unit "{name}"' + (
                    f"; did you mean {near[0]}?" if near else ""
                )
                wrong[said] = "correct the name, or add the package that has the unit to distribution.packages"
            elif what != "enable" and real_name(name, units) in needed:
                said = f"services.{what}: {name} is needed to reach an instance at all"
                wrong[said] = f"leave {name} out of services.{what}"
    if wrong:
        first, *others = wrong
        raise RecipeError(first, detail="\n".join(others), hint=wrong[first])


def set_up_services(tree: Path, services: ServicesSpec, needed: Sequence[str], units: Mapping[str, str]) -> None:
    """Disable and mask what the recipe says, then enable what it says and what is needed, by the tree's systemctl."""
    wanted = {
        "disable": services.disable,
        "mask": services.mask,
        "enable": (*needed, *services.enable),
    }
    for verb, names in wanted.items():
        if names:
            real = dict.fromkeys(real_name(name, units) for name in names)
            run_in_tree(tree, systemctl_command(verb, real), env={"SYSTEMD_OFFLINE": "1"})


def systemctl_command(verb: str, names: Iterable[str]) -> list[str]:
    return ["systemctl", verb, "--no-reload", "--", *names]


def full_name(name: str) -> str:
    """As systemctl takes it: a name without a suffix is a service's."""
    return name if name.endswith(SUFFIXES) else f"{name}.service"


def real_name(name: str, units: Mapping[str, str]) -> str:
    """The name that systemctl wants: not an alias, which it refuses to enable."""
    return units.get(full_name(name), full_name(name))


def template_of(name: str) -> str:
    """The file of a unit: getty@.service for getty@hvc0.service."""
    stem, at, rest = name.partition("@")
    return f"{stem}@{rest[rest.rfind('.') :]}" if at else name


def _first(names: Iterable[str], units: Mapping[str, str]) -> str:
    return next((units[name] for name in names if name in units), "")
