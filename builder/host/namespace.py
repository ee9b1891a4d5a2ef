"""The private user, mount and PID namespace that all tree work runs in, for root and user alike."""

import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from builder.errors import HostError
from builder.host import process

# Inside, the caller is root and ids 1..65534 are subordinate ids. setpriv ties its life to the caller's: if the
# caller is killed, unshare is, and with --kill-child so is every process of the PID namespace and every mount.
NAMESPACE = (
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--map-auto", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip
# The same without an id map, for root only: files keep the owners that they have on this machine.
OWN_IDS = (
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip
SUBORDINATE = (Path("/etc/subuid"), Path("/etc/subgid"))
ENOUGH_IDS = 65536
ENOUGH_NAMESPACES = 10000


def inside(command: Sequence[str | Path]) -> list[str]:
    """The command line that runs `command` as root of a private namespace."""
    return [*NAMESPACE, "--", *(str(part) for part in command)]


def beside(command: Sequence[str | Path]) -> list[str]:
    """The command line that runs `command` where its mounts and processes are its own, but ids are this machine's.

    For root: what it reads of this machine has the owners that it has. Others get `inside`.
    """
    return [*OWN_IDS, "--", *map(str, command)] if os.geteuid() == 0 else inside(command)


def subordinate_ids(path: Path) -> int:
    """How many ids a file gives this user, who may stand in it by name or by number."""
    names = {user_name(), str(os.getuid())}
    return sum(count for name, _, count in _ranges(path) if name in names)


def free_range(paths: Sequence[Path]) -> str:
    """A range that nobody has in any of the files, as usermod takes it."""
    first = max((start + count for path in paths for _, start, count in _ranges(path)), default=100000)
    return f"{first}-{first + ENOUGH_IDS - 1}"


def ids_remedy(lacking: Sequence[Path], paths: Sequence[Path] = SUBORDINATE) -> str:
    """The command that gives this user ids in the files that lack them."""
    options = " ".join(f"--add-{path.name}s {free_range(paths)}" for path in lacking)
    return f"usermod {options} {user_name()}"


def user_name() -> str:
    """The user's name by the user database, not by variables of the environment; the number without an entry."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _ranges(path: Path) -> Iterator[tuple[str, int, int]]:
    """name, first, count of each line that is well formed."""
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if first.isdigit() and count.isdigit():
            yield name, int(first), int(count)


def require_namespace() -> None:
    """HostError unless this user can make the namespace: subordinate ids, newuidmap, user namespaces allowed."""
    process.require("newuidmap", "uidmap")
    lacking = [path for path in SUBORDINATE if subordinate_ids(path) < ENOUGH_IDS]
    if lacking:
        raise HostError(
            f"{user_name()} has fewer than {ENOUGH_IDS} subordinate ids in {' and '.join(map(str, lacking))}",
            hint=f"run: {ids_remedy(lacking)}",
        )
    # First without an id map: where the kernel refuses the namespace, unshare 2.38 leaves the child behind that was to
    # write the map, and with it the pipes of its output: waiting for their end would take forever.
    for command in (["unshare", "--user", "true"], inside(["true"])):
        tried = process.run(command, capture=True, check=False)
        if tried.returncode != 0:
            raise HostError(
                "this machine does not let you make a user namespace",
                detail=tried.stderr.decode(errors="replace").strip(),
                hint=namespace_remedy(),
            )


def namespace_remedy(settings: Path = Path("/proc/sys")) -> str:
    """What to enable so that this user can make user namespaces: the settings of this kernel that forbid it.

    user.max_user_namespaces is the kernel's own (namespaces(7)); kernel.unprivileged_userns_clone is Debian's, and
    kernel.apparmor_restrict_unprivileged_userns Ubuntu's from 23.10 on, where such a namespace is made and then has no
    rights in it.
    """
    found = []
    for name, forbids, wanted in (
        ("user.max_user_namespaces", "0", str(ENOUGH_NAMESPACES)),
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ):
        file = settings / name.replace(".", "/")
        with suppress(OSError):
            if file.read_text().strip() == forbids:
                found.append(f"{name}={wanted}")
    if found:
        return f"as root: sysctl -w {' '.join(found)} (and a file in /etc/sysctl.d, to keep it)"
    return "no setting of the kernel forbids it: a chroot never has any, and a container must be started with them"


def remove_tree(*paths: Path) -> None:
    """Remove directories that may hold files of subordinate ids. Missing ones are no error."""
    existing = [path for path in paths if path.exists() or path.is_symlink()]
    if existing:
        process.run(inside(["rm", "-rf", "--one-file-system", "--", *existing]), capture=True)
