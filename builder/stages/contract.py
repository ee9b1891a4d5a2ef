"""What a stage is, and what its `run` gets to see.

A stage is a folder with `spec.py` (pure: a frozen dataclass that decides the output) and `run.py`
(effectful: `run(spec, context) -> Result`). `run` sees its spec, its inputs, its output and scratch
directories and the surroundings of this machine, nothing else. Every `run` has a process of its own
(builder/worker.py); stages with `namespace=True` run as root of a private user, mount and PID namespace,
so a mount or a daemon cannot outlive them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

Result = Mapping[str, Any]
"""What a step says of its output: plain JSON data, kept in the object's record and shown to later steps.

`digests` (file name to hex SHA-256) is checked by `store verify`; every other field is the stage's own.
"""


class Spec(Protocol):
    """Everything that decides a step's output, apart from its inputs: a frozen dataclass of plain data."""

    VERSION: ClassVar[int]  # Raise when `run` would write other bytes for an equal spec.


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A finished object that a step is made from. Never written to."""

    name: str
    path: Path
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where things are on this machine: never part of a key."""

    state: Path
    """Keys and certificates of the user, mode 0700."""
    cache: Path
    """Downloads that may be deleted at any time (.deb files, RPMs, the guestfs appliance)."""
    trees: Path
    """Unpacked layers, a cache that may be deleted at any time; owned by subordinate ids."""
    endpoint_url: str | None = None
    profile: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of a file of the recipe's author, to where it is; `run` checks the digest as it reads."""
    mirrors: Mapping[str, str] = field(default_factory=dict)
    """A repository's id to the address it is taken from on this machine, instead of the one in its spec."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Name of a secret (`private_key`, `signing_key`) to the file that holds it; never its value."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Those of host/limits.py that are not the usual ones."""


class Progress(Protocol):
    """Says how far a step is. `unit` is "bytes" or a plural noun."""

    def __call__(self, what: str, done: int, total: int, unit: str = "bytes") -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StageContext:
    """What `run` gets besides its spec."""

    key: str
    inputs: tuple[Input, ...]
    output: Path
    """An empty directory; its files become the object when `run` returns. Nothing there is kept on failure."""
    scratch: Path
    """An empty directory on the store's file system, removed afterwards, whatever happens."""
    surroundings: Surroundings
    progress: Progress
    note: Any = print
    """`note(text)`: a line that the user should see even when all goes well (a warning)."""

    def input(self, name: str) -> Input:
        """The one input of that name; KeyError if there is none."""
        for each in self.inputs:
            if each.name == name:
                return each
        raise KeyError(name)

    @property
    def layers(self) -> tuple[Input, ...]:
        """The inputs that are layers of a root tree, lowest first: those that hold `layer.tar`."""
        return tuple(each for each in self.inputs if (each.path / "layer.tar").exists())
