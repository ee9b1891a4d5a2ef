"""Whether plain QEMU has a KVM that works: tried once, and remembered.

Opening /dev/kvm proves nothing, nor does firmware that runs (warm.py says what was seen). So a kernel of this machine's
is booted, without a disk: with a KVM that works it is at its panic for want of a root in a second or two.
"""

import os
import shutil
import time
from pathlib import Path
from tempfile import mkdtemp

from builder.errors import BuilderError
from builder.host.appliance import accessible
from builder.machine import qemu
from builder.machine.emulator import Emulator
from builder.machine.qmp import Closed

SECONDS = 15.0
_DONE = "Kernel panic - not syncing: VFS"


def accelerator(cache: Path) -> qemu.Accelerator:
    """KVM where a kernel came up with it, emulation elsewhere."""
    remembered = cache / "machine" / "plain-accelerator"
    if not remembered.exists():
        remembered.parent.mkdir(parents=True, exist_ok=True)
        found = qemu.KVM if accessible() and comes_up(kernels(), qemu.KVM, remembered.parent) else qemu.TCG
        partial = remembered.with_name(f".{remembered.name}.{os.getpid()}")
        partial.write_text(found.name + "\n")
        partial.rename(remembered)
    return qemu.KVM if remembered.read_text().strip() == "kvm" else qemu.TCG


def kernels(place: Path = Path("/boot")) -> list[Path]:
    """This machine's kernels that may be read, the newest last."""
    return sorted(each for each in place.glob("vmlinuz-*") if os.access(each, os.R_OK))


def comes_up(found: list[Path], tried: qemu.Accelerator, place: Path, seconds: float = SECONDS) -> bool:
    """Whether one of these kernels runs to its end; False when there is none to try with."""
    if not found:
        return False
    scratch = Path(mkdtemp(prefix="trial-", dir=place))
    console = scratch / "console"

    def options(_: Path) -> list[str]:
        return [
            *tried.options, "-machine", "pc,usb=off", "-m", "256", *qemu.QUIET,
            "-kernel", str(found[-1]), "-append", "console=ttyS0 panic=-1",
            "-serial", f"file:{qemu.escaped(console)}",
        ]  # fmt: skip

    try:
        emulator = Emulator(scratch=scratch, log=scratch / "qemu.log", options=options, patience=seconds)
        try:
            emulator.greet()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                if console.exists() and _DONE in console.read_text(errors="replace"):
                    return True
                time.sleep(0.1)
        finally:
            emulator.close()
    except (BuilderError, Closed):
        pass
    finally:
        shutil.rmtree(scratch)
    return False
