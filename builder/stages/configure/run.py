"""Bind a tree to a variant: disks, boot menu, network, keys, identity. Equal inputs give equal layers."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from builder.errors import RecipeError
from builder.formats import grub_cfg
from builder.formats.fstab import parse_fstab
from builder.formats.menu_lst import Entry, Menu, format_menu
from builder.host import tree_files
from builder.host.layers import commit_layer, root_tree
from builder.stages.configure import disk, ssh, system, units
from builder.stages.configure.network import INTERFACES, PREDICTABLE, network_files
from builder.stages.configure.spec import BootSpec, ConfigureSpec, UserKeys
from builder.stages.contract import Result, StageContext

ZONES = "/usr/share/zoneinfo"
STUB_RESOLV = "../run/systemd/resolve/stub-resolv.conf"
# What must be each instance's own, or tells of the machine that built it.
IDENTITY = (
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/ami-factory",
)
HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"


def run(spec: ConfigureSpec, context: StageContext) -> Result:
    """Write `layer.tar`; every check comes before the first change that needs it."""
    kernel = context.input("kernel").result
    with root_tree(context, writable=True) as tree:
        write_system(tree.path, spec)
        found = units.find_units(tree.path)
        needed = [units.ssh_unit(found), *units.network_units(spec.network.renderer, found)]
        units.check_services(spec.services, needed, found)
        set_time_and_language(tree.path, spec)
        write_fstab(tree.path, spec.fstab)
        write_menu(tree.path, spec.boot, kernel["vmlinuz"], kernel["initrd"])
        if spec.hvm is not None:
            disk.configure_disk(tree.path, spec.hvm)
        needed += configure_network(tree.path, spec, found)
        needed += configure_ssh(tree.path, spec, found)
        needed += console_units(tree.path, spec.boot.command_line)
        units.set_up_services(tree.path, spec.services, needed, found)
        remove_identity(tree.path)
        if spec.selinux:
            set_up_selinux(tree.path, spec.selinux)
        elif tree_files.exists(tree.path, "/etc/selinux/config"):
            context.note("the tree has an SELinux policy; its files are labelled by the guest at its first relabelling")
    if tree.upper is None:
        raise AssertionError("a writable tree has an upper directory")
    return commit_layer(context, tree.upper, spec.source_epoch)


def write_system(tree: Path, spec: ConfigureSpec) -> None:
    """The recipe's own units first: its services may name them."""
    files = (*system.unit_files(spec.units, spec.timers), *system.kernel_files(spec.sysctl, spec.modules))
    for file in files:
        tree_files.write(tree, file.path, file.text.encode(), mode=file.mode)


def set_up_selinux(tree: Path, mode: str) -> None:
    """The mode, and a mark by which the guest labels its files before it goes on: no label is put on them here."""
    path = "/etc/selinux/config"
    text = tree_files.read(tree, path)
    if text is None:
        raise RecipeError(
            f"selinux: the tree has no {path}", hint="add the distribution's policy package, or leave selinux out"
        )
    tree_files.write(tree, path, system.selinux_config(text.decode(errors="replace"), mode).encode())
    if mode != "disabled":
        tree_files.write(tree, "/.autorelabel", b"")


def set_time_and_language(tree: Path, spec: ConfigureSpec) -> None:
    """Time zone and locale. A zone that the tree does not have is the recipe's error; UTC needs no file."""
    if tree_files.exists(tree, f"{ZONES}/{spec.timezone}"):
        tree_files.symlink(tree, "/etc/localtime", f"..{ZONES}/{spec.timezone}")
    elif spec.timezone == "UTC":
        tree_files.remove(tree, "/etc/localtime")
    else:
        raise _unknown_zone(tree, spec.timezone)
    text = f"LANG={spec.locale}\n".encode()
    tree_files.write(tree, "/etc/locale.conf", text)
    if tree_files.exists(tree, "/etc/default"):  # Debian's programs read these two instead.
        tree_files.write(tree, "/etc/default/locale", text)
        tree_files.write(tree, "/etc/timezone", f"{spec.timezone}\n".encode())


def _unknown_zone(tree: Path, name: str) -> RecipeError:
    zones = tree_files.follow(tree, ZONES)
    if not zones.is_dir():
        return RecipeError(f'timezone: "{name}" needs tzdata', hint="add tzdata to distribution.packages")
    known = [str(each.relative_to(zones)) for each in zones.rglob("[A-Z]*") if each.is_file()]
    near = difflib.get_close_matches(name, known, n=1)
    return RecipeError(
        f'timezone: the tree has no zone "{name}"', hint=f"did you mean {near[0]}?" if near else "such as Europe/Berlin"
    )


