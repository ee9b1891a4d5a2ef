"""libguestfs: looking into finished images without mounting them, in a virtual machine of its own.

Slow to start (7 to 12 s without KVM), so: one launch for all images of a run, and few calls. Not for the namespace of
an ordinary user: supermin, taken for root there, would make the host's mount(8) set-user-id to nobody in its appliance.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from builder.errors import HostError
from builder.host import process

KVM = Path("/dev/kvm")
# What was found by trying: "kvm" or "tcg". Opening /dev/kvm proves nothing: QEMU may abort or hang all the same.
REMEMBERED = "guestfs-accelerator"
PATIENCE = 20  # seconds; a launch with KVM takes 3, and the first one some 5 more to make the appliance


@contextmanager
def opened(images: Sequence[Path], *, cache: Path, scratch: Path, format: str = "raw") -> Iterator[Any]:
    """A launched guestfs handle with the images as read-only drives, /dev/sda and so on, in their order.

    `cache` keeps the appliance and the accelerator that works. The virtual machine ends with the block; if this
    process is killed, libguestfs's own watcher kills it.
    """
    handle = _launched(images, cache, scratch, format)
    try:
        yield handle
    finally:
        handle.close()


def _launched(images: Sequence[Path], cache: Path, scratch: Path, format: str) -> Any:
    cache.mkdir(parents=True, exist_ok=True)
    sweep(cache)
    remembered = cache / REMEMBERED
    if not remembered.exists():
        _remember(remembered, "kvm" if accessible() and works(trial_command(cache, scratch)) else "tcg")
    return launch(images, cache, scratch, force_tcg=remembered.read_text().strip() != "kvm", format=format)


def sweep(cache: Path) -> None:
    """Remove appliances that killed builds had half made. Whoever makes one holds supermin's lock (lockf)."""
    place = cache / f".guestfs-{os.geteuid()}"
    with suppress(OSError), (place / "lock").open("r+b") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for half in place.glob("appliance.d.*"):
            shutil.rmtree(half)


def accessible(kvm: Path = KVM) -> bool:
    """Whether a launch with KVM is worth trying."""
    return os.access(kvm, os.R_OK | os.W_OK)


def trial_command(cache: Path, scratch: Path) -> list[str]:
    """One launch with KVM, by this module in a process of its own: it may hang (seen: QEMU 7.2 on a nested KVM)."""
    return [
        "timeout",
        "--foreground",  # in the worker's process group, that it may end with the worker
        f"--kill-after={PATIENCE}",
        str(PATIENCE),
        sys.executable,
        "-m",
        __name__,
        str(cache),
        str(scratch),
    ]


def works(trial: Sequence[str]) -> bool:
    """Whether a trial ends well, and in time."""
    print("trying libguestfs with KVM, once", file=sys.stderr)
    return process.run(trial, check=False, capture=True, env={"PYTHONPATH": os.pathsep.join(sys.path)}).returncode == 0


def _remember(path: Path, accelerator: str) -> None:
    """Written by rename: several builds may do it at once."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(accelerator + "\n")
    partial.rename(path)


def launch(images: Sequence[Path], cache: Path, scratch: Path, *, force_tcg: bool, format: str = "raw") -> Any:
    """A handle of a started virtual machine. HostError if it does not start."""
    try:
        import guestfs
    except ImportError:
        raise HostError("python3-guestfs is not installed", hint="run: apt-get install python3-guestfs") from None
    handle = guestfs.GuestFS(python_return_dict=True)
    try:
        handle.set_backend("direct")
        handle.set_backend_settings(["force_tcg"] if force_tcg else [])
        handle.set_cachedir(str(cache))
        handle.set_tmpdir(str(scratch))
        handle.set_smp(min(2, os.cpu_count() or 1))  # starts in 8.1 s instead of 9.2 (emulated, two cores)
        for image in images:
            handle.add_drive_opts(str(image), format=format, readonly=True)
        handle.launch()
    except RuntimeError as error:
        handle.close()
        raise HostError(
            "libguestfs could not start its appliance", detail=str(error), hint=launch_hint(unreadable_kernels())
        ) from None
    return handle


def unreadable_kernels(boot: Path = Path("/boot")) -> tuple[Path, ...]:
    """Kernels that supermin cannot take because of their mode, when there is no other."""
    kernels = sorted(boot.glob("vmlinuz-*"))
    unreadable = tuple(path for path in kernels if not os.access(path, os.R_OK))
    return unreadable if len(unreadable) == len(kernels) else ()


def launch_hint(unreadable: Sequence[Path]) -> str:
    """What to do about a launch that failed."""
    if unreadable:
        return f"let the kernel be read: chmod +r {unreadable[0]} (or name another one in SUPERMIN_KERNEL)"
    return "run: libguestfs-test-tool (it says what is missing; a kernel under /boot is needed)"


if __name__ == "__main__":
    launch([Path("/dev/null")], Path(sys.argv[1]), Path(sys.argv[2]), force_tcg=False).close()
