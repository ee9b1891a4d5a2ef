"""A machine whose dom0 is ready, kept on disk: a Xen host that is up in a second instead of nine.

The machine is stopped when its agent answers, and migrated into a file, pages of zeros left out. Whoever starts from it
reads that file into memory of its own.
"""

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

from builder.canonical import digest_of
from builder.errors import BuilderError
from builder.host.appliance import accessible
from builder.machine import kept, qemu
from builder.machine.control import Control
from builder.machine.emulator import Emulator
from builder.machine.prepare import Prepared
from builder.machine.qmp import Monitor

READY_SECONDS = 30.0
TRIAL_SECONDS = 15.0  # with KVM, dom0 is up in 2 to 3
_STATE = "state"
_UNLIMITED = 1 << 40  # bytes a second; it is a file


def warmed(cache: Path, prepared: Prepared, accelerator: qemu.Accelerator, processors: int) -> Path:
    """The directory with `state`; made if it is not there, by one process at a time."""
    machine = [*_machine(processors), *accelerator.options]
    key = digest_of([prepared.key, list(qemu.identity(machine))])[:32]
    place = cache / "machine" / "warm"
    place.mkdir(parents=True, exist_ok=True)
    found = place / key
    if not kept.found(found):
        with (place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not found.is_dir():
                _make(place, found, prepared, accelerator, processors)
    return found


def accelerator(cache: Path, prepared: Prepared) -> qemu.Accelerator:
    """KVM where this host came up with it when it was tried, emulation elsewhere. Tried once; `cache` remembers.

    Opening /dev/kvm proves nothing, and nor does QEMU's firmware running: seen were a QEMU that aborts, one that hangs,
    and one that runs its firmware and stops at Xen's first instructions.
    """
    remembered = cache / "machine" / "accelerator"
    if not remembered.exists():
        found = qemu.KVM if accessible() and _comes_up(cache, prepared, qemu.KVM) else qemu.TCG
        partial = remembered.with_name(f".accelerator.{os.getpid()}")
        partial.write_text(found.name + "\n")
        partial.rename(remembered)
    return qemu.KVM if remembered.read_text().strip() == "kvm" else qemu.TCG


def _comes_up(cache: Path, prepared: Prepared, accelerator: qemu.Accelerator) -> bool:
    scratch = Path(mkdtemp(prefix="trial-", dir=cache / "machine"))

    def options(directory: Path) -> Sequence[str]:
        return [
            *accelerator.options,
            *_machine(1),
            *cold_options(prepared, directory),
        ]

    try:
        emulator = Emulator(scratch=scratch, log=scratch / "qemu.log", options=options, patience=TRIAL_SECONDS)
        try:
            emulator.greet()
            wait_ready(emulator, TRIAL_SECONDS)
        finally:
            emulator.close()
    except BuilderError:
        return False
    finally:
        shutil.rmtree(scratch)
    return True


def _machine(processors: int) -> list[str]:
    return [
        *qemu.machine_options(processors=processors),
        *qemu.device_options("user,id=net,restrict=on", "dom0.log"),
    ]


def cold_options(prepared: Prepared, place: Path) -> list[str]:
    """To boot Xen from QEMU's own directory: its list of multiboot modules has no way to write a blank in a path."""
    for name, target in (("xen", prepared.xen), ("vmlinuz", prepared.kernel), ("dom0.cpio", prepared.initramfs)):
        (place / name).symlink_to(target.absolute())
    return qemu.xen_options()


def _make(place: Path, found: Path, prepared: Prepared, accelerator: qemu.Accelerator, processors: int) -> None:
    for left in place.glob(".making-*"):
        shutil.rmtree(left)
    scratch = Path(mkdtemp(prefix=".making-", dir=place))
    try:
        made = scratch / "made"
        made.mkdir()

        def options(directory: Path) -> Sequence[str]:
            return [
                *accelerator.options,
                *_machine(processors),
                *cold_options(prepared, directory),
            ]

        emulator = Emulator(
            scratch=scratch, log=scratch / "qemu.log", options=options, patience=READY_SECONDS * accelerator.patience
        )
        try:
            emulator.greet()
            wait_ready(emulator, READY_SECONDS * accelerator.patience)
            _save(emulator.monitor, made / _STATE)
        finally:
            emulator.close()
        made.rename(found)
        kept.prune(place)
    finally:
        shutil.rmtree(scratch)


def wait_ready(emulator: Emulator, seconds: float) -> None:
    """Until dom0's agent says that it listens."""
    ready = threading.Event()
    ended = threading.Event()

    def listen(words: tuple[str, ...]) -> None:
        if words == ():
            ended.set()
        ready.set()

    Control(emulator.control, listen)
    if not ready.wait(seconds) or ended.is_set():
        raise BuilderError("the Xen host did not come up", detail=emulator.said())


def _save(monitor: Monitor, path: Path) -> None:
    monitor.execute("stop")
    monitor.execute("migrate-set-parameters", {"max-bandwidth": _UNLIMITED})
    with path.open("wb") as file:
        monitor.execute("getfd", {"fdname": "state"}, descriptor=file.fileno())
        monitor.execute("migrate", {"uri": "fd:state"})
        _until_migrated(monitor)
        os.fsync(file.fileno())


def restore(monitor: Monitor, saved: Path) -> None:
    """Let a machine that was started with `-incoming defer` go on from `saved`."""
    with (saved / _STATE).open("rb") as file:
        monitor.execute("getfd", {"fdname": "state"}, descriptor=file.fileno())
        monitor.execute("migrate-incoming", {"uri": "fd:state"})
        _until_migrated(monitor)
    monitor.execute("cont")


def _until_migrated(monitor: Monitor) -> None:
    while True:
        told = monitor.execute("query-migrate") or {}
        match told.get("status"):
            case "completed":
                return
            case "failed" | "cancelled":
                raise BuilderError("QEMU could not keep the machine", detail=told.get("error-desc", ""))
        time.sleep(0.02)