def write_fstab(tree: Path, text: str) -> None:
    """/etc/fstab, and the directories that it mounts on."""
    tree_files.write(tree, "/etc/fstab", text.encode())
    for line in parse_fstab(text):
        if line.mount_point.startswith("/") and not tree_files.exists(tree, line.mount_point):
            tree_files.make_directory(tree, line.mount_point)


def write_menu(tree: Path, boot: BootSpec, vmlinuz: str, initrd: str) -> None:
    """The menu that the loader reads; one entry."""
    arguments = f"root={boot.root_device} {boot.command_line}"
    if boot.loader == "grub2":
        uuid = boot.root_device.removeprefix("UUID=")
        chosen = grub_cfg.Entry(title=boot.title, uuid=uuid, kernel=vmlinuz, arguments=arguments, initrd=initrd)
        text = grub_cfg.format_grub_cfg(grub_cfg.Config(entries=(chosen,)))
    else:
        entry = Entry(title=boot.title, root=boot.grub_root, kernel=vmlinuz, arguments=arguments, initrd=initrd)
        text = format_menu(Menu(entries=(entry,)))
    tree_files.write(tree, boot.menu, text.encode())


def configure_network(tree: Path, spec: ConfigureSpec, found: Mapping[str, str]) -> list[str]:
    """Files of the renderer, the host name, names of hosts; the units that this needs."""
    interfaces = PREDICTABLE if spec.hvm is not None else INTERFACES
    for file in network_files(spec.network, spec.boot.command_line, interfaces):
        tree_files.write(tree, file.path, file.text.encode(), mode=file.mode)
    hostname = spec.network.hostname
    if not tree_files.exists(tree, "/etc/hosts") or hostname:
        tree_files.write(tree, "/etc/hosts", (HOSTS + (f"127.0.1.1 {hostname}\n" if hostname else "")).encode())
    if hostname:
        tree_files.write(tree, "/etc/hostname", f"{hostname}\n".encode())
    else:
        tree_files.remove(tree, "/etc/hostname")
    if spec.network.renderer != "networkd":
        return []
    if "systemd-resolved.service" in found:
        tree_files.symlink(tree, "/etc/resolv.conf", STUB_RESOLV)
    if hostname:
        return []
    name = "ami-factory-hostname.service"
    tree_files.write(tree, f"{ssh.UNITS}/{name}", ssh.data(name))
    return [name]


def configure_ssh(tree: Path, spec: ConfigureSpec, found: Mapping[str, str]) -> list[str]:
    """The server, the keys in the image, and the units that do the rest at first boot."""
    ssh.configure_server(tree)
    ssh.lock_root(tree)
    root = UserKeys(name="root", authorized_keys=spec.ssh.authorized_keys)
    ssh.authorize(tree, tuple(user for user in (root, *spec.users) if user.authorized_keys))
    return list(ssh.first_boot_units(tree, spec.ssh, found))


def console_units(tree: Path, command_line: str) -> list[str]:
    """A login on the console that the kernel is given. systemd's own generator sees to it where there is one."""
    if tree_files.exists(tree, "/usr/lib/systemd/system-generators/systemd-getty-generator"):
        return []
    consoles = [
        word.removeprefix("console=").split(",")[0] for word in command_line.split() if word.startswith("console=")
    ]
    return [f"serial-getty@{name}.service" for name in consoles[-1:] if name.startswith(("hvc", "ttyS"))]


def remove_identity(tree: Path) -> None:
    """No machine id, host keys, random seed or logs: the guest makes its own.

    An empty machine-id, rather than none: systemd then takes the boot for a plain one, asks nothing on the console
    and applies no presets, and still writes a new id to the disk (machine-id(5)).
    """
    for path in IDENTITY:
        tree_files.remove(tree, path)
    tree_files.write(tree, "/etc/machine-id", b"", mode=0o444)
    for directory, pattern in (("/etc/ssh", "ssh_host_*"), ("/var/log", "**/*")):
        place = tree_files.follow(tree, directory)
        if place.is_dir():
            for each in sorted(place.glob(pattern)):
                if each.is_file() and not each.is_symlink():
                    each.unlink()
