"""What a file may say besides a recipe's own keys: `add`, `remove` and `when`. Models for validation and the schema."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from builder.catalog.tables import Table, text
from builder.recipe.aws import Register, Volume
from builder.recipe.model import Boot, Image, Network, Recipe, Ssh, Virtualization
from builder.recipe.system import File, Group, Modules, Overlay, Script, Selinux, Services, Timer, Unit, User, Verify
from builder.recipe.words import (
    AccountName,
    AuthorPath,
    GuestPath,
    Locale,
    PackageName,
    ScriptName,
    SshKey,
    SysctlKey,
    SysctlValue,
    TimerName,
    TimeZone,
    UnitFileName,
)

RepositoryId = Annotated[str, Field(min_length=1)]
DistributionWord = Annotated[
    str, text(r"^[a-z0-9][A-Za-z0-9._-]*$", 'a distribution: its id, or the id with a release, such as "fedora-43"')
]


class Packages(Table):
    """Names of packages."""

    packages: tuple[PackageName, ...] = Field((), description="Packages to install, with what they require.")
    excludes: tuple[PackageName, ...] = Field((), description="Packages that must never be installed.")


class Keys(Table):
    """Root's keys."""

    authorized_keys: tuple[SshKey, ...] = Field((), description="Public keys of root.")


class Add(Table):
    """What is added to the lists of the recipe that this one extends, where they would be replaced otherwise."""

    architectures: tuple[Literal["x86_64", "i386"], ...] = Field((), description="Architectures.")
    virtualization: tuple[Virtualization, ...] = Field((), description="pv or hvm.")
    instance_types: tuple[str, ...] = Field((), description="Instance types.")
    distribution: Packages = Field(Packages(), description="Packages.")
    ssh: Keys = Field(Keys(), description="Keys of root.")
    services: Services = Field(Services(), description="systemd units.")


class RemovePackages(Table):
    """Names of what is to be gone from the distribution's lists."""

    packages: tuple[PackageName, ...] = Field((), description="Names of packages.")
    excludes: tuple[PackageName, ...] = Field((), description="Names of packages that may be installed after all.")
    repositories: tuple[RepositoryId, ...] = Field((), description="Ids of repositories.")


class RemoveTags(Table):
    """Names of what is to be gone from the AMI's registration."""

    tags: tuple[str, ...] = Field((), description="Keys of tags.")


class Remove(Table):
    """What is taken away, by its name, of what the extended recipe and this file's parts bring."""

    architectures: tuple[str, ...] = Field((), description="Architectures.")
    virtualization: tuple[str, ...] = Field((), description="pv or hvm.")
    instance_types: tuple[str, ...] = Field((), description="Instance types.")
    distribution: RemovePackages = Field(RemovePackages(), description="Packages and repositories.")
    ssh: Keys = Field(Keys(), description="Keys of root, each one whole.")
    users: tuple[AccountName, ...] = Field((), description="Names of users.")
    groups: tuple[AccountName, ...] = Field((), description="Names of groups.")
    files: tuple[GuestPath, ...] = Field((), description="Destinations of files.")
    overlays: tuple[AuthorPath, ...] = Field((), description="Sources of overlays.")
    scripts: tuple[ScriptName, ...] = Field((), description="Names of scripts.")
    services: Services = Field(Services(), description="systemd units, from these lists of the other's.")
    units: tuple[UnitFileName, ...] = Field((), description="Names of the author's units.")
    timers: tuple[TimerName, ...] = Field((), description="Names of timers.")
    sysctl: tuple[SysctlKey, ...] = Field((), description="Names of the kernel's settings.")
    modules: Modules = Field(Modules(), description="Kernel modules, from these lists of the other's.")
    register_: RemoveTags = Field(RemoveTags(), alias="register", description="Tags.")


class Condition(Table):
    """For which variants: each word that stands here has one of its values."""

    architecture: tuple[Literal["x86_64", "i386"], ...] | None = Field(None, min_length=1, description="Architectures.")
    distribution: tuple[DistributionWord, ...] | None = Field(
        None, min_length=1, description='distribution.id, or that and the release: "fedora", "fedora-43".'
    )
    virtualization: tuple[Virtualization, ...] | None = Field(None, min_length=1, description="pv or hvm.")
    instance_type: tuple[str, ...] | None = Field(None, min_length=1, description="Instance types.")

    @model_validator(mode="after")
    def _some(self) -> "Condition":
        if not self.model_fields_set:
            raise ValueError(f"give at least one of {', '.join(type(self).model_fields)}")
        return self


class When(Table):
    """What is said for some variants only: a value takes the place of this file's, a list is added to."""

    if_: Condition = Field(alias="if", description="For which variants.")
    remove: Remove = Field(Remove(), description="What they do not have.")
    timezone: TimeZone = Field("UTC", description="Time zone.")
    locale: Locale = Field("C.UTF-8", description="LANG of the system.")
    distribution: Packages = Field(Packages(), description="Packages.")
    network: Network = Field(Network(), description="The network.")
    ssh: Ssh = Field(Ssh(), description="How root logs in.")
    users: tuple[User, ...] = Field((), description="User accounts.")
    groups: tuple[Group, ...] = Field((), description="Groups.")
    files: tuple[File, ...] = Field((), description="Files to put into the image.")
    overlays: tuple[Overlay, ...] = Field((), description="Directories to lay over the image's root.")
    scripts: tuple[Script, ...] = Field((), description="Programs to run in the tree, in order.")
    services: Services = Field(Services(), description="systemd units.")
    units: tuple[Unit, ...] = Field((), description="systemd units of the author's.")
    timers: tuple[Timer, ...] = Field((), description="Timers.")
    sysctl: dict[SysctlKey, SysctlValue] = Field(default_factory=dict, description="Settings of the kernel.")
    modules: Modules = Field(Modules(), description="Kernel modules.")
    selinux: Selinux | None = Field(None, description="SELinux.")
    image: Image = Field(Image(), description="The image.")
    verify: Verify = Field(Verify(), description="The look into the finished image.")
    boot: Boot = Field(Boot(), description="The boot proof.")
    register_: Register = Field(Register(), alias="register", description="The AMI.")
    volume: Volume = Field(Volume(), description="The root volume of hvm.")


class Besides(Table):
    """The keys of a file that are settled before it is a recipe."""

    add: Add = Field(Add(), description="Added to the lists of the recipe that this one extends.")
    remove: Remove = Field(Remove(), description="Taken away of what the extended recipe and the parts bring.")
    when: tuple[When, ...] = Field((), description="For some variants only.")


class Written(Besides, Recipe):
    """A recipe's file: all that may stand in one."""
