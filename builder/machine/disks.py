"""Disks: overlays that are plugged into the Xen host while it runs, and what instance-store disks look like when new.

What a guest writes goes to a qcow2 file in QEMU's own directory; the image below is opened read-only.
"""

import fcntl
import itertools
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.catalog.instance_types import InstanceType
from builder.errors import BuilderError
from builder.host import process
from builder.machine.guest import Disk
from builder.machine.qmp import Event, Monitor

_LUNS = 255


class Disks:
    """The disks of a host's guests, by the guest's slot."""

    def __init__(self, monitor: Monitor, place: Path) -> None:
        self._monitor = monitor
        self._place = place
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._attached: dict[int, dict[int, str]] = {}

    def attach(self, slot: int, base: Path) -> int:
        """Plug in a disk with what `base` holds; its LUN."""
        with self._lock:
            used = {lun for each in self._attached.values() for lun in each}
            lun = next((each for each in range(_LUNS) if each not in used), None)
            if lun is None:
                raise BuilderError("the Xen host has no room for more disks")
            name = f"disk{next(self._numbers)}"
            self._attached.setdefault(slot, {})[lun] = name
        self.add(name, base)
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

    def add(self, name: str, base: Path) -> None:
        """An overlay over `base`, under a name that a device can use. `no-flush`: it does not outlive QEMU anyway."""
        overlay = self._overlay(name)
        overlay.touch(mode=0o600)
        size = -(-base.stat().st_size // 512) * 512
        cache = {"direct": False, "no-flush": True}
        self._add({"driver": "file", "node-name": f"{name}-file", "filename": str(overlay), "cache": cache})
        self._monitor.execute(
            "blockdev-create",
            {"job-id": name, "options": {"driver": "qcow2", "file": f"{name}-file", "size": size}},
        )
        self._monitor.wait_for(_concluded(name))
        self._monitor.execute("job-dismiss", {"id": name})
        below = {"driver": "file", "filename": str(base), "read-only": True}
        self._add(
            {
                "driver": "qcow2",
                "node-name": name,
                "file": f"{name}-file",
                "discard": "unmap",
                "cache": cache,
                "backing": {"driver": "raw", "read-only": True, "file": below},
            }
        )

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


def instance_disks(cache: Path, kind: InstanceType) -> tuple[Disk, ...]:
    """The disks that an instance of a type has besides its root, new. Those without a stable name are left out."""
    return tuple(
        Disk(
            device=each.device,
            base=blank(cache, "swap" if each.virtual == "swap" else "ext3" if each.formatted else "none", each.size_gb),
        )
        for each in kind.disks
        if each.device
    )


def format_command(kind: str, path: Path) -> list[str | Path]:
    """Few inodes and a small journal: a file system of hundreds of GB is made in a second, and takes 20 MB."""
    if kind == "ext3":
        options = ("-F", "-q", "-t", "ext3", "-T", "largefile4", "-m", "0", "-J", "size=16", "-O", "^resize_inode")
        return ["mke2fs", *options, path]
    return ["mkswap", path] if kind == "swap" else []
