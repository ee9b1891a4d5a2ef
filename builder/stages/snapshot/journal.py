"""What has been begun in a region and is not finished, written down before it is done.

A file for each key, in the user's state directory. The first line says what is begun, as JSON; then the id of what was
made; then a line for each block that the region has acknowledged. EBS does not tell what is in a pending snapshot, so
without these lines a killed upload would begin anew. Lines are appended in one write each: a process that is killed
loses none of them, and one that is cut short, as by a power failure, ends the reading.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from builder.formats.blocks import DIGEST, NOTHING

FORMAT = 1
_SUFFIX = ".journal"
_BLOCK = re.compile(rb"([0-9]{1,9}) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What is to be made, and where."""

    key: str
    region: str
    account: str
    endpoint: str
    blocks: str
    """SHA-256 of the snapshot's list of blocks."""
    parent: str = ""
    parent_blocks: str = ""
    """SHA-256 of the parent's list."""
    full: str = ""
    """Why there is no parent."""
    replaces: tuple[str, ...] = ()
    """Snapshots of the same key that went wrong, and are to be removed."""


@dataclass(slots=True)
class Received:
    """Which blocks the region has acknowledged, with their digests: 32 bytes for each up to the last."""

    _packed: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        for index in range(len(self._packed) // DIGEST):
            if (digest := self._at(index)) != NOTHING:
                yield index, digest.hex()

    def add(self, index: int, digest: str) -> None:
        start = index * DIGEST
        self._packed.extend(bytes(max(0, start + DIGEST - len(self._packed))))
        self._packed[start : start + DIGEST] = bytes.fromhex(digest)

    def has(self, index: int, digest: str) -> bool:
        return self._at(index) == bytes.fromhex(digest)

    def _at(self, index: int) -> bytes:
        return bytes(self._packed[index * DIGEST : (index + 1) * DIGEST])


@dataclass(slots=True, kw_only=True)
class Written:
    """What a journal says."""

    begun: Begun
    snapshot_id: str = ""
    acknowledged: Received = field(default_factory=Received)
    upload: tuple[str, str, str] | None = None
    """Bucket, key and id of an upload to S3 in several parts."""
    task: str = ""
    """Id of an import task."""


class Journal:
    """An open journal, which nobody else has."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._written, length = _parse(path)
        os.ftruncate(descriptor, length)  # what was cut short must not be the beginning of the next line

    @property
    def begun(self) -> Begun | None:
        """None where nothing has been begun."""
        return None if self._written is None else self._written.begun

    @property
    def written(self) -> Written:
        """What has been written since it was begun."""
        assert self._written is not None
        return self._written

    def begin(self, begun: Begun) -> None:
        """Forget what was written, and write down what is begun now. It is on disk when this returns."""
        os.ftruncate(self._descriptor, 0)
        self._append(json.dumps({"format": FORMAT, **asdict(begun)}))
        os.fsync(self._descriptor)
        self._written = Written(begun=begun)

    def started(self, snapshot_id: str) -> None:
        self._append(json.dumps({"snapshot": snapshot_id}))
        os.fsync(self._descriptor)
        self.written.snapshot_id = snapshot_id

    def acknowledge(self, index: int, digest: str) -> None:
        """The region has this block."""
        self._append(f"{index} {digest}")
        self.written.acknowledged.add(index, digest)

    def uploading(self, bucket: str, key: str, upload_id: str) -> None:
        self._append(json.dumps({"upload": [bucket, key, upload_id]}))
        os.fsync(self._descriptor)
        self.written.upload = (bucket, key, upload_id)

    def importing(self, task: str) -> None:
        self._append(json.dumps({"task": task}))
        os.fsync(self._descriptor)
        self.written.task = task

    def finish(self) -> None:
        """All of it is done: nothing needs to be remembered."""
        self._path.unlink(missing_ok=True)
        self._written = None

    def _append(self, line: str) -> None:
        os.write(self._descriptor, f"{line}\n".encode())


@contextmanager
def journal(place: Path, key: str, *, waiting: Callable[[], None] = lambda: None) -> Iterator[Journal]:
    """The journal of a key. Another process that has it is waited for; `waiting` is told so first."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = place / f"{key}{_SUFFIX}"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_there(path, descriptor):
                found = Journal(path, descriptor)
                yield found
                if found.begun is None:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def unfinished(place: Path) -> tuple[Written, ...]:
    """What all journals of a directory say: what was begun, and is not known to be finished."""
    found = (_parse(path) for path in sorted(place.glob(f"*{_SUFFIX}")))
    return tuple(written for written, _ in found if written is not None)


def _is_there(path: Path, descriptor: int) -> bool:
    """Whether it was not removed by whoever had it before."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _parse(path: Path) -> tuple[Written | None, int]:
    """What is written, and how many bytes of it can be read."""
    with path.open("rb") as file:
        head = file.readline()
        try:
            said = json.loads(head)
            if not head.endswith(b"\n") or said.pop("format") != FORMAT:
                return None, 0
            said["replaces"] = tuple(said["replaces"])
            found, length = Written(begun=Begun(**said)), len(head)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None, 0
        for line in file:  # what has no end of line was cut short
            if not line.endswith(b"\n") or not _take(found, line[:-1]):
                break
            length += len(line)
    return found, length


def _take(found: Written, line: bytes) -> bool:
    """Whether it is a line of a journal."""
    if (block := _BLOCK.fullmatch(line)) is not None:
        found.acknowledged.add(int(block[1]), block[2].decode())
        return True
    try:
        match json.loads(line):
            case {"snapshot": str(snapshot)}:
                found.snapshot_id = snapshot
            case {"task": str(task)}:
                found.task = task
            case {"upload": [str(bucket), str(key), str(upload)]}:
                found.upload = (bucket, key, upload)
            case _:
                return False
    except ValueError:
        return False
    return True
