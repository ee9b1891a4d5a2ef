"""The words of a recipe: what a text must look like, each with what to write instead. Pure."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from builder.catalog.tables import suggestion, text
from builder.formats.toml import printable
from builder.stages.verify.spec import FINDINGS

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


def _finding(text: str) -> str:
    if text not in FINDINGS:
        known = suggestion(text, FINDINGS) or f"; there are {', '.join(FINDINGS)}"
        raise ValueError(f'"{printable(text)}" is nothing that verify finds{known}')
    return text


_DURATION = re.compile(r"([1-9][0-9]{0,5}) ?(s|min|h)")


def parse_duration(text: str) -> int:
    """Seconds of "90s", "10min" or "2h". ValueError for anything else, with what to write."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not a time: write a whole number with s, min or h, such as "10min"')
    return int(found[1]) * {"s": 1, "min": 60, "h": 3600}[found[2]]


def _duration(text: str) -> str:
    parse_duration(text)
    return text


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


def _image_place(text: str) -> str:
    if text.startswith("ami-"):
        if not re.fullmatch(r"ami-([0-9a-f]{8}|[0-9a-f]{17})", text):
            raise ValueError(f'"{text}" is no id of an AMI')
        return text
    if text.startswith("s3://"):
        if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/\S+", text):
            raise ValueError(f'"{text}" is not s3://BUCKET/PREFIX/NAME.manifest.xml')
        return text
    if "://" in text:
        raise ValueError(f'"{text}": images are fetched from S3 alone: fetch it yourself and give its path')
    return _host_path(text) if text.startswith(("/", "~")) else _author_path(text)


def _ssh_key(text: str) -> str:
    parts = text.split()
    kinds = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
             "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")  # fmt: skip
    if "PRIVATE KEY" in text:
        raise ValueError("this is a private key: give the public half (the .pub file's line)")
    if "\n" in text or len(parts) < 2 or parts[0] not in kinds or not re.fullmatch(r"[A-Za-z0-9+/]+=*", parts[1]):
        raise ValueError('not a public SSH key: write the one line of the .pub file, such as "ssh-ed25519 AAAA... you"')
    return text


def schema(**keywords: Any) -> Any:
    """More of the JSON Schema for a type than pydantic sees."""
    return Field(json_schema_extra=keywords)


def one_of(*names: str) -> ConfigDict:
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
ArchiveLabel = Annotated[
    str, text(r"^([A-Za-z][A-Za-z0-9 ._-]*)?$", 'the label of an archive, as in its Release files: such as "Debian"')
]
Suite = Annotated[
    str, text(r"^(\$releasever|[a-z0-9])[A-Za-z0-9._/-]*$", 'a suite of an archive, such as "$releasever-updates"')
]
Component = Annotated[str, text(r"^[a-z][a-z0-9-]*$", 'a component of an archive, such as "main"')]
KeyringName = Annotated[
    str, text(r"^([a-z0-9][A-Za-z0-9._-]*)?$", 'a keyring\'s name, such as "debian-archive-keyring"')
]
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
# No user and no password: an address is shown, and written into logs.
MIRROR = r"^((https?|ftp)://[^\s@]+|file:///\S+)$"
MirrorAddress = Annotated[
    str, text(MIRROR, "the address of a mirror, which starts with https://, http://, ftp:// or file:///")
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
FindingName = Annotated[str, AfterValidator(_finding), schema(enum=list(FINDINGS))]
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
GuestPath = Annotated[str, AfterValidator(_guest_path), schema(pattern=r"^(/(?!\.{1,2}(/|$))[^/\x00]+)+$")]
HostPath = Annotated[str, AfterValidator(_host_path), schema(pattern="^(/|~/)")]
AuthorPath = Annotated[str, AfterValidator(_author_path), schema(pattern=r"^(?![/~])(?!(.*/)?\.\.(/|$)).+$")]
ImagePlace = Annotated[str, AfterValidator(_image_place), schema(minLength=1)]
Sha256 = Annotated[str, text(r"^[0-9a-f]{64}$", "a SHA-256: 64 lower case hex digits")]
SshKey = Annotated[
    str, AfterValidator(_ssh_key), schema(pattern=r"^(ssh|ecdsa|sk)-[a-z0-9@.-]+ +[A-Za-z0-9+/]+=*( [^\n]*)?$")
]
Size = Annotated[str, AfterValidator(_size), schema(pattern="^[1-9][0-9]* ?(MiB|GiB)$")]
Duration = Annotated[str, AfterValidator(_duration), schema(pattern="^[1-9][0-9]{0,5} ?(s|min|h)$")]
ImageSize = Annotated[str, AfterValidator(_image_size), schema(pattern="^(auto|[1-9][0-9]* ?MiB|([1-9]|10) ?GiB)$")]
VolumeSize = Annotated[str, AfterValidator(_volume_size), schema(pattern="^(auto|[1-9][0-9]* ?(MiB|GiB))$")]
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
