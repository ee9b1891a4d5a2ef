"""The store on this machine's disk.

objects/ab/KEY/          a finished output and object.json; objects/ itself is locked, shared, while a build runs
leases/KEY               locked (flock) while a build makes KEY: the kernel lets go when the builder dies
work/TOKEN/  TOKEN.lock  what a running step writes; whoever finds it unlocked sweeps it
trees/DIGEST/            unpacked layers, a cache (builder/host/layers.py)
logs/KEY.log  KEY.job    the last run of a step: what was said, and what it was given
history/RECIPE/VARIANT   the steps of the last finished build, to say what changed
"""

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from builder.errors import BuilderError, HostError
from builder.host.namespace import remove_tree
from builder.store.contract import Object, Record, Workspace

FORMAT = 1
LOCK_POLL_SECONDS = 0.1


class Busy(Exception):
    """Another process holds the lock, and waiting for it was given up."""


def never() -> bool:
    return False


def at_once() -> bool:
    return True


class LocalStore:
    """See builder/store/contract.py for the contract."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def trees(self) -> Path:
        return self.root / "trees"

    def log_path(self, key: str) -> Path:
        return self.root / "logs" / f"{key}.log"

    def job_path(self, key: str) -> Path:
        return self.root / "logs" / f"{key}.job"

    def object_path(self, key: str) -> Path:
        return self.root / "objects" / key[:2] / key

    def prepare(self) -> None:
        """Make the directories, and sweep what dead builds left. HostError when the disk refuses."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in ("objects", "leases", "work", "trees", "logs", "history"):
                (self.root / name).mkdir(exist_ok=True, mode=0o700)  # also where --store names an open directory
        except OSError as error:
            raise HostError(
                f"the store {self.root} cannot be written: {error.strerror}", hint="choose another place with --store"
            ) from None
        self.sweep()

    def has(self, key: str) -> bool:
        return (self.object_path(key) / "object.json").exists()

    def stamp(self, key: str) -> tuple[int, int] | None:
        """Tells an object from one that replaced it; None when there is none."""
        try:
            found = (self.object_path(key) / "object.json").stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def get(self, key: str) -> Object:
        path = self.object_path(key)
        try:
            table = json.loads((path / "object.json").read_bytes())
            if table.pop("format") != FORMAT:
                raise BuilderError(f"{path} was written by another version", hint="run: ami-factory store gc --all")
            return Object(path=path, record=Record(**table))
        except FileNotFoundError:
            raise KeyError(key) from None
        except (ValueError, TypeError, KeyError) as error:
            raise BuilderError(f"{path}/object.json is damaged: {error}", hint=f"remove it: rm -r '{path}'") from None

    def put(self, record: Record, output: Path, *, replace: bool = False) -> Object:
        target = self.object_path(record.key)
        (output / "object.json").write_text(json.dumps({"format": FORMAT, **asdict(record)}, indent=1))
        target.parent.mkdir(parents=True, exist_ok=True)
        if replace and target.exists():
            # Two renames: a kill between them leaves no object, and the step runs again.
            aside = self._put_aside(record.key)
            output.rename(target)
            _discard(aside)
        else:
            try:
                output.rename(target)
            except OSError:
                if not self.has(record.key):
                    raise
        return Object(path=target, record=record)

    def remove(self, key: str) -> None:
        """Take an object away by rename, then delete it: a kill in between leaves no half of one that looks whole."""
        _discard(self._put_aside(key))

    def forget_logs(self, before: float) -> None:
        """Remove what was written before then of the runs of steps that have no object."""
        for path in (self.root / "logs").iterdir():
            if not self.has(path.stem) and path.stat().st_mtime < before:
                path.unlink()

    def _put_aside(self, key: str) -> Path:
        """Move an object to where the next sweep finds it."""
        aside = self.root / "work" / secrets.token_hex(8)
        self.object_path(key).rename(aside)
        return aside

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """As long as the block lasts nobody is `alone`, so no object is removed."""
        with self._objects_locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No build runs as long as the block lasts; Busy if one does."""
        try:
            with self._objects_locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield
        except BlockingIOError:
            raise Busy(self.root) from None

    @contextmanager
    def _objects_locked(self, kind: int) -> Iterator[None]:
        descriptor = os.open(self.root / "objects", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def lease(self, key: str, seconds: float = 0, *, stopped: Callable[[], bool] = never) -> Iterator[None]:
        with _locked(self.root / "leases" / key, stopped):
            yield

    @contextmanager
    def workspace(self, key: str) -> Iterator[Workspace]:
        token = f"{key[:12]}-{secrets.token_hex(6)}"
        place = self.root / "work" / token
        with _locked(place.with_suffix(".lock"), never):
            try:
                place.mkdir()
                room = Workspace(output=place / "output", scratch=place / "scratch")
                room.output.mkdir()
                room.scratch.mkdir()
                yield room
            finally:
                _discard(place)

    def sweep(self) -> tuple[Path, ...]:
        """Remove the leases, workspaces and half unpacked trees of dead builds; returns the last two."""
        for lease in (self.root / "leases").iterdir() if (self.root / "leases").is_dir() else ():
            with suppress(Busy), _locked(lease, at_once):
                pass  # a lease that can be had goes as it is given back
        swept = []
        work = self.root / "work"
        for place in sorted({each.with_suffix("") for each in work.iterdir()}) if work.is_dir() else ():
            try:
                with _locked(place.with_suffix(".lock"), at_once):
                    _discard(place)
                swept.append(place)
            except Busy:
                continue  # a build at work
        return (*swept, *self._sweep_trees())

    def _sweep_trees(self) -> Iterator[Path]:
        """Remove trees that dead builds had not finished unpacking; the living hold a lock on theirs."""
        from builder.host.layers import PARTIAL

        for place in sorted(self.trees.glob(f"{PARTIAL}*")):
            with suppress(OSError):
                descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _discard(place)
                    yield place
                finally:
                    os.close(descriptor)

    def keys(self) -> list[str]:
        """Of every object, those included that cannot be read."""
        return sorted(path.parent.name for path in (self.root / "objects").glob("*/*/object.json"))

    def objects(self) -> Iterator[Object]:
        """Every object, in no particular order."""
        for key in self.keys():
            with suppress(KeyError):  # removed meanwhile
                yield self.get(key)

    def used_last(self) -> set[str]:
        """Keys of the last finished build of every variant."""
        found: set[str] = set()
        for path in (self.root / "history").glob("*/*.json"):
            try:
                found |= {str(entry["key"]) for entry in json.loads(path.read_bytes()).values()}
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return found

    def find(self, short: str) -> str:
        """The one key that starts with `short`; BuilderError when none or several do."""
        # Not by glob: what a user types is no pattern and no path.
        logged = {each.stem for each in self.root.glob("logs/*.log")}
        known = logged | {each.name for each in self.root.glob("objects/*/*")}
        keys = [each for each in known if each.startswith(short)]
        if len(keys) != 1:
            found = "no step" if not keys else f"{len(keys)} steps"
            raise BuilderError(
                f"{found} in {self.root} with a key that starts with {short}", hint="see: ami-factory plan RECIPE"
            )
        return keys.pop()

    def now(self) -> int:
        return int(time.time())


def _discard(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    if place.exists():  # it holds files of subordinate ids: a killed step left its tree
        remove_tree(place)


@contextmanager
def _locked(path: Path, stopped: Callable[[], bool]) -> Iterator[None]:
    """Hold an exclusive flock on a file that is made for it and goes with it; Busy if `stopped` while it is held.

    Polled: a thread that sleeps inside flock(2) could not be told to give up.
    """
    while (fd := _try_lock(path)) is None:
        if stopped():
            raise Busy(path)
        time.sleep(LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def _try_lock(path: Path) -> int | None:
    """The descriptor that holds the lock; None when somebody else does."""
    try:
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}", hint="free some space, or use --store") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The holder before us may have removed the file: then ours is no longer the one that others lock.
        if os.fstat(fd).st_ino == path.stat().st_ino:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None
