"""The recipe: what an author may write. Unknown keys are refused; field descriptions are the reference's text.

recipes/README.md and the JSON Schema are made from this file and those beside it (words, system, aws).
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from builder.catalog.tables import Table
from builder.recipe.aws import Bundle, Publish, Register, Volume
from builder.recipe.system import (
    File,
    Group,
    Limits,
    Modules,
    Overlay,
    Script,
    Selinux,
    Services,
    Timer,
    Unit,
    User,
    Verify,
)
from builder.recipe.words import (
    Address,
    ArchiveLabel,
    AuthorPath,
    Component,
    DistributionName,
    HostName,
    ImagePlace,
    ImageSize,
    KernelName,
    KeyringName,
    Label,
    Locale,
    MirrorAddress,
    Name,
    PackageName,
    Release,
    RepositoryName,
    Sha256,
    Size,
    SshKey,
    Suite,
    SysctlKey,
    SysctlValue,
    TimeZone,
    Version,
    one_of,
)


class Repository(Table):
    """Where packages come from: one address, `repack`, or an archive that the host knows."""

    model_config = one_of("repack", "archive", "baseurl", "metalink", "mirrorlist")

    id: RepositoryName = Field(description="Name of the repository.")
    repack: Literal["debian"] | None = Field(
        None, description="Make the repository here, from the host's own Debian archive (the quickstart distribution)."
    )
    baseurl: Address = Field(
        "", description="Address of the directory that holds repodata/; $releasever and $basearch are filled in."
    )
    metalink: Address = Field("", description="Address of a metalink.")
    mirrorlist: Address = Field("", description="Address of a mirror list.")
    archive: ArchiveLabel = Field(
        "",
        description='mmdebstrap: the archive of this label in the host\'s own apt configuration, such as "Debian": '
        "its address is taken from there.",
    )
    suites: tuple[Suite, ...] = Field((), description="mmdebstrap: its suites; $releasever is filled in.")
    components: tuple[Component, ...] = Field((), description="mmdebstrap: its components; main when left out.")
    keyring: KeyringName = Field(
        "", description="mmdebstrap: a file of the host's /usr/share/keyrings, without .gpg, instead of keys."
    )
    gpgcheck: bool = Field(True, description="Check the signature of every package.")
    repo_gpgcheck: bool = Field(False, description="Check the signature of the repository's metadata.")
    keys: tuple[AuthorPath, ...] = Field((), description="Files with public GPG keys, below the recipe's directory.")

    @model_validator(mode="after")
    def _one_origin(self) -> "Repository":
        given = [n for n in ("repack", "archive", "baseurl", "metalink", "mirrorlist") if getattr(self, n)]
        if len(given) != 1:
            listed = ", ".join(given) or "none"
            raise ValueError(f"give exactly one of repack, archive, baseurl, metalink, mirrorlist (given: {listed})")
        if not self.repack and not (self.gpgcheck or self.repo_gpgcheck):
            raise ValueError("gpgcheck and repo_gpgcheck are both off: nothing would check what is installed")
        if self.keyring and self.keys:
            raise ValueError("give either keyring or keys")
        if not self.repack and not self.keys and not self.keyring:
            raise ValueError("a repository with an address needs keys: the files of its public GPG keys")
        return self


class Distribution(Table):
    """The distribution that the root tree is made of."""

    id: DistributionName | None = Field(
        None, description="What [[when]] calls it, as ID in its /etc/os-release; the quickstart's needs none."
    )
    installer: Literal["dnf", "mmdebstrap"] = Field(
        "dnf", description="What installs the packages: dnf for RPMs, mmdebstrap for Debian's and Ubuntu's."
    )
    release: Release = Field(description='The release, as dnf\'s $releasever, or the codename: "bookworm".')
    repositories: tuple[Repository, ...] = Field(min_length=1, description="Where packages come from.")
    packages: tuple[PackageName, ...] = Field(min_length=1, description="Packages to install, with what they require.")
    excludes: tuple[PackageName, ...] = Field((), description="Packages that must never be installed.")

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Distribution":
        for number, each in enumerate(self.repositories):
            wrong = _dnf_fault(each) if self.installer == "dnf" else _mmdebstrap_fault(each)
            if wrong:
                raise ValueError(f"repositories[{number}]: {wrong}")
        return self


def _dnf_fault(repository: Repository) -> str:
    """What dnf cannot do with a repository, or ""."""
    given = [name for name in ("archive", "suites", "components", "keyring") if getattr(repository, name)]
    return f'{given[0]} is for installer = "mmdebstrap"' if given else ""


def _mmdebstrap_fault(repository: Repository) -> str:
    """What apt cannot do with a repository, or ""."""
    given = [name for name in ("repack", "metalink", "mirrorlist", "repo_gpgcheck") if getattr(repository, name)]
    if given:
        return f'{given[0]} is for installer = "dnf"'
    if not repository.gpgcheck:
        return "gpgcheck cannot be off: apt checks the signature of the whole archive"
    return "" if repository.suites else 'suites are missing: write such as suites = ["$releasever"]'


class Base(Table):
    """An image that is there already, in place of [distribution]: see docs/base.md."""

    image: ImagePlace = Field(
        description="A disk (raw or qcow2, a file or a block device), a directory, a tar, an OCI layout or archive, or "
        "a bundle's manifest: a path, s3://BUCKET/PREFIX/NAME.manifest.xml, or the id of an AMI of the region."
    )
    sha256: Sha256 | None = Field(
        None, description="What its SHA-256 must be: of the file, of a bundle's manifest, of an OCI image's manifest."
    )
    packages: tuple[PackageName, ...] = Field(
        (), description="Packages to add, by the image's own apt or dnf and from the repositories that it has."
    )


# What a recipe with [base] has as its distribution: nothing is installed by the factory.
_OF_THE_BASE = Distribution.model_construct(
    id=None, installer="dnf", release="", repositories=(), packages=(), excludes=()
)


class Network(Table):
    """The network of the guest: DHCP on its first interface."""

    dhcp: Literal[True] = Field(True, description="EC2 knows no other way.")
    hostname: HostName = Field("metadata", description='"metadata": the name that DHCP gives; or a fixed name.')
    renderer: Literal["auto", "ifcfg", "networkmanager", "networkd"] = Field(
        "auto", description="Whose files to write; auto: those that the installed packages really read."
    )


class Ssh(Table):
    """How root logs in: by key only."""

    authorized_keys: tuple[SshKey, ...] = Field((), description="Public keys of root, built into the image.")
    metadata_key: bool = Field(True, description="At first boot, also take the key that the instance is launched with.")


class Image(Table):
    """The loopback image."""

    size: ImageSize = Field(
        "auto", description='"auto", or a size such as "2GiB"; at most 10GiB. A disk of hvm is rounded up to whole GiB.'
    )
    free: Size = Field("256MiB", description='Space to leave free when size is "auto".')
    filesystem: Literal["ext3", "ext4"] = Field("ext4", description="File system of the root.")
    label: Label = Field("root", description="Its label.")
    partitioned: bool = Field(
        False,
        description="Of pv: a disk with an MBR whose first partition is the root, for the hd00 kernels of PV-GRUB, "
        "rather than a file system without one. Images of hvm have partitions anyway.",
    )


BootLevel = Literal["none", "direct", "login", "full"]
BOOT_LEVELS: tuple[str, ...] = get_args(BootLevel)
Virtualization = Literal["pv", "hvm"]
VIRTUALIZATIONS: tuple[str, ...] = get_args(Virtualization)


class Boot(Table):
    """The boot proof: a gate before the AMI is registered. `--boot LEVEL` chooses another level for one build."""

    level: BootLevel = Field(
        "login",
        description="login: as EC2 boots it (pv under Xen, hvm by each firmware that may start it), logged in to and "
        "looked at; full: also restarted, and without an ephemeral disk; direct: in plain QEMU, of hvm by the BIOS "
        "alone, for a quick look; none.",
    )


class Recipe(Table):
    """One recipe, of which several AMIs can be made."""

    extends: AuthorPath | None = Field(None, description="Another recipe, beside this one, to start from.")
    include: tuple[AuthorPath, ...] = Field(
        (), description="Parts to take in, such as parts/first-boot.toml: files beside this one, or the factory's."
    )
    name: Name = Field(description="Name of the recipe: lower case letters, digits, dots and dashes.")
    version: Version = Field("1", description="Version, for people.")
    description: Annotated[str, Field(max_length=255)] = Field("", description="One line for people.")
    architectures: tuple[Literal["x86_64", "i386"], ...] = Field(
        ("x86_64",), min_length=1, description="x86_64, i386 or both."
    )
    virtualization: tuple[Virtualization, ...] = Field(
        ("pv",),
        min_length=1,
        description="pv, bundled for the instance store; hvm, a disk with partitions for EBS; or both.",
    )
    instance_types: tuple[str, ...] = Field(
        ("m1.small",),
        min_length=1,
        description="One AMI for each, of every virtualization that the type has: fstab follows its disks.",
    )
    kernel: KernelName = Field(description="A file under kernels/, without .toml.")
    timezone: TimeZone = Field("UTC", description="Time zone.")
    locale: Locale = Field("C.UTF-8", description="LANG of the system.")
    distribution: Distribution = Field(description="The distribution.")
    base: Base | None = Field(None, description="An existing image to start from, instead of a distribution.")
    mirrors: dict[RepositoryName, MirrorAddress] = Field(
        default_factory=dict,
        description="A repository's id to the address of a mirror, a directory with repodata/, that is used instead "
        "of the one in its table; $releasever and $basearch are filled in. AMI_FACTORY_MIRROR_ID, the id in capitals, "
        "comes before it. Nothing is built anew for another mirror: the lock says what is installed.",
    )
    network: Network = Field(Network(), description="The network.")
    ssh: Ssh = Field(Ssh(), description="How root logs in.")
    users: tuple[User, ...] = Field((), description="User accounts.")
    groups: tuple[Group, ...] = Field((), description="Groups.")
    files: tuple[File, ...] = Field((), description="Files to put into the image.")
    overlays: tuple[Overlay, ...] = Field((), description="Directories to lay over the image's root.")
    scripts: tuple[Script, ...] = Field((), description="Programs to run in the tree, in order.")
    limits: Limits = Field(Limits(), description="What scripts, and programs of packages, may take while building.")
    services: Services = Field(Services(), description="systemd units.")
    units: tuple[Unit, ...] = Field((), description="systemd units of the author's.")
    timers: tuple[Timer, ...] = Field((), description="Timers.")
    sysctl: dict[SysctlKey, SysctlValue] = Field(
        default_factory=dict, description='Settings of the kernel, as texts: "net.ipv4.ip_forward" = "1".'
    )
    modules: Modules = Field(Modules(), description="Kernel modules.")
    selinux: Selinux | None = Field(None, description="SELinux.")
    image: Image = Field(Image(), description="The image.")
    verify: Verify = Field(Verify(), description="The look into the finished image.")
    boot: Boot = Field(Boot(), description="The boot proof.")
    bundle: Bundle = Field(Bundle(), description="The bundle.")
    register_: Register = Field(Register(), alias="register", description="The AMI.")
    volume: Volume = Field(Volume(), description="The root volume of hvm.")
    publish: Publish | None = Field(None, description="Other regions, other accounts, SSM parameters.")

    @model_validator(mode="before")
    @classmethod
    def _one_origin(cls, table: Any) -> Any:
        if not isinstance(table, dict) or "base" not in table:
            return table
        if "distribution" in table:
            raise ValueError("give [base] or [distribution], not both: an image's packages are its own")
        return {**table, "distribution": _OF_THE_BASE}

    @model_validator(mode="after")
    def _public_is_readable(self) -> "Recipe":
        if self.publish and self.publish.public and self.volume.encrypted:
            raise ValueError(
                "publish.public and volume.encrypted do not go together: an AMI with encrypted snapshots cannot be "
                "public (EC2 User Guide)"
            )
        return self
