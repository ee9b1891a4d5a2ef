"""Disks: overlays that are plugged into the Xen host while it runs, and what instance-store disks look like when new.

What a guest writes goes to a qcow2 file in QEMU's own directory; the image below is opened read-only.
"""

import fcntl
import hashlib
import itertools
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.catalog.instance_types import InstanceType, beside_a_disk
from builder.errors import BuilderError
from builder.host import process
from builder.machine.guest import Disk
from builder.machine.qmp import Event, Monitor

_LUNS = 255
# What is written reaches this machine's kernel; it is not waited for until it is on its disks.
_CACHE = {"direct": False, "no-flush": True}


class Disks:
    """The disks of a host's guests, by the guest's slot."""

    def __init__(self, monitor: Monitor, place: Path) -> None:
        self._monitor = monitor
        self._place = place
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._attached: dict[int, dict[int, str]] = {}

    def attach(self, slot: int, disk: Disk) -> int:
        """Plug in a disk; its LUN."""
        with self._lock:
            used = {lun for each in self._attached.values() for lun in each}
            lun = next((each for each in range(_LUNS) if each not in used), None)
            if lun is None:
                raise BuilderError("the Xen host has no room for more disks")
            name = f"disk{next(self._numbers)}"
            self._attached.setdefault(slot, {})[lun] = name
        self.add(name, disk)
        self._monitor.execute(
            "device_add",
            {"driver": "scsi-hd", "bus": "scsi.0", "scsi-id": 0, "lun": lun, "drive": name, "id": f"{name}-device"},
        )
        return lun

    def detach(self, slot: int) -> None:
        """Unplug all disks of a guest, and remove what they hold."""
        with self._lock:
            names = list(self._attached.get(slot, {}).values())
        for name in names:
            with suppress(BuilderError):  # it may never have been plugged in
                self._monitor.unplug(f"{name}-device")
            for node in (name, f"{name}-file"):
                with suppress(BuilderError):
                    self._monitor.execute("blockdev-del", {"node-name": node})
            self._overlay(name).unlink(missing_ok=True)
        with self._lock:
            self._attached.pop(slot, None)

    def _overlay(self, name: str) -> Path:
        return self._place / f"{name}.qcow2"

    def add(self, name: str, disk: Disk) -> None:
        """A disk under a name that a device can use: an overlay over its base, made unless it has one that was kept."""
        overlay = disk.overlay or self._overlay(name)
        if not overlay.exists():
            self._create(f"{name}-new", overlay, -(-max(disk.size, disk.base.stat().st_size) // 512) * 512)
        below = {"driver": "file", "filename": str(disk.base), "read-only": True}
        self._add({"driver": "file", "node-name": f"{name}-file", "filename": str(overlay), "cache": _CACHE})
        self._add(
            {
                "driver": "qcow2",
                "node-name": name,
                "file": f"{name}-file",
                "discard": "unmap",
                "cache": _CACHE,
                "backing": {"driver": "raw", "read-only": True, "file": below},
            }
        )

    def _create(self, name: str, overlay: Path, size: int) -> None:
        """An empty overlay, which is there whole or not at all."""
        partial = overlay.with_name(f".{overlay.name}")
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        self._add({"driver": "file", "node-name": name, "filename": str(partial), "cache": _CACHE})
        self._monitor.execute(
            "blockdev-create", {"job-id": name, "options": {"driver": "qcow2", "file": name, "size": size}}
        )
        self._monitor.wait_for(_concluded(name))
        self._monitor.execute("job-dismiss", {"id": name})
        self._monitor.execute("blockdev-del", {"node-name": name})
        partial.rename(overlay)

    def _add(self, options: dict[str, Any]) -> None:
        self._monitor.execute("blockdev-add", options)


def _concluded(job: str) -> Any:
    def wanted(event: Event) -> bool:
        data = event.get("data", {})
        return bool(event["event"] == "JOB_STATUS_CHANGE" and data.get("id") == job and data["status"] == "concluded")

    return wanted


def blank(cache: Path, kind: str, size_gb: int) -> Path:
    """A new disk of the instance store, as EC2 hands it out: `ext3`, `swap`, or `none` for one without either.

    Sparse, made once and kept; nobody writes to it.
    """
    place = cache / "machine" / "disks"
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{kind}-{size_gb}"
    if path.exists():
        return path
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            partial = place / f".{path.name}"
            partial.unlink(missing_ok=True)
            partial.touch()
            os.truncate(partial, size_gb * 10**9 // 4096 * 4096)
            command = format_command(kind, partial)
            if command:
                process.run(command, capture=True)
            partial.rename(path)
    return path


def instance_disks(cache: Path, kind: InstanceType, *, hvm: str = "", partitioned: bool = False) -> tuple[Disk, ...]:
    """The disks that an instance of a type has besides its root, new. A paravirtual one has those with a stable name,
    beside a root disk if that is `partitioned`; an HVM guest, whose name `hvm` is, has all of them, and knows NVMe
    disks by their serial numbers."""
    return tuple(
        Disk(
            device=each.device or each.virtual,
            base=blank(cache, "swap" if each.virtual == "swap" else "ext3" if each.formatted else "none", each.size_gb),
            serial=store_serial(hvm, number) if hvm else "",
        )
        for number, each in enumerate(beside_a_disk(kind.disks) if partitioned else kind.disks)
        if each.device or hvm
    )


def volume_serial(name: str) -> str:
    """The serial number of a disk that is an EBS volume, whose id it is but for the hyphen: here of any name."""
    return "vol0" + hashlib.sha256(name.encode()).hexdigest()[:16]


def store_serial(name: str, number: int) -> str:
    """That of a disk of a guest's instance store: AWS and 17 digits."""
    return "AWS" + hashlib.sha256(f"{name} {number}".encode()).hexdigest()[:17].upper()


def format_command(kind: str, path: Path) -> list[str | Path]:
    """Few inodes and a small journal: a file system of hundreds of GB is made in a second, and takes 20 MB."""
    if kind == "ext3":
        options = ("-F", "-q", "-t", "ext3", "-T", "largefile4", "-m", "0", "-J", "size=16", "-O", "^resize_inode")
        return ["mke2fs", *options, path]
    return ["mkswap", path] if kind == "swap" else []
