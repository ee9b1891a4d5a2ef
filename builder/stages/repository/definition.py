"""The stage's own data, `quickstart.toml`: what Debian makes in maintainer scripts, as values with their reasons."""

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from builder.errors import BuilderError

DATA = Path(__file__).with_name("quickstart.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    gecos: str = ""
    home: str = "/"
    shell: str = "/usr/sbin/nologin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A line of /etc/group; no group of ours has members."""

    name: str
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    path: str
    mode: int
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    package: str
    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """`text` may name ${id}, ${name}, ${version} of the source distribution and ${epoch} of the repository."""

    package: str
    path: str
    text: str
    mode: int = 0o644
    group: str = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A configuration file that starts as a copy of a file of the same package, or of one that it requires."""

    package: str
    origin: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    package: str
    path: str
    mode: int
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Omission:
    """Paths and all below them that are left out of `package`, or of every one when it is empty."""

    package: str
    paths: tuple[str, ...]
    keep: tuple[str, ...] = ()
    """Base names that stay, with the directories above them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scriptlet:
    """A shell text that runs once after a transaction that brought files below one of the paths `on`."""

    package: str
    on: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    base: str
    accounts: str
    release: str
    users: tuple[User, ...]
    groups: tuple[Group, ...]
    directories: tuple[Directory, ...]
    links: tuple[Link, ...]
    files: tuple[TextFile, ...]
    copies: tuple[Copy, ...]
    attributes: tuple[Attributes, ...]
    omissions: tuple[Omission, ...]
    scriptlets: tuple[Scriptlet, ...]

    @property
    def skeleton(self) -> frozenset[str]:
        """Directories and links that only the base package has, and /; a package that ships one of them loses it."""
        return frozenset(["/", *(each.path for each in self.directories), *(each.path for each in self.base_links)])

    @property
    def base_links(self) -> tuple[Link, ...]:
        return tuple(each for each in self.links if each.package == self.base)


@cache
def definition_digest() -> str:
    """SHA-256 of all that turns .deb files into RPMs: the stage's data, and its code. Part of the spec.

    The code too: an RPM whose bytes changed under an equal key would no longer be the one that a lock pins.
    """
    digest = hashlib.sha256()
    for path in sorted([DATA, *DATA.parent.glob("*.py")]):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def load_definition(path: Path = DATA) -> Definition:
    """Read the data file. Every entry must say why; anything unknown in it is an error."""
    with path.open("rb") as file:
        data = tomllib.load(file)
    if data.pop("format", None) != 1:
        raise BuilderError(f"{path.name}: format is not 1")
    base = str(data.pop("base"))
    entries = {kind: list(_explained(path, kind, data.pop(kind, []))) for kind in _KINDS}
    definition = Definition(
        base=base,
        accounts=str(data.pop("accounts")),
        release=str(data.pop("release")),
        users=tuple(User(**each) for each in entries["user"]),
        groups=tuple(Group(**each) for each in entries["group"]),
        directories=tuple(
            Directory(path=one, mode=_mode(each), group=each.get("group", "root"))
            for each in entries["directories"]
            for one in each["paths"]
        ),
        links=tuple(
            Link(package=each.get("package", base), path=one, target=target)
            for each in entries["links"]
            for one, target in each["links"].items()
        ),
        files=tuple(
            TextFile(**{"package": base, **each, "mode": _mode(each), "text": each["text"].removeprefix("\n")})
            for each in entries["file"]
        ),
        copies=tuple(Copy(package=each["package"], origin=each["from"], path=each["to"]) for each in entries["copy"]),
        attributes=tuple(Attributes(**{**each, "mode": _mode(each)}) for each in entries["attributes"]),
        omissions=tuple(
            Omission(package=each.get("package", ""), paths=tuple(each["paths"]), keep=tuple(each.get("keep", ())))
            for each in entries["omit"]
        ),
        scriptlets=tuple(Scriptlet(**{**each, "on": tuple(each["on"])}) for each in entries["scriptlet"]),
    )
    if data:
        raise BuilderError(f"{path.name}: {min(data)!r} is not known")
    return definition


_KINDS = ("user", "group", "directories", "links", "file", "copy", "attributes", "omit", "scriptlet")


def _explained(path: Path, kind: str, entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        if not entry.get("why"):
            raise BuilderError(f"{path.name}: an entry of [[{kind}]] does not say why", detail=str(entry))
        yield {name: value for name, value in entry.items() if name != "why"}


def _mode(entry: Mapping[str, Any]) -> int:
    return int(entry.get("mode", "0644"), 8)
