"""The recipe: what an author may write. Unknown keys are refused; field descriptions are the reference's text.

recipes/README.md and the JSON Schema are made from this file.
"""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from builder.catalog.dates import parse_date, parse_days
from builder.catalog.tables import Table, text

MIB = 1024**2
GIB = 1024**3
MAX_INSTANCE_STORE = 10 * GIB  # EC2's limit for an instance-store root, inclusive.
MAX_VOLUME = 64 * 1024 * GIB  # EBS's limit, of io2 and gp3.
MAX_TAGS = 50 - 4  # EC2's limit for a resource, without Name and the factory's own.
MAX_TAG_VALUE = 256

_SIZE = re.compile(r"([1-9][0-9]*) ?(MiB|GiB)")


def parse_size(text: str) -> int:
    """Bytes of "512MiB" or "2GiB". ValueError for anything else, with what to write."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not a size: write a whole number with MiB or GiB, such as "2048MiB"')
    return int(found[1]) * (MIB if found[2] == "MiB" else GIB)


def _size(text: str) -> str:
    parse_size(text)
    return text


def _image_size(text: str) -> str:
    if text != "auto" and parse_size(text) > MAX_INSTANCE_STORE:
        raise ValueError(f'"{text}" is more than the 10 GiB that EC2 allows for an instance-store root')
    return text


def _volume_size(text: str) -> str:
    if text != "auto" and (parse_size(text) % GIB or parse_size(text) > MAX_VOLUME):
        raise ValueError(f'"{text}" is not a whole number of GiB up to 64TiB, as EBS has it: such as "8GiB"')
    return text


def _guest_path(text: str) -> str:
    if not text.startswith("/") or text == "/" or text.endswith("/"):
        raise ValueError(f'"{text}" is not an absolute path of a file in the image')
    if any(part in ("", ".", "..") for part in text[1:].split("/")) or "\0" in text:
        raise ValueError(f'"{text}" must not hold "..", "." or empty parts')
    return text


def _author_path(text: str) -> str:
    if not text or text.startswith(("/", "~")) or ".." in text.split("/") or "\0" in text:
        raise ValueError(f'"{text}" must be a path below the recipe\'s own directory')
    return text


def _host_path(text: str) -> str:
    if not text.startswith(("/", "~/")) or "\0" in text:
        raise ValueError(f'"{text}" must be a path that starts with / or ~/: this file is not the recipe\'s own')
    return text


def _ssh_key(text: str) -> str:
    parts = text.split()
    kinds = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
             "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")  # fmt: skip
    if "PRIVATE KEY" in text:
        raise ValueError("this is a private key: give the public half (the .pub file's line)")
    if "\n" in text or len(parts) < 2 or parts[0] not in kinds or not re.fullmatch(r"[A-Za-z0-9+/]+=*", parts[1]):
        raise ValueError('not a public SSH key: write the one line of the .pub file, such as "ssh-ed25519 AAAA... you"')
    return text


def _schema(**keywords: Any) -> Any:
    """More of the JSON Schema for a type than pydantic sees."""
    return Field(json_schema_extra=keywords)


def _one_of(*names: str) -> ConfigDict:
    """In the JSON Schema: exactly one of these keys."""
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in names]})


def _arn_free_tag(text: str) -> str:
    if text.lower().startswith(("aws:", "ami-factory:")):
        raise ValueError(f'tag "{text}": the prefixes aws: and ami-factory: are taken')
    if text == "Name":
        raise ValueError('tag "Name": it is the AMI\'s name; write register.name')
    return text


Name = Annotated[str, text(r"^[a-z0-9][a-z0-9.-]{0,62}$", "a name of lower case letters, digits, dots and dashes")]
Version = Annotated[
    str, text(r"^[A-Za-z0-9._-]{1,32}$", "a version: at most 32 letters, digits, dots, dashes and underscores")
]
Release = Annotated[str, text(r"^[A-Za-z0-9._-]+$", 'a release, such as "43"')]
DistributionName = Annotated[
    str, text(r"^[a-z0-9][a-z0-9._-]*$", 'a distribution\'s name, such as "fedora": lower case letters, digits, dots')
]
RepositoryName = Annotated[
    str, text(r"^[A-Za-z0-9][A-Za-z0-9._-]*$", "a repository's name: letters, digits, dots, dashes")
]
PackageName = Annotated[str, text(r"^@?[A-Za-z0-9][A-Za-z0-9+._-]*$", "the name of a package (or of a group, with @)")]
Address = Annotated[
    str,
    text(
        r"^((https?|ftp)://[^\s@]+|file:///\S+)?$", "an address that starts with https://, http://, ftp:// or file:///"
    ),
]
UnitName = Annotated[str, text(r"^[A-Za-z0-9:_.@\\-]+$", "the name of a systemd unit")]
AccountName = Annotated[
    str, text(r"^[a-z_][a-z0-9_-]{0,31}$", "a user or group name: lower case letters, digits, _ and -")
]
Owner = Annotated[
    str, text(r"^[a-z_][a-z0-9_-]{0,31}:[a-z_][a-z0-9_-]{0,31}$", 'an owner, such as "www-data:www-data"')
]
HostName = Annotated[
    str, text(r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$", "a host name: lower case letters, digits, dots and dashes")
]
KernelName = Annotated[
    str, text(r"^[a-z0-9][a-z0-9.-]*$", "a kernel's name: lower case letters, digits, dots and dashes")
]
TimeZone = Annotated[
    str, text(r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", 'a time zone, such as "UTC" or "Europe/Berlin"')
]
Locale = Annotated[str, text(r"^[A-Za-z0-9_.@-]+$", 'a locale, such as "C.UTF-8"')]
Mode = Annotated[str, text(r"^0?[0-7]{3,4}$", 'permissions in octal and in quotes, such as "0644"')]
ScriptName = Annotated[
    str,
    text(r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,62}$", "a script's name: at most 63 letters, digits, dots, dashes, blanks"),
]
UnitFileName = Annotated[
    str,
    text(
        r"^[A-Za-z0-9:_.@\\-]+\.(service|socket|target|timer|mount|path|swap|automount|slice)(\.d/[A-Za-z0-9_.-]+\.conf)?$",
        'the file of a systemd unit, such as "web.service" or "ssh.service.d/own.conf"',
    ),
]
TimerName = Annotated[str, text(r"^[A-Za-z0-9:_-]{1,100}$", "a timer's name without suffix: letters, digits, - and _")]
CommandLine = Annotated[str, text(r"^/[^\n\r\x00]*$", "one line that starts with the path of a program")]
Calendar = Annotated[str, text(r"^[A-Za-z0-9*:,./~_+ -]{1,100}$", 'a time, such as "daily" or "Mon *-*-* 04:00"')]
TimeSpan = Annotated[
    str, text(r"^[0-9]+ ?(s|sec|min|h|d|day|days|w)?( [0-9]+ ?(s|sec|min|h|d))*$", 'a time span, such as "5min"')
]
ModuleName = Annotated[str, text(r"^[A-Za-z0-9_-]{1,64}$", "the name of a kernel module")]
SysctlKey = Annotated[
    str, text(r"^[a-z0-9_-]+([./][A-Za-z0-9_*.:-]+)+$", 'the name of a kernel setting, such as "net.ipv4.ip_forward"')
]
SysctlValue = Annotated[str, text(r"^[^\n\r\x00]{1,1024}$", "one line")]
VariableName = Annotated[str, text(r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable")]
Account = Annotated[str, text(r"^[0-9]{12}$", "an AWS account: twelve digits in quotes, without dashes")]
Bucket = Annotated[
    str, text(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", "a bucket's name: 3 to 63 lower case letters, digits, dots")
]
Prefix = Annotated[
    str, text(r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", "a key prefix: words of letters and digits with / between them")
]
Label = Annotated[
    str, text(r"^[A-Za-z0-9._/-]{1,16}$", "a file system's label: 1 to 16 letters, digits, dots and dashes")
]
BillingProduct = Annotated[str, text(r"^bp-[0-9a-f]{8}$", "a billing product code, such as bp-6fa54006")]
KmsKey = Annotated[
    str,
    # EBS's StartSnapshot takes no alias (KmsKeyArn of its API reference).
    text(r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", "the ARN of a KMS key (arn:...:key/...)"),
]
KmsKeyOfCopies = Annotated[
    str,
    text(
        r"^(default|arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+)$",
        'the ARN of a KMS key (arn:...:key/...), or "default", the account\'s own for EBS',
    ),
]
# Organizations API reference: the patterns of the two ARNs.
OrganizationArn = Annotated[
    str,
    text(
        r"^arn:aws[a-z-]*:organizations::[0-9]{12}:organization/o-[a-z0-9]{10,32}$",
        "the ARN of an organization (arn:...:organization/o-...)",
    ),
]
UnitArn = Annotated[
    str,
    text(
        r"^arn:aws[a-z-]*:organizations::[0-9]{12}:ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}$",
        "the ARN of an organizational unit (arn:...:ou/o-.../ou-...)",
    ),
]
RegionName = Annotated[str, text(r"^[a-z0-9-]{2,32}$", 'the name of a region, such as "eu-west-1"')]
# What the validators check, for the JSON Schema, as far as a pattern can say it: they have the better messages.
GuestPath = Annotated[str, AfterValidator(_guest_path), _schema(pattern=r"^(/(?!\.{1,2}(/|$))[^/\x00]+)+$")]
HostPath = Annotated[str, AfterValidator(_host_path), _schema(pattern="^(/|~/)")]
AuthorPath = Annotated[str, AfterValidator(_author_path), _schema(pattern=r"^(?![/~])(?!(.*/)?\.\.(/|$)).+$")]
SshKey = Annotated[
    str, AfterValidator(_ssh_key), _schema(pattern=r"^(ssh|ecdsa|sk)-[a-z0-9@.-]+ +[A-Za-z0-9+/]+=*( [^\n]*)?$")
]
Size = Annotated[str, AfterValidator(_size), _schema(pattern="^[1-9][0-9]* ?(MiB|GiB)$")]
ImageSize = Annotated[str, AfterValidator(_image_size), _schema(pattern="^(auto|[1-9][0-9]* ?MiB|([1-9]|10) ?GiB)$")]
VolumeSize = Annotated[str, AfterValidator(_volume_size), _schema(pattern="^(auto|[1-9][0-9]* ?(MiB|GiB))$")]
TagKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        json_schema_extra={"pattern": "^(?!([Aa][Ww][Ss]|[Aa][Mm][Ii]-[Ff][Aa][Cc][Tt][Oo][Rr][Yy]):|Name$)"},
    ),
    AfterValidator(_arn_free_tag),
]
TagValue = Annotated[str, Field(max_length=MAX_TAG_VALUE)]


class Repository(Table):
    """Where packages come from: one address, or `repack`."""

    model_config = _one_of("repack", "baseurl", "metalink", "mirrorlist")

    id: RepositoryName = Field(description="Name of the repository.")
    repack: Literal["debian"] | None = Field(
        None, description="Make the repository here, from the host's own Debian archive (the quickstart distribution)."
    )
    baseurl: Address = Field(
        "", description="Address of the directory that holds repodata/; $releasever and $basearch are filled in."
    )
    metalink: Address = Field("", description="Address of a metalink.")
    mirrorlist: Address = Field("", description="Address of a mirror list.")
    gpgcheck: bool = Field(True, description="Check the signature of every package.")
    repo_gpgcheck: bool = Field(False, description="Check the signature of the repository's metadata.")
    keys: tuple[AuthorPath, ...] = Field((), description="Files with public GPG keys, below the recipe's directory.")

    @model_validator(mode="after")
    def _one_origin(self) -> "Repository":
        given = [n for n in ("repack", "baseurl", "metalink", "mirrorlist") if getattr(self, n)]
        if len(given) != 1:
            listed = ", ".join(given) or "none"
            raise ValueError(f"give exactly one of repack, baseurl, metalink, mirrorlist (given: {listed})")
        if not self.repack and not (self.gpgcheck or self.repo_gpgcheck):
            raise ValueError("gpgcheck and repo_gpgcheck are both off: nothing would check what is installed")
        if not self.repack and not self.keys:
            raise ValueError("a repository with an address needs keys: the files of its public GPG keys")
        return self


class Distribution(Table):
    """The distribution that the root tree is made of."""

    id: DistributionName | None = Field(
        None, description="What [[when]] calls it, as ID in its /etc/os-release; the quickstart's needs none."
    )
    installer: Literal["dnf"] = Field("dnf", description="What installs the packages.")
    release: Release = Field(description="The release, as dnf's $releasever.")
    repositories: tuple[Repository, ...] = Field(min_length=1, description="Where packages come from.")
    packages: tuple[PackageName, ...] = Field(min_length=1, description="Packages to install, with what they require.")
    excludes: tuple[PackageName, ...] = Field((), description="Packages that must never be installed.")


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


class User(Table):
    """A user account."""

    name: AccountName = Field(description="Login name.")
    uid: Annotated[int, Field(ge=1, le=65533)] | None = Field(
        None, description="User id; the next free one when left out."
    )
    groups: tuple[AccountName, ...] = Field((), description="Further groups; made when missing.")
    home: GuestPath | None = Field(None, description="Home directory; /home/NAME when left out.")
    shell: GuestPath = Field("/bin/bash", description="Login shell.")
    sudo: bool = Field(False, description="May become root without a password (needs the package sudo).")
    authorized_keys: tuple[SshKey, ...] = Field((), description="Public keys of this user.")


class Group(Table):
    """A group of accounts."""

    name: AccountName = Field(description="Name of the group.")
    gid: Annotated[int, Field(ge=1, le=65533)] | None = Field(
        None, description="Group id; the next free one when left out."
    )


class Overlay(Table):
    """A directory that is laid over the image's root, with its files and links. Files are root's, 0755 if they are
    executable, else 0644, where it is not said otherwise."""

    source: AuthorPath = Field(description="A directory below the recipe's directory.")
    owners: dict[GuestPath, Owner] = Field(
        default_factory=dict,
        description='Path in the image to "user:group", for a file and all files below a directory.',
    )
    modes: dict[GuestPath, Mode] = Field(
        default_factory=dict,
        description="Path in the image to permissions, for a file and all files below a directory.",
    )


class File(Table):
    """A file, a directory of files, or a template, put into the image."""

    model_config = _one_of("source", "content")

    destination: GuestPath = Field(description="Where it goes.")
    source: AuthorPath | None = Field(None, description="A file or directory below the recipe's directory.")
    content: str | None = Field(None, description="The text itself, instead of source.")
    template: bool = Field(False, description="The text is a Jinja2 template.")
    owner: AccountName = Field(
        "root", description="Owner of the files; directories that have to be made for them are root's, 0755."
    )
    group: AccountName = Field("root", description="Group.")
    mode: Mode | None = Field(
        None, description='Permissions in octal, such as "0644"; left out: 0755 if the source is executable, else 0644.'
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "File":
        if (self.source is None) == (self.content is None):
            raise ValueError("give exactly one of source and content")
        return self


class Script(Table):
    """A program of the author's, run as root in the tree, in a sandbox of its own; cached as a step of its own."""

    model_config = _one_of("run", "source")

    name: ScriptName | None = Field(
        None, description="What it is called in messages, and by recipes that replace or remove it."
    )
    run: str | None = Field(None, description="The script's text; /bin/sh -eu unless it starts with #!.")
    source: AuthorPath | None = Field(None, description="A file below the recipe's directory, instead of run.")
    after: Literal["packages", "kernel"] = Field("packages", description="When: before the kernel is there, or after.")
    network: bool = Field(
        False, description="Let it reach the network (then its result depends on more than the recipe)."
    )
    environment: dict[VariableName, str] = Field(
        default_factory=dict, description="Environment variables. They end up in keys and logs: no secrets."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "Script":
        if (self.run is None) == (self.source is None):
            raise ValueError("give exactly one of run and source")
        return self


class Services(Table):
    """systemd units, by their names."""

    enable: tuple[UnitName, ...] = Field((), description="Start at boot.")
    disable: tuple[UnitName, ...] = Field((), description="Do not start at boot.")
    mask: tuple[UnitName, ...] = Field((), description="Can not be started at all.")


class Unit(Table):
    """A systemd unit of the author's, put into /etc/systemd/system."""

    model_config = _one_of("source", "content")

    name: UnitFileName = Field(
        description='Name with its suffix: "web.service"; "ssh.service.d/own.conf" for a drop-in.'
    )
    source: AuthorPath | None = Field(None, description="A file below the recipe's directory.")
    content: str | None = Field(None, description="The text itself, instead of source.")
    enable: bool = Field(True, description="Start it at boot, as its [Install] says; a unit without one, never.")

    @model_validator(mode="after")
    def _one_origin(self) -> "Unit":
        if (self.source is None) == (self.content is None):
            raise ValueError("give exactly one of source and content")
        return self


class Timer(Table):
    """A systemd timer: a command, or a service that is there, run again and again. It is enabled."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["run"]}, {"required": ["service"]}],
            "anyOf": [{"required": ["calendar"]}, {"required": ["boot"]}],
            "dependentRequired": {"user": ["run"]},
        }
    )

    name: TimerName = Field(description="Name, without a suffix: NAME.timer, and NAME.service for a command.")
    run: CommandLine | None = Field(None, description="The command: a program's path and its arguments (ExecStart=).")
    service: UnitName | None = Field(None, description="A service to start, instead of run.")
    user: AccountName | None = Field(None, description="Who runs the command; root when left out.")
    calendar: Calendar | None = Field(None, description='When, as systemd.time(7) has it: "daily", "Mon *-*-* 04:00".')
    boot: TimeSpan | None = Field(None, description='So long after the boot: "5min".')
    every: TimeSpan | None = Field(None, description='Again so long after it was done: "1h".')
    random_delay: TimeSpan | None = Field(None, description="Up to so much later: not all instances at one moment.")
    persistent: bool = Field(False, description="With calendar: make up for a time when the instance was off.")

    @model_validator(mode="after")
    def _whole(self) -> "Timer":
        if (self.run is None) == (self.service is None):
            raise ValueError("give exactly one of run and service")
        if self.calendar is None and self.boot is None:
            raise ValueError("give calendar or boot: nothing would ever start it")
        if self.user is not None and self.run is None:
            raise ValueError("user is of use only with run: a service says itself who runs it")
        return self


class Modules(Table):
    """Kernel modules, once the root is mounted; what the initrd holds follows the kernel."""

    load: tuple[ModuleName, ...] = Field((), description="Load at boot.")
    blacklist: tuple[ModuleName, ...] = Field((), description="Do not load for a device; by name it still can be.")


class Selinux(Table):
    """SELinux, where the distribution has a policy for it. Files are labelled by the guest at its first boot."""

    mode: Literal["enforcing", "permissive", "disabled"] = Field(description="The mode that it boots in.")


class Image(Table):
    """The loopback image."""

    size: ImageSize = Field(
        "auto", description='"auto", or a size such as "2GiB"; at most 10GiB. A disk of hvm is rounded up to whole GiB.'
    )
    free: Size = Field("256MiB", description='Space to leave free when size is "auto".')
    filesystem: Literal["ext3", "ext4"] = Field("ext4", description="File system of the root.")
    label: Label = Field("root", description="Its label.")


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


class Bundle(Table):
    """How the image becomes a bundle. Account, certificate and key left out: they are made once, and said so."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"certificate": ["private_key"], "private_key": ["certificate"]},
        }
    )

    account: Account | None = Field(
        None, description="AWS account, twelve digits; the local region has an account of its own."
    )
    certificate: HostPath | None = Field(
        None, description="Your X.509 certificate (PEM): a path that starts with / or ~/."
    )
    private_key: HostPath | None = Field(
        None, description="Its private key (PEM), such a path too; only the path is ever kept."
    )
    bucket: Bucket | None = Field(None, description="S3 bucket; ami-factory-ACCOUNT-REGION when left out.")
    prefix: Prefix | None = Field(None, description="Key prefix in the bucket; the recipe's name when left out.")
    compression: Literal["fast", "small"] = Field(
        "fast",
        description="fast, or small: an eighth fewer bytes to upload and to keep, for several times the work.",
    )

    @model_validator(mode="after")
    def _pair(self) -> "Bundle":
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together: give both or neither")
        return self


