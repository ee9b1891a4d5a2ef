"""What a recipe says of the system in the image: users, files, scripts, units and the like."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from builder.catalog.tables import Table
from builder.recipe.words import (
    AccountName,
    AuthorPath,
    Calendar,
    CommandLine,
    Duration,
    FindingName,
    GuestPath,
    Mode,
    ModuleName,
    Owner,
    ScriptName,
    Size,
    SshKey,
    TimerName,
    TimeSpan,
    UnitFileName,
    UnitName,
    VariableName,
    one_of,
)


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

    model_config = one_of("source", "content")

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


class Limits(Table):
    """What a program of the recipe may take of the machine that builds. One that takes more is stopped. No limit is
    part of a key: raising one re-runs nothing."""

    time: Duration | None = Field(None, description='How long it may run: "1h" when left out.')
    memory: Size | None = Field(
        None, description="Memory, files in /tmp, /run and /dev/shm too: 4GiB (on a small machine 3/4 of what it has)."
    )
    processes: Annotated[int, Field(ge=8, le=1_000_000)] | None = Field(
        None, description="Processes and threads at one time: 2048."
    )
    disk: Size | None = Field(None, description="What it may write to the tree: 10GiB.")
    log: Size | None = Field(None, description="What it may write to its log: 64MiB.")


class Script(Table):
    """A program of the author's, run as root in the tree, in a sandbox of its own; cached as a step of its own."""

    model_config = one_of("run", "source")

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
    limits: Limits = Field(Limits(), description="Other limits for this script than the recipe's.")

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

    model_config = one_of("source", "content")

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


class Waiver(Table):
    """Findings of `verify` that are meant to be so."""

    id: FindingName = Field(description="What verify calls them, such as setuid: docs/verify.md has the list.")
    path: Annotated[str, Field(min_length=1)] = Field(
        "*", description="Where: a path, or a pattern of paths, in which * also stands for /."
    )
    reason: Annotated[str, Field(min_length=1, max_length=1000)] = Field(
        description="Why it is right here; it goes into the report."
    )


class Verify(Table):
    """What `verify` finds in the image."""

    waive: tuple[Waiver, ...] = Field((), description="Findings to accept.")


class Selinux(Table):
    """SELinux, where the distribution has a policy for it. Files are labelled by the guest at its first boot."""

    mode: Literal["enforcing", "permissive", "disabled"] = Field(description="The mode that it boots in.")
