"""Running programs of a tree in that tree: bubblewrap inside the namespace.

What runs there sees the tree, a fresh /proc, /dev, /run and /tmp, and nothing else of this machine: no path of the
host is writable, and there is no network unless asked for. It ends with its caller, and earlier when it takes more
than its limits (host/limits.py). What namespaces do not cover, a filter of system calls does (host/system_calls.py).
"""

import errno
import functools
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostError
from builder.host import process, tree_files
from builder.host.devices import protect_devices
from builder.host.limits import bounded, current
from builder.host.system_calls import system_call_filter

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOSTNAME = "ami-factory"
ENVIRONMENT = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TZ": "UTC", "TERM": "dumb"}
# What a package's or an author's script needs to own and place files; not CAP_SYS_ADMIN (mounts) or CAP_MKNOD.
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
    "CAP_SETFCAP", "CAP_SYS_CHROOT", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE",
)  # fmt: skip
_OWN_MOUNTS = ("/proc", "/dev", "/run", "/tmp")
# /proc is read-only: where root of the namespace is this machine's root, /proc/sys is writable to it (bwrap 0.8 makes
# it so only if the directory itself looks writable, and it does not), and kernel.core_pattern runs programs outside.
_PROC = ("--proc", "/proc", "--remount-ro", "/proc")
_SHARES = {"/run": 8, "/dev/shm": 8, "/tmp": 2}
"""Which part of the memory a file system in memory may fill: less than all of it together."""
_IN_MEMORY = tuple(f"{path}/" for path in _OWN_MOUNTS)
_OF_THE_HOST = tuple(map(Path, ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")))
_RESOLV_CONF = "/etc/resolv.conf"
_ELF32 = b"\x7fELF\x01"

# The smallest i386 program: mov eax, 1; xor ebx, ebx; int 0x80 (exit 0), after an ELF header and one program header.
_I386_PROGRAM = (
    b"\x7fELF\x01\x01\x01" + bytes(9)
    + b"\x02\0\x03\0\x01\0\0\0\x54\x80\x04\x08\x34\0\0\0" + bytes(8) + b"\x34\0\x20\0\x01\0\0\0\0\0\0\0"
    + b"\x01\0\0\0\0\0\0\0\0\x80\x04\x08\0\x80\x04\x08\x5d\0\0\0\x5d\0\0\0\x05\0\0\0\0\x10\0\0"
    + b"\xb8\x01\0\0\0\x31\xdb\xcd\x80"
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file or directory of this machine that the sandbox sees, read-only unless `writable`."""

    source: Path
    destination: str
    writable: bool = False


def run_in_tree(
    tree: Path,
    command: Sequence[str],
    *,
    network: bool = False,
    env: Mapping[str, str],
    binds: Sequence[Bind] = (),
    capture: bool = False,
    check: bool = True,
    what: str = "",
    grows: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program of the tree as its root; results and failures are those of `process.run`.

    `env` is added to a small fixed environment. Mount points that are missing in the tree are gone again afterwards.
    BuilderError that names `what` (the program, if it is not said) when a limit stops it; `grows` is where the files
    that it writes to the tree are.
    """
    require_architecture(tree)
    protect_devices()
    name = what or Path(command[0]).name
    with mount_points(tree, binds, network=network) as all_binds, bounded(name, grows=grows) as watch:
        return process.run(
            [*watch.prefix, *sandbox_command(tree, command, network=network, binds=all_binds, env=env)],
            env=ENVIRONMENT,
            clean=True,
            watch=watch,
            capture=capture,
            check=check,
        )


def run_confined(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    binds: Sequence[Bind] = (),
    network: bool = False,
    devices: Sequence[str] = (),
    check: bool = True,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program of this machine as `confined_command` has it, within the limits; what it says comes back."""
    protect_devices()
    with bounded(Path(command[0]).name) as watch:
        return process.run(
            [*watch.prefix, *confined_command(command, binds=binds, network=network, devices=devices)],
            env=env,
            clean=True,
            watch=watch,
            capture=True,
            check=check,
        )


def _variables(env: Mapping[str, str]) -> process.Handed:
    """bubblewrap's arguments that set `env` inside.

    Not in bubblewrap's own environment: LD_PRELOAD of a recipe would run code before there are any walls. Not on its
    command line: that stands in the log.
    """
    settings = (b"--setenv\0%b\0%b\0" % (name.encode(), value.encode()) for name, value in env.items())
    return process.Handed("variables", b"".join(settings))


def sandbox_command(
    tree: Path,
    command: Sequence[str],
    *,
    network: bool = False,
    binds: Sequence[Bind] = (),
    interactive: bool = False,
    env: Mapping[str, str] | None = None,
) -> list[str]:
    """The command line; to be run inside the namespace, with `mount_points` around it. `env` is set inside only."""
    argv = [process.require("bwrap", "bubblewrap"), "--bind", str(tree), "/"]
    argv += ["--args", _variables(env)] if env else []
    argv += [*_PROC, "--dev", "/dev", *_in_memory()]
    for bind in binds:
        argv += ["--bind" if bind.writable else "--ro-bind", str(bind.source), bind.destination]
    argv += [] if interactive else ["--new-session"]  # A terminal must not be typed into by what runs inside.
    return [*argv, *_walls(network=network, i386=is_i386(tree)), "--chdir", "/", "--", *command]


def confined_command(
    command: Sequence[str], *, binds: Sequence[Bind] = (), network: bool = False, devices: Sequence[str] = ()
) -> list[str]:
    """The command line that runs a program of this machine where it sees `/usr` and `/etc` (read-only) and `binds`.

    Of `/etc` only what anybody may read: where root of the namespace is this machine's root, a package's scriptlet
    could read passwords and private keys.

    `devices` are places, below the binds, where the usual few device nodes are to be: programs that are run in a
    tree there must find /dev/null, or they make a file of that name.
    """
    argv = [process.require("bwrap", "bubblewrap")]
    for path in _OF_THE_HOST:
        if path.is_symlink():
            argv += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            argv += ["--ro-bind", str(path), str(path)]
    argv += _hidden(Path("/etc"))
    argv += [*_PROC, "--dev", "/dev", *_in_memory()]
    if network and Path(_RESOLV_CONF).is_symlink():
        argv += ["--ro-bind-try", str(Path(_RESOLV_CONF).resolve()), str(Path(_RESOLV_CONF).resolve())]
    for bind in binds:
        argv += ["--bind" if bind.writable else "--ro-bind", str(bind.source), bind.destination]
    for place in devices:
        argv += ["--dev", place]
    # A package's scriptlets are of the tree's architecture, which is not known here.
    return [*argv, *_walls(network=network, i386=True), "--chdir", "/", "--", *command]


def _in_memory() -> list[str]:
    """File systems in memory, which can be filled, but not with all of it."""
    argv = []
    for place, share in _SHARES.items():
        mode = "0755" if place == "/run" else "1777"
        argv += ["--perms", mode, "--size", str(current().memory // share), "--tmpfs", place]
    return [*argv, "--remount-ro", "/dev"]


def _hidden(directory: Path) -> Iterator[str]:
    """bubblewrap's arguments that put something empty over what not everybody may read."""
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_symlink():
                continue
            anybody = entry.stat(follow_symlinks=False).st_mode
            if not entry.is_dir(follow_symlinks=False):
                yield from () if anybody & stat.S_IROTH else ("--ro-bind", "/dev/null", entry.path)
            elif anybody & stat.S_IROTH and anybody & stat.S_IXOTH:
                yield from _hidden(Path(entry.path))
            else:
                yield from ("--tmpfs", entry.path)


@contextmanager
def mount_points(tree: Path, binds: Sequence[Bind] = (), *, network: bool = False) -> Iterator[tuple[Bind, ...]]:
    """All binds, the host's resolv.conf among them if there is to be a network; what bubblewrap has to make in the
    tree as places to mount on is removed at the end."""
    wanted = [*binds]
    if network and Path(_RESOLV_CONF).exists():
        inside = "/" + str(tree_files.follow(tree, _RESOLV_CONF).relative_to(tree))
        wanted.append(Bind(source=Path(_RESOLV_CONF).resolve(), destination=inside))
    in_tree = [bind.destination for bind in wanted if not bind.destination.startswith(_IN_MEMORY)]
    missing = list(_missing(tree, [*_OWN_MOUNTS, *in_tree]))
    times = [(path, path.stat()) for path in {each.parent for each in missing} if path.exists()]
    try:
        yield tuple(wanted)
    finally:
        for path in sorted(missing, reverse=True):
            if _is_where_it_was(tree, path):
                _remove_mount_point(path)
        for path, status in times:
            if _is_where_it_was(tree, path) and path.is_dir():
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def require_architecture(tree: Path) -> None:
    """HostError if programs of this tree cannot run on this machine's kernel (32-bit ones, emulation off)."""
    if is_i386(tree):
        require_i386()


def is_i386(tree: Path) -> bool:
    """Whether the tree is of 32-bit programs, as its shell tells."""
    for shell in ("/usr/bin/sh", "/bin/sh", "/usr/bin/bash"):
        found = tree_files.follow(tree, shell)
        if found.is_file():
            return tree_files.read_start(tree, shell, len(_ELF32)) == _ELF32
    return False


@functools.cache
def require_i386() -> None:
    """HostError if this kernel does not run 32-bit x86 programs: only trying shows it (ia32_emulation=0)."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "exit-0")
        program.write_bytes(_I386_PROGRAM)
        program.chmod(0o755)
        try:
            works = process.run([program], check=False).returncode == 0
        except OSError as error:
            if error.errno not in (errno.ENOEXEC, errno.EACCES):
                raise
            works = False
    if not works:
        raise HostError(
            "this kernel does not run 32-bit x86 programs, which an i386 tree is made of",
            hint='boot it with ia32_emulation=1, or leave "i386" out of the recipe\'s architectures',
        )


def _walls(*, network: bool, i386: bool) -> list[str]:
    argv = ["--seccomp", process.Handed("filter", system_call_filter(sockets_of_i386=i386))]
    argv += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", HOSTNAME, "--unshare-cgroup-try"]
    argv += [] if network else ["--unshare-net"]
    argv += ["--die-with-parent", "--cap-drop", "ALL"]
    for capability in CAPABILITIES:
        argv += ["--cap-add", capability]
    return argv


def _missing(tree: Path, destinations: Iterable[str]) -> Iterator[Path]:
    """The places below the tree that do not exist yet, their missing parents included."""
    for destination in destinations:
        place = tree_files.follow(tree, destination)
        while place != tree and not os.path.lexists(place):
            yield place
            place = place.parent


def _is_where_it_was(tree: Path, path: Path) -> bool:
    """Whether the way to `path` is still without links: a script may have put one there, which leads out for us."""
    return tree_files.follow(tree, str(path.relative_to(tree))) == path


def _remove_mount_point(path: Path) -> None:
    """Remove an empty directory or an empty file; what a script put there stays."""
    with suppress(FileNotFoundError, OSError):
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            path.rmdir()
        elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
            path.unlink()
