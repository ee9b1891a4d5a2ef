"""The root tree of a disk: a file or a device, raw or qcow2, with partitions or without.

A file system may be made to crash the kernel that reads it. So none is ever mounted here: libguestfs's appliance, a
virtual machine with bounds on time and memory, finds the operating system, and hands its files over as a tar.
"""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.formats import qcow2
from builder.formats.file_tree import FileTree
from builder.formats.layer_tar import Kind
from builder.formats.sparse import disk_size
from builder.host import appliance, process
from builder.stages.base.inspect import find_mounts
from builder.stages.base.tars import LARGEST, LeftOut, read_tar

PATIENCE = 3600
"""Seconds that the appliance may take for any disk; and SLOW more for each GiB of it."""
SLOW = 900
_CHUNK = 1 << 20


def format_of(path: Path) -> str:
    """raw or qcow2. BuilderError for a disk that cannot be read by itself, or not as one of these."""
    with path.open("rb") as file:
        start = file.read(qcow2.HEADER)
    if start[:4] != qcow2.MAGIC:
        _refuse_foreign(path, start)
        return "raw"
    try:
        header = qcow2.read_header(start)
    except ValueError as error:
        raise BuilderError(f"{path}: a damaged qcow2 image: {error}") from None
    if header.backing:
        raise BuilderError(
            f"{path}: a qcow2 image with a backing file: it is not the whole disk, and would read another file",
            hint=f"make one image of both, where that file is: qemu-img convert -O qcow2 {path} WHOLE.qcow2",
        )
    if header.data_file:
        raise BuilderError(
            f"{path}: a qcow2 image whose data are in another file",
            hint=f"make one image of both, where that file is: qemu-img convert -O qcow2 {path} WHOLE.qcow2",
        )
    if header.encrypted:
        raise BuilderError(
            f"{path}: an encrypted qcow2 image", hint="decrypt it first: qemu-img convert with its secret"
        )
    _second_opinion(path)
    return "qcow2"


def read_disk(
    path: Path, kind: str, tree: FileTree, left_out: LeftOut, *, cache: Path, scratch: Path
) -> tuple[str, ...]:
    """Fill a tree with the files of the one operating system on a disk; what was left out of it, for people.

    BuilderError when there is none, or several, or when the appliance dies of it.
    """
    size = disk_size(path)
    packed = scratch / "disk.tar"
    with _appliance(path, kind, cache, scratch, PATIENCE + SLOW * (size >> 30)) as handle:
        mounts, notes = find_mounts(handle, str(path))
        for place, device in mounts:
            handle.mount_ro(device, place)
        with _received(packed) as pipe:
            handle.tar_out("/", str(pipe), numericowner=True, xattrs=True, acls=True)
    read_tar(packed, tree, left_out, scratch=scratch, what=str(path))
    for place, _ in mounts:
        _drop_lost_and_found(tree, place)
    return notes


@contextmanager
def _appliance(path: Path, kind: str, cache: Path, scratch: Path, seconds: float) -> Iterator[Any]:
    """A started appliance with the disk, read-only. What goes wrong in it is one error; it is ended after a time."""
    late = threading.Event()

    def end(process_id: int) -> None:
        late.set()
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)

    with appliance.opened([path], cache=cache, scratch=scratch, format=kind) as handle:
        timer = threading.Timer(seconds, end, (handle.get_pid(),))
        timer.daemon = True
        timer.start()
        try:
            yield handle
        except RuntimeError as error:  # libguestfs's own kind
            said = str(error).strip()
            if late.is_set():
                said = f"after {seconds / 60:.0f} minutes it was not done"
            raise BuilderError(
                f"{path}: its file systems cannot be read: {said.splitlines()[0][:300] if said else 'no reason given'}",
                detail=said[:2000],
                hint="is the disk damaged? fsck it where it was made, or give a copy that boots",
            ) from None
        finally:
            timer.cancel()


@contextmanager
def _received(target: Path) -> Iterator[Path]:
    """A pipe; what is written to it goes to `target`, zeros as holes, up to LARGEST bytes: a file system can say that
    a file has exabytes."""
    pipe = target.with_name(f"{target.name}.pipe")
    os.mkfifo(pipe, 0o600)
    failed: list[BaseException] = []

    def receive() -> None:
        try:
            with pipe.open("rb", buffering=0) as source, target.open("wb", buffering=0) as sink:
                _copy_sparse(source.fileno(), sink.fileno())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    try:
        try:
            yield pipe
        finally:
            # Should nobody have opened it for writing, this lets the thread see the end of it.
            while thread.is_alive():
                with suppress(OSError):
                    os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
                thread.join(0.05)
            pipe.unlink()
    except RuntimeError:
        if failed:
            raise failed[0] from None
        raise
    if failed:
        raise failed[0]


def _copy_sparse(source: int, sink: int) -> None:
    position = 0
    while data := os.read(source, _CHUNK):
        if position + len(data) > LARGEST:
            raise BuilderError(f"the files of the disk have more than {LARGEST >> 30} GiB")
        if data.count(0) != len(data):
            view = memoryview(data)
            at = position
            while view:
                written = os.pwrite(sink, view, at)
                view, at = view[written:], at + written
        position += len(data)
    os.ftruncate(sink, position)


def _drop_lost_and_found(tree: FileTree, place: str) -> None:
    """mke2fs's own directory, where it is empty: of the file system, not of the tree."""
    path = f"{place.strip('/')}/lost+found".lstrip("/").encode()
    found = tree.find(path)
    if found is not None and found.kind is Kind.DIRECTORY and not found.children:
        tree.remove(path)


def _second_opinion(path: Path) -> None:
    """What QEMU itself says of a qcow2 image; other files are not opened for that."""
    done = process.run(
        [process.require("qemu-img", "qemu-utils"), "info", "--force-share", "-f", "qcow2", "--output=json", path],
        capture=True,
    )
    said = json.loads(done.stdout)
    data = said.get("format-specific", {}).get("data", {})
    if said.get("backing-filename") or said.get("full-backing-filename") or data.get("data-file"):
        raise BuilderError(f"{path}: a qcow2 image that needs another file", hint="qemu-img convert makes it whole")
    if data.get("corrupt"):
        raise BuilderError(f"{path}: a qcow2 image that is marked as damaged", hint="see: qemu-img check")


_OTHERS = {
    b"KDMV": "VMDK", b"# Disk DescriptorFile"[:4]: "VMDK", b"conectix"[:4]: "VHD", b"vhdx": "VHDX", b"QED\0": "QED",
}  # fmt: skip


def _refuse_foreign(path: Path, start: bytes) -> None:
    other = _OTHERS.get(start[:4])
    if other:
        raise BuilderError(
            f"{path}: a disk as {other}, which is not read here",
            hint=f"make it qcow2 first: qemu-img convert -O qcow2 {path} DISK.qcow2",
        )