class Register(Table):
    """How the AMI is registered."""

    name: str = Field(
        "{{ name }}-{{ version }}-{{ architecture }}-{{ virtualization }}-{{ instance_type }}-{{ key12 }}",
        description="Template of the AMI's name; must hold {{ key12 }}, which makes it unique to its content.",
        json_schema_extra={"pattern": r"\{\{\s*key12\s*\}\}"},
    )
    description: str = Field("{{ description }}", description="Template of the AMI's description.")
    tags: dict[TagKey, TagValue] = Field(default_factory=dict, description="Tags of the AMI; values are templates.")
    boot_mode: Literal["uefi-preferred", "uefi", "legacy-bios"] = Field(
        "uefi-preferred",
        description="hvm: which firmware starts it; uefi-preferred: UEFI where the instance type has it, else BIOS. "
        "32 bits are always legacy-bios.",
    )
    imds: Literal["required", "optional"] = Field(
        "required", description="hvm: whether instances ask the metadata service with a token only (IMDSv2)."
    )
    tpm: bool = Field(False, description="hvm: instances get a TPM 2.0; needs boot_mode uefi.")
    ena: bool = Field(True, description="hvm: enhanced networking with ENA, which every Nitro type needs.")
    sriov: bool = Field(False, description="hvm: enhanced networking with Intel's 82599, of the types before ENA.")
    billing_products: tuple[BillingProduct, ...] = Field((), description="Billing product codes, if EC2 gave you any.")

    @model_validator(mode="after")
    def _key12(self) -> "Register":
        if not re.search(r"{{\s*key12\s*}}", self.name):
            raise ValueError("name must hold {{ key12 }}: two builds must never ask for one name")
        return self

    @model_validator(mode="after")
    def _few_tags(self) -> "Register":
        if len(self.tags) > MAX_TAGS:
            raise ValueError(f"{len(self.tags)} tags are more than the {MAX_TAGS} that EC2 leaves room for")
        return self


