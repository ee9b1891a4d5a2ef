"""Which system calls a sandboxed program may make: a filter of the kernel's own kind, as bubblewrap takes it.

Everything is allowed but what no package's or author's script needs and what namespaces do not cover: the kernel's key
rings (the session's come in from outside), programs for the kernel (bpf), its modules and tracing, new mounts and new
user namespaces (through which most holes of recent years were reached), typing into a terminal, and addresses outside
of the network namespace (vsock leads from a virtual machine to its host).
"""

import errno
import functools
import os
import platform
from typing import Any

# linux/sched.h, asm-generic/ioctls.h, linux/tiocl.h's ioctl, linux/net.h
_CLONE_NEWUSER = 0x10000000
_TIOCSTI = 0x5412
_TIOCLINUX = 0x541C
_UNKNOWN = -1  # libseccomp's __NR_SCMP_ERROR: it has never heard of the call
_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: the others are of no use to a build."""

REFUSED = (
    "acct", "add_key", "bpf", "delete_module", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module",
    "ioperm", "iopl", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mount", "mount_setattr",
    "move_mount", "name_to_handle_at", "nfsservctl", "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root",
    "process_madvise", "quotactl", "quotactl_fd", "reboot", "request_key", "setns", "settimeofday", "swapoff", "swapon",
    "syslog", "umount", "umount2", "uselib", "userfaultfd", "ustat", "vm86", "vm86old",
)  # fmt: skip
"""With EPERM, as without the right to them."""
ABSENT = ("clone3", "io_uring_enter", "io_uring_register", "io_uring_setup")
"""As if the kernel were older (ENOSYS), so that libraries fall back: clone3 has its flags where no filter sees them."""


@functools.cache
def system_call_filter(*, sockets_of_i386: bool) -> bytes:
    """The filter as a BPF program, for 64-bit and 32-bit x86 programs; others (x32) have no system calls.

    A 32-bit program's sockets are made by a call whose arguments no filter sees: such programs have none, or, with
    `sockets_of_i386`, of any family.
    """
    import seccomp  # its library is loaded only where something is run in a sandbox

    made = _filter(seccomp, seccomp.Arch())
    if platform.machine() == "x86_64":
        made.merge(_filter(seccomp, seccomp.Arch(seccomp.Arch.X86), sockets=not sockets_of_i386))
    with os.fdopen(os.memfd_create("filter"), "w+b", buffering=0) as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()


def _filter(seccomp: Any, architecture: Any, *, sockets: bool = True) -> Any:
    """The rules for one architecture; those for sockets only if asked for."""
    made = seccomp.SyscallFilter(seccomp.ALLOW)
    if not made.exist_arch(architecture):
        made.add_arch(architecture)
        made.remove_arch(seccomp.Arch())
    made.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.ERRNO(errno.ENOSYS))
    refuse = seccomp.ERRNO(errno.EPERM)
    for action, names in ((refuse, REFUSED), (seccomp.ERRNO(errno.ENOSYS), ABSENT)):
        for name in names:
            if seccomp.resolve_syscall(architecture, name) != _UNKNOWN:
                made.add_rule(action, name)
    for name in ("clone", "unshare"):
        made.add_rule(refuse, name, seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_NEWUSER, _CLONE_NEWUSER))
    for request in (_TIOCSTI, _TIOCLINUX):
        # The kernel looks at the lower half only (CVE-2019-10063 was a filter that looked at both).
        made.add_rule(refuse, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, request))
    if sockets:
        unknown = seccomp.ERRNO(errno.EAFNOSUPPORT)
        made.add_rule(unknown, "socket", seccomp.Arg(0, seccomp.GT, max(_FAMILIES)))
        for family in set(range(max(_FAMILIES))) - set(_FAMILIES):
            made.add_rule(unknown, "socket", seccomp.Arg(0, seccomp.EQ, family))
    return made
