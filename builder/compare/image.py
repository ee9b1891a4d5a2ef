"""Reads images: ext file systems by libext2fs in a process of its own, all others through libguestfs.

Two images are read at the same time. libguestfs is started once for both, and only where it is needed, since its start
costs more than all the rest; neither way mounts anything on this machine.
"""

import hashlib
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from builder.compare.archive import Read, read_tree
from builder.compare.contents import Contents, Entry
from builder.compare.disk import Disk, Part, filesystem_facts, read_disk
from builder.compare.packages import DATABASES, LIMIT, read_packages
from builder.errors import BuilderError
from builder.formats.blocks import BlockList, block_digests, parse_blocks
from builder.host import appliance, process

_SPARSE = 16
"""How many times the disk's size its files may have: sparse ones have more bytes than blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the appliance is kept, and where to write what is gone afterwards."""

    cache: Path
    scratch: Path


def digests(image: Path) -> BlockList:
    """The line of every block of 512 KiB, as formats.blocks has them: those beside the image, if it has them."""
    beside = image.with_name("blocks")
    if image.name == "disk.raw" and beside.is_file():
        try:
            return parse_blocks(beside.read_bytes())
        except ValueError:
            pass  # damaged: `store verify` tells
    with image.open("rb") as file:
        return BlockList(block_digests(file.fileno(), file.seek(0, os.SEEK_END)))


def read_images(images: Sequence[Path], places: Places) -> tuple[Contents, ...]:
    """The contents of each. BuilderError for one in which no root file system is found."""
    disks = [read_disk(each) for each in images]
    rooms = [places.scratch / f"{number}" for number in range(len(images))]
    for room in rooms:
        room.mkdir()
    with ThreadPoolExecutor(len(images)) as pool:
        found = list(pool.map(_by_library, images, disks, rooms))
    if None in found:  # then both, so that what the two ways name differently (ACLs) is no difference
        return by_appliance(images, disks, rooms, places)
    return tuple(each for each in found if each is not None)


def by_appliance(
    images: Sequence[Path], disks: Sequence[Disk], rooms: Sequence[Path], places: Places
) -> tuple[Contents, ...]:
    """The contents of each image, by one start of libguestfs."""
    with appliance.opened(images, cache=places.cache, scratch=places.scratch) as handle:
        return tuple(
            _by_appliance(handle, drive, image, disk, room)
            for drive, (image, disk, room) in enumerate(zip(images, disks, rooms, strict=True))
        )


def _by_library(image: Path, disk: Disk, room: Path) -> Contents | None:
    """None where there is no ext file system with a root tree, or the library cannot make anything of it."""
    for part in (each for each in disk.parts if each.ext):
        command = [sys.executable, "-m", "builder.compare.ext_program", image, part.offset, room, disk.size * _SPARSE]
        done = process.run(
            [str(each) for each in command],
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            capture=True,
            check=False,
        )
        if done.returncode:
            continue
        table = json.loads(done.stdout)
        if "/etc" in table["entries"]:
            entries = {path: _entry(each) for path, each in table["entries"].items()}
            kept = {path: Path(copy) for path, copy in table["kept"].items()}
            return _contents(entries, kept, disk, part, image)
    return None


def _entry(table: Mapping[str, Any]) -> Entry:
    made = {each.name: table[each.name] for each in fields(Entry)}
    return Entry(**{**made, "xattrs": tuple((name, value) for name, value in table["xattrs"])})


def _by_appliance(handle: Any, drive: int, image: Path, disk: Disk, room: Path) -> Contents:
    name = f"/dev/sd{chr(ord('a') + drive)}"
    devices: Mapping[str, str] = handle.list_filesystems()
    for device, kind in sorted(devices.items()):
        if not device.startswith(name) or kind in ("unknown", "swap", "vfat", "iso9660"):
            continue
        try:
            handle.mount_ro(device, "/")
        except RuntimeError:
            continue
        try:
            if handle.is_dir("/etc"):
                read = _streamed(handle, room, disk.size * _SPARSE)
                number = handle.part_to_partnum(device) if device != name else 0
                part = next((each for each in disk.parts if each.number == number), None)
                facts = {"type": kind, "UUID": handle.vfs_uuid(device), "label": handle.vfs_label(device)}
                return _contents(read.entries, read.kept, disk, part, image, facts)
        finally:
            handle.umount("/")
    raise BuilderError(
        f"{image}: no root file system is found in it", hint="diff compares images that have one, with /etc in it"
    )


def _streamed(handle: Any, room: Path, limit: int) -> Read:
    """The mounted tree, read while it comes; libguestfs lets other threads run meanwhile."""
    out, into = os.pipe()
    failed: list[RuntimeError] = []

    def send() -> None:
        try:
            handle.tar_out("/", f"/dev/fd/{into}", numericowner=True, xattrs=True, selinux=True, acls=True)
        except RuntimeError as error:
            failed.append(error)
        finally:
            os.close(into)

    sender = threading.Thread(target=send)
    with os.fdopen(out, "rb") as stream:
        sender.start()
        try:
            return read_tree(stream, keep=DATABASES, keep_limit=LIMIT, place=room, limit=limit)
        except BuilderError as error:
            if failed:
                raise BuilderError("libguestfs could not read the image", detail=str(failed[0])) from None
            raise error from None
        finally:
            while stream.read(1 << 20):
                pass  # what ended early leaves the sender with a full pipe
            sender.join()


def _contents(
    entries: Mapping[str, Entry],
    kept: Mapping[str, Path],
    disk: Disk,
    part: Part | None,
    image: Path,
    facts: Mapping[str, str] | None = None,
) -> Contents:
    told = dict(facts) if facts is not None else filesystem_facts(image, part.offset if part else 0)
    return Contents(
        entries=entries,
        packages=read_packages(kept),
        disk={**disk.facts(part), **{f"root file system: {name}": value for name, value in told.items()}},
    )


def sha256(image: Path) -> str:
    """Of a whole image, holes and all."""
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
