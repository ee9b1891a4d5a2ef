"""libguestfs: looking into finished images without mounting them, in a virtual machine of its own.

Slow to start (7 to 12 s without KVM), so: one launch for all images of a run, and few calls.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from builder.errors import HostError

KVM = Path("/dev/kvm")
# What was found by trying: "kvm" or "tcg". Opening /dev/kvm proves nothing: QEMU may abort all the same.
REMEMBERED = "guestfs-accelerator"


@contextmanager
def opened(images: Sequence[Path], *, cache: Path, scratch: Path) -> Iterator[Any]:
    """A launched guestfs handle with the images as read-only drives, /dev/sda and so on, in their order.

    `cache` keeps the appliance and the accelerator that works. The virtual machine ends with the block; if this
    process is killed, libguestfs's own watcher, or the namespace around, kills it.
    """
    handle = _launched(images, cache, scratch)
    try:
        yield handle
    finally:
        handle.close()


def _launched(images: Sequence[Path], cache: Path, scratch: Path) -> Any:
    cache.mkdir(parents=True, exist_ok=True)
    remembered = cache / REMEMBERED
    if not accelerated(remembered):
        return _launch(images, cache, scratch, force_tcg=True)
    try:
        handle = _launch(images, cache, scratch, force_tcg=False)
        _remember(remembered, "kvm")
    except HostError:
        handle = _launch(images, cache, scratch, force_tcg=True)
        _remember(remembered, "tcg")
    return handle


def accelerated(remembered: Path, kvm: Path = KVM) -> bool:
    """Whether a launch with KVM is worth trying."""
    with suppress(FileNotFoundError):
        return remembered.read_text().strip() == "kvm"
    return os.access(kvm, os.R_OK | os.W_OK)


def _remember(path: Path, accelerator: str) -> None:
    """Written by rename: several builds may do it at once."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(accelerator + "\n")
    partial.rename(path)


def _launch(images: Sequence[Path], cache: Path, scratch: Path, *, force_tcg: bool) -> Any:
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
        for image in images:
            handle.add_drive_opts(str(image), format="raw", readonly=True)
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
