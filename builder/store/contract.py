"""What a store promises; builder/store/local.py is the one on this machine's disk."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is kept of a finished step beside its files."""

    key: str
    stage: str
    version: int
    spec: dict[str, Any]
    inputs: dict[str, str]
    result: dict[str, Any]
    created: int
    """Seconds since 1970."""
    milliseconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """A finished output, or the receipt of a remote effect."""

    path: Path
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Where one running step writes, on the store's own file system."""

    output: Path
    scratch: Path


class Store(Protocol):
    def has(self, key: str) -> bool:
        """Whether the object is there, whole. One stat."""

    def get(self, key: str) -> Object:
        """The object; KeyError when it is not there."""

    def put(self, record: Record, output: Path, *, replace: bool = False) -> Object:
        """Commit `output` as the object, by rename. With an object already there it is kept, unless `replace`."""

    def lease(self, key: str, seconds: float, *, stopped: Callable[[], bool]) -> AbstractContextManager[None]:
        """Wait until no other build makes `key`, then hold it; it ends with this process, however that ends.

        Waiting is given up (builder.store.local.Busy) once `stopped()`. `seconds` is how long a store on another
        machine may take the holder for alive without hearing of it.
        """

    def workspace(self, key: str) -> AbstractContextManager[Workspace]:
        """Empty directories for one run of a step; removed afterwards, also by the next build if this one is killed."""
