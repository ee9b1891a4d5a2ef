"""The packages of our own: the accounts, then the base with the skeleton and what no other package brings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Template

from builder.errors import BuilderError
from builder.formats.deb import Version, parse_version
from builder.stages.repository.convert import Workplace, add_file, add_link, build
from builder.stages.repository.definition import Definition, Group, User
from builder.stages.repository.rpmspec import Rpm
from builder.stages.repository.tree import Accounts, Entry, Kind

PASSWD_MASTER = "/usr/share/base-passwd/passwd.master"
GROUP_MASTER = "/usr/share/base-passwd/group.master"
OS_RELEASE = "/usr/lib/os-release"


def merge_users(master: str, extra: Iterable[User]) -> tuple[User, ...]:
    """base-passwd's users and ours, by number; a name or number that is there twice is an error."""
    users = []
    for line in master.splitlines():
        name, _, uid, gid, gecos, home, shell = line.split(":")
        users.append(User(name=name, uid=int(uid), gid=int(gid), gecos=gecos, home=home, shell=shell))
    users += extra
    _require_unique("user", [each.name for each in users], [each.uid for each in users])
    return tuple(sorted(users, key=lambda each: each.uid))


def merge_groups(master: str, extra: Iterable[Group]) -> tuple[Group, ...]:
    """base-passwd's groups and ours, by number; a name or number that is there twice is an error."""
    groups = [Group(name=line.split(":")[0], gid=int(line.split(":")[2])) for line in master.splitlines()]
    groups += extra
    _require_unique("group", [each.name for each in groups], [each.gid for each in groups])
    return tuple(sorted(groups, key=lambda each: each.gid))


def _require_unique(kind: str, names: list[str], numbers: list[int]) -> None:
    for values in (names, numbers):
        twice = sorted(each for each in set(values) if list(values).count(each) > 1)  # type: ignore[type-var]
        if twice:
            raise BuilderError(
                f"the {kind} {twice[0]} is both in base-passwd and in quickstart.toml, or twice in one of them"
            )


def accounts_of(users: Iterable[User], groups: Iterable[Group]) -> Accounts:
    return Accounts(users={each.uid: each.name for each in users}, groups={each.gid: each.name for each in groups})


def format_accounts(users: Iterable[User], groups: Iterable[Group]) -> dict[str, str]:
    """passwd, group, shadow and gshadow. Nobody has a password, and no date of its last change is claimed."""
    users, groups = tuple(users), tuple(groups)
    return {
        "/etc/passwd": "".join(f"{u.name}:x:{u.uid}:{u.gid}:{u.gecos}:{u.home}:{u.shell}\n" for u in users),
        "/etc/group": "".join(f"{g.name}:x:{g.gid}:\n" for g in groups),
        "/etc/shadow": "".join(f"{u.name}:*::0:99999:7:::\n" for u in users),
        "/etc/gshadow": "".join(f"{g.name}:*::\n" for g in groups),
    }


def parse_os_release(text: str) -> dict[str, str]:
    """os-release(5) as names and values, quotes taken off."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name: value.strip("\"'") for name, _, value in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What the two packages of our own are made of, besides the definition."""

    users: tuple[User, ...]
    groups: tuple[Group, ...]
    source: Mapping[str, str]
    """The os-release of the distribution that the packages come from."""
    essential: tuple[str, ...]
    architecture: str
    """RPM's word."""
    epoch: int
    """Build time: the newest of the repository."""

    @property
    def version(self) -> str:
        return self.source.get("VERSION_ID", "0")


def build_accounts(definition: Definition, foundation: Foundation, place: Workplace) -> None:
    """Build the package of /etc/passwd and /etc/group: all its files are root's, so that it can be the first."""
    place.root.mkdir(parents=True)
    files = format_accounts(foundation.users, foundation.groups)
    build(
        Rpm(
            name=definition.accounts,
            version=_version(definition, foundation),
            architecture="noarch",
            summary="Users and groups of the ami-factory quickstart distribution",
            epoch_seconds=foundation.epoch,
            entries=tuple(add_file(place.root, path, files[path]) for path in ("/etc/group", "/etc/passwd")),
        ),
        place,
    )


def build_base(definition: Definition, foundation: Foundation, place: Workplace) -> None:
    """Build the package that all others require: it comes after the accounts and before everything else."""
    place.root.mkdir(parents=True)
    entries = [*_skeleton(definition, place), *_files(definition, foundation, place)]
    files = format_accounts(foundation.users, foundation.groups)
    entries += [
        add_file(place.root, path, files[path], mode=0o640, group="shadow") for path in ("/etc/shadow", "/etc/gshadow")
    ]
    build(
        Rpm(
            name=definition.base,
            version=_version(definition, foundation),
            architecture=foundation.architecture,
            summary="Skeleton and settings of the ami-factory quickstart distribution",
            epoch_seconds=foundation.epoch,
            requires_pre=(definition.accounts,),
            requires=foundation.essential,
            provides=(f"system-release = {foundation.version}",),
            entries=tuple(sorted(entries, key=lambda entry: entry.path)),
            scriptlets=tuple(each for each in definition.scriptlets if each.package == definition.base),
        ),
        place,
    )


def _version(definition: Definition, foundation: Foundation) -> Version:
    return parse_version(f"{foundation.version}-{definition.release}")


def _skeleton(definition: Definition, place: Workplace) -> list[Entry]:
    entries = []
    for each in definition.directories:
        (place.root / each.path[1:]).mkdir(parents=True, exist_ok=True)
        entries.append(Entry(path=each.path, kind=Kind.DIRECTORY, mode=each.mode, owner=each.owner, group=each.group))
    return entries + [add_link(place.root, link.path, link.target) for link in definition.base_links]


def _files(definition: Definition, foundation: Foundation, place: Workplace) -> list[Entry]:
    words = {
        "id": foundation.source.get("ID", "linux"),
        "name": foundation.source.get("NAME", "Linux"),
        "version": foundation.version,
        "epoch": str(foundation.epoch),
    }
    return [
        add_file(place.root, file.path, Template(file.text).substitute(words), mode=file.mode, group=file.group)
        for file in definition.files
        if file.package == definition.base
    ]
