"""A bundle in a directory: parts come in under names of their own, and get theirs when all of them are there."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import BinaryIO

from builder.errors import BuilderError, RecipeError
from builder.formats.bundle_manifest import SIZE_LIMIT, Part
from builder.formats.bundle_stream import PartDigest

PREFIX = ".ami-factory-bundle-"
"""Of the directories that are ours, in a destination."""

_PIECE = 1 << 20
_PART = re.compile(r".+\.part\.[0-9]+")


def read_manifest_file(path: Path) -> bytes:
    """What stands in a manifest file, of one that is too long no more than tells so; RecipeError when it cannot be."""
    try:
        with path.open("rb") as file:
            return file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise RecipeError(f"the manifest {path} cannot be read: {error.strerror}", hint="check the path") from error


class DirectorySink:
    """Takes a bundle's parts into a private directory inside `directory`; `keep` puts them where they belong.

    A context manager: at its end nothing is left but what was kept, whatever happened. Killed, it leaves its private
    directory, which the next one in the same place clears away.
    """

    def __init__(self, directory: Path, name: str, *, force: bool = False) -> None:
        self._directory = directory
        self._name = name
        self._force = force
        self._file: BinaryIO | None = None

    def __enter__(self) -> "DirectorySink":
        self._refuse_others()
        clear_stale(self._directory)
        self._private, self._lock = private_directory(self._directory)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._file is not None:
            with suppress(OSError):  # a full disk: what could not be written must not keep the rest from going
                self._file.close()
        shutil.rmtree(self._private, ignore_errors=True)
        os.close(self._lock)

    def write(self, index: int, data: memoryview) -> None:
        if self._file is None:
            self._file = (self._private / f"{index}").open("xb")
        self._file.write(data)

    def end(self, index: int, digest: PartDigest) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None

    def keep(self, parts: tuple[str, ...], manifest_name: str, manifest: bytes) -> Path:
        """Give the parts their names, and the manifest its own after them. The manifest's path.

        All or nothing: should one not go through, those before it are taken back, and what was there is there again.
        """
        (self._private / "manifest").write_bytes(manifest)
        moves = {self._private / f"{index}": self._directory / name for index, name in enumerate(parts)}
        moves[self._private / "manifest"] = self._directory / manifest_name
        self._refuse_others()
        old = self._private / "old"
        old.mkdir()
        away = {path: old / path.name for path in self._others()}
        begun: list[tuple[Path, Path]] = []
        try:
            for source, target in {**away, **moves}.items():
                begun.append((source, target))
                source.rename(target)
        except BaseException:
            for source, target in reversed(begun):
                with suppress(FileNotFoundError):  # the last one may not have got there
                    target.rename(source)
            raise
        return self._directory / manifest_name

    def _others(self) -> list[Path]:
        """Files of a bundle of this name, the manifest first."""
        part = re.compile(re.escape(self._name) + r"\.part\.[0-9]+")
        manifest = f"{self._name}.manifest.xml"
        found = [each for each in self._directory.iterdir() if each.name == manifest or part.fullmatch(each.name)]
        return sorted(found, key=lambda each: (each.name != manifest, each.name))

    def _refuse_others(self) -> None:
        try:
            others = self._others()
        except OSError as error:
            raise BuilderError(f"{self._directory} is no directory to put a bundle into: {error.strerror}") from error
        if others and not self._force:
            raise BuilderError(
                f"{self._directory} holds files of a bundle {self._name} already",
                detail="\n".join(each.name for each in others[:10]),
                hint="remove them, or choose another destination or name",
            )


class DirectorySource:
    """Gives the parts that lie in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def lengths(self) -> Mapping[str, int]:
        return {
            each.name: each.stat().st_size for each in sorted(self._directory.iterdir()) if _PART.fullmatch(each.name)
        }

    def read(self, part: Part) -> Iterator[bytes]:
        path = self._directory / part.filename
        if Path(part.filename).name != part.filename:
            raise BuilderError(f'"{part.filename}" cannot be the name of a part')
        try:
            with path.open("rb", buffering=0) as file:
                while piece := file.read(_PIECE):
                    yield piece
        except OSError as error:
            raise BuilderError(f"the part {path} cannot be read: {error.strerror}") from error


def private_directory(directory: Path) -> tuple[Path, int]:
    """A directory that only we can enter, and the lock on it that says that we live."""
    while True:
        path = Path(mkdtemp(prefix=PREFIX, dir=directory))
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path, lock
        os.close(lock)  # somebody took it for a dead one's, between the two calls


def clear_stale(directory: Path) -> None:
    """Remove what killed processes left. Who lives holds a lock."""
    for path in directory.glob(f"{PREFIX}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass
        finally:
            os.close(lock)