class Volume(Table):
    """The EBS volume that an instance of an hvm AMI gets as its root, and the snapshot that it is made of."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["kms_key"]},
            "then": {"required": ["encrypted"], "properties": {"encrypted": {"const": True}}},
        }
    )

    type: Literal["gp3", "gp2", "io2", "io1", "standard"] = Field("gp3", description="Volume type.")
    size: VolumeSize = Field(
        "auto", description='"auto", the disk\'s own size; or a size in GiB: the root grows to it.'
    )
    iops: Annotated[int, Field(ge=100, le=256000)] | None = Field(
        None, description="IOPS to pay for, of gp3, io1 and io2; EC2's default when left out."
    )
    throughput: Annotated[int, Field(ge=125, le=2000)] | None = Field(
        None, description="MiB/s to pay for, of gp3; EC2's default when left out."
    )
    encrypted: bool = Field(False, description="Encrypt the snapshot.")
    kms_key: KmsKey | None = Field(
        None,
        description="ARN of the KMS key to encrypt with, not of an alias; the account's own for EBS when left out.",
    )
    delete_on_termination: bool = Field(True, description="Delete the volume with its instance.")

    @model_validator(mode="after")
    def _key_of_encrypted(self) -> "Volume":
        if self.kms_key and not self.encrypted:
            raise ValueError("kms_key is of use only with encrypted = true")
        return self


class Publish(Table):
    """Where the AMI is to be used, and by whom. `build` ends with it, when the table is there; docs/publish.md."""

    regions: tuple[RegionName, ...] = Field(
        (), description="Regions that must have a copy; nothing is promoted before."
    )
    best_effort: tuple[RegionName, ...] = Field(
        (), description="Regions that should have one: when it fails there, the build goes on and says so."
    )
    kms_keys: dict[RegionName, KmsKeyOfCopies] = Field(
        default_factory=dict,
        description='By region, what its copy is encrypted with: the ARN of a KMS key there, or "default". Others are '
        "as their source is.",
    )
    accounts: tuple[Account, ...] = Field((), description="Accounts that may launch it.")
    organizations: tuple[OrganizationArn, ...] = Field((), description="Organizations that may, by their ARNs.")
    units: tuple[UnitArn, ...] = Field((), description="Organizational units that may, by their ARNs.")
    public: bool = Field(False, description="Everybody may; its snapshots are public as well, so never encrypted.")
    parameters: tuple[str, ...] = Field(
        (), description="Names of SSM parameters that get this AMI's id, in every region that has it; templates."
    )
    latest: tuple[str, ...] = Field(
        (), description="Names of those that say the newest one's id: written last, all of them or none; templates."
    )
    promote: Literal["build", "by-hand"] = Field(
        "build", description="Who writes the latest ones: every build, or only `ami-factory images promote`."
    )
    deprecate_after: str | None = Field(
        None, description='Deprecate the AMI that long after it was made: a number with d, w, m or y, such as "90d".'
    )
    deprecate_on: str | None = Field(None, description='Or on this day: "2027-01-31".')
    protect: Literal["no", "on", "cooldown"] = Field(
        "no", description="Deregistration protection; cooldown: for a day after it is switched off, too."
    )

    @field_validator("deprecate_after")
    @classmethod
    def _duration(cls, text: str | None) -> str | None:
        if text is not None:
            parse_days(text)
        return text

    @field_validator("deprecate_on")
    @classmethod
    def _date(cls, text: str | None) -> str | None:
        return None if text is None else parse_date(text)

    @model_validator(mode="after")
    def _one_date(self) -> "Publish":
        if self.deprecate_after and self.deprecate_on:
            raise ValueError("give deprecate_after or deprecate_on, not both")
        return self

    @model_validator(mode="after")
    def _regions_once(self) -> "Publish":
        for name in self.best_effort:
            if name in self.regions:
                raise ValueError(f'"{name}" stands under regions and under best_effort: it is one or the other')
        for name in self.kms_keys:
            key = self.kms_keys[name]
            if name not in (*self.regions, *self.best_effort):
                raise ValueError(f'kms_keys has "{name}", which no copy goes to')
            if key != "default" and key.split(":")[3] != name:
                raise ValueError(
                    f'the KMS key for "{name}" is one of {key.split(":")[3]}: a copy needs a key of its region'
                )
        return self

    @model_validator(mode="after")
    def _never_public_and_encrypted(self) -> "Publish":
        if self.public and self.kms_keys:
            raise ValueError(
                "an AMI with encrypted snapshots cannot be public (EC2 User Guide): drop public or kms_keys"
            )
        return self


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
    sysctl: dict[SysctlKey, SysctlValue] = Field(
        default_factory=dict, description='Settings of the kernel, as texts: "net.ipv4.ip_forward" = "1".'
    )
    modules: Modules = Field(Modules(), description="Kernel modules.")
    selinux: Selinux | None = Field(None, description="SELinux.")
    image: Image = Field(Image(), description="The image.")
    boot: Boot = Field(Boot(), description="The boot proof.")
    bundle: Bundle = Field(Bundle(), description="The bundle.")
    register_: Register = Field(Register(), alias="register", description="The AMI.")
    volume: Volume = Field(Volume(), description="The root volume of hvm.")
    publish: Publish | None = Field(None, description="Other regions, other accounts, SSM parameters.")

    @model_validator(mode="after")
    def _public_is_readable(self) -> "Recipe":
        if self.publish and self.publish.public and self.volume.encrypted:
            raise ValueError(
                "publish.public and volume.encrypted do not go together: an AMI with encrypted snapshots cannot be "
                "public (EC2 User Guide)"
            )
        return self
