"""The `customise` stage: the author's users and files, or one of the author's scripts, as one layer each."""

from dataclasses import dataclass
from typing import ClassVar

from builder.canonical import later


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    name: str
    uid: int | None = None
    groups: tuple[str, ...] = ()
    home: str = ""
    shell: str = "/bin/bash"
    sudo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One regular file. `text` is what a template or `content` gave; else the bytes are found by `sha256`."""

    destination: str
    owner: str
    group: str
    mode: int
    sha256: str
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    name: str
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    name: str
    text: str
    network: bool = False
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomiseSpec:
    """Output: `layer.tar`. Inputs: the layers below, in order. First the users, then the files, then the script."""

    VERSION: ClassVar[int] = 1

    source_epoch: int
    users: tuple[User, ...] = ()
    files: tuple[File, ...] = ()
    script: Script | None = None
    groups: tuple[Group, ...] = later(())
    """Made before the users."""
    links: tuple[Link, ...] = later(())
    """Made after the files."""
