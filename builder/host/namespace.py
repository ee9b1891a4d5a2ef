"""The private user, mount and PID namespace that all tree work runs in, for root and user alike."""

import getpass
from collections.abc import Sequence
from pathlib import Path

from builder.errors import HostError
from builder.host import process

# Inside, the caller is root and ids 1..65534 are subordinate ids. setpriv ties its life to the caller's: if the
# caller is killed, unshare is, and with --kill-child so is every process of the PID namespace and every mount.
NAMESPACE = (
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--map-auto", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip
# The same life line for programs that need no namespace.
TIED = ("setpriv", "--pdeathsig", "KILL")


def inside(command: Sequence[str | Path]) -> list[str]:
    """The command line that runs `command` as root of a private namespace."""
    return [*NAMESPACE, "--", *(str(part) for part in command)]


def require_namespace() -> None:
    """HostError unless this user can make the namespace: subordinate ids, newuidmap, user namespaces allowed."""
    user = getpass.getuser()
    process.require("newuidmap", "uidmap")
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        lines = path.read_text().splitlines() if path.exists() else []
        if not any(line.startswith(f"{user}:") for line in lines):
            raise HostError(
                f"{path} has no subordinate ids for {user}",
                hint=f"run: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
            )
    # First without an id map: where the kernel refuses the namespace, unshare 2.38 leaves the child behind that was to
    # write the map, and with it the pipes of its output: waiting for their end would take forever.
    for command in (["unshare", "--user", "true"], inside(["true"])):
        tried = process.run(command, capture=True, check=False)
        if tried.returncode != 0:
            raise HostError(
                "this machine does not let you make a user namespace",
                detail=tried.stderr.decode(errors="replace").strip(),
                hint="sysctl kernel.unprivileged_userns_clone=1 (a chroot never has any, a container may not)",
            )


def remove_tree(*paths: Path) -> None:
    """Remove directories that may hold files of subordinate ids. Missing ones are no error."""
    existing = [path for path in paths if path.exists() or path.is_symlink()]
    if existing:
        process.run(inside(["rm", "-rf", "--one-file-system", "--", *existing]), capture=True)
