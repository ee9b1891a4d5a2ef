"""The `configure` stage: what binds a tree to a variant. Runs no code of the author's.

Field names are those of the recipe, since `plan` shows what changed by these names.
"""

from dataclasses import dataclass
from typing import ClassVar

from builder.canonical import later


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    renderer: str
    """ifcfg, networkmanager or networkd: what the distribution really reads, decided when compiling."""
    hostname: str
    """A fixed name, or "" to take it from the metadata service by DHCP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSpec:
    authorized_keys: tuple[str, ...]
    """Keys of root, in the image."""
    metadata_key: bool
    """At first boot root also gets the key from the metadata service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserKeys:
    name: str
    authorized_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BootSpec:
    root_device: str
    """As the guest's kernel names it, /dev/xvda1, or UUID=... on a disk with partitions."""
    command_line: str
    menu: str
    """Where the loader looks: /boot/grub/menu.lst, or grub.cfg beside it."""
    grub_root: str
    """(hd0) for an unpartitioned image; "" where GRUB 2 finds the root by its UUID."""
    title: str
    loader: str = later("pv-grub")
    """pv-grub or grub2: whose language the menu is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesSpec:
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpec:
    name: str
    """Below /etc/systemd/system."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerSpec:
    """Times as systemd.time(7) has them, "" for none. Either `run` or `service`."""

    name: str
    run: str = ""
    service: str = ""
    user: str = ""
    calendar: str = ""
    boot: str = ""
    every: str = ""
    random_delay: str = ""
    persistent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModulesSpec:
    load: tuple[str, ...]
    blacklist: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HvmSpec:
    """What a disk with partitions needs that an image without has not."""

    ephemeral: bool
    """The instance type has NVMe disks of the instance store: the first becomes a file system, at /mnt."""
    definition: str
    """Digest of the files for it that the stage ships."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigureSpec:
    """Output: `layer.tar`. Inputs: all layers below, in order; the input `kernel` says what to boot."""

    VERSION: ClassVar[int] = 1

    network: NetworkSpec
    ssh: SshSpec
    users: tuple[UserKeys, ...]
    services: ServicesSpec
    fstab: str
    boot: BootSpec
    timezone: str
    locale: str
    source_epoch: int
    definition: str = ""
    """Digest of the stage's own units and scripts (builder/stages/data.py)."""
    hvm: HvmSpec | None = later(None)
    units: tuple[UnitSpec, ...] = later(())
    timers: tuple[TimerSpec, ...] = later(())
    sysctl: tuple[tuple[str, str], ...] = later(())
    modules: ModulesSpec | None = later(None)
    selinux: str = later("")
    """The mode to boot in; "" to leave it as the distribution has it."""
