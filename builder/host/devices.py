"""The few device nodes that a sandbox sees, made read-only: writing to a device is allowed all the same.

They are this machine's own. Where root of the namespace is this machine's root it owns them, and a script's
`chmod 600 /dev/null` would be felt everywhere. bubblewrap 0.8 cannot do this: its --remount-ro forbids devices too.
"""

import ctypes
import functools
import os
from pathlib import Path

from builder.errors import HostError

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# linux/mount.h
_RDONLY, _REMOUNT, _BIND, _RELATIME = 1, 32, 4096, 1 << 21
_KEPT = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME
"""A namespace may not take these away; statvfs and mount(2) have the same bits for them, but not for relatime."""
_libc = ctypes.CDLL(None, use_errno=True)


@functools.cache
def protect_devices() -> None:
    """Make them so, in this process's mount namespace, once. Does nothing but inside a user namespace: outside of one
    the mounts would be this machine's."""
    if Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]:
        return
    for name in DEVICES:
        place = os.fsencode(f"/dev/{name}")
        flags = os.statvfs(place).f_flag
        kept = (flags & _KEPT) | (_RELATIME if flags & os.ST_RELATIME else 0)
        _mount(place, place, _BIND)
        _mount(None, place, _REMOUNT | _BIND | _RDONLY | kept)


def _mount(source: bytes | None, place: bytes, flags: int) -> None:
    if _libc.mount(source, place, None, ctypes.c_ulong(flags), None) != 0:
        error = os.strerror(ctypes.get_errno())
        raise HostError(f"{os.fsdecode(place)} cannot be made read-only for the sandbox: {error}")
