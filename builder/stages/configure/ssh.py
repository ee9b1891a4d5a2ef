"""How root and the recipe's users log in: by key, with host keys that are the instance's own."""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from builder.errors import BuilderError, RecipeError
from builder.host import tree_files
from builder.stages.configure.spec import SshSpec, UserKeys

SSHD_CONFIG = "/etc/ssh/sshd_config"
DROP_IN = "/etc/ssh/sshd_config.d/00-ami-factory.conf"
FETCH = "/usr/libexec/ami-factory/fetch-ssh-key"
UNITS = "/etc/systemd/system"
_DATA = files(__package__)


def data(name: str) -> bytes:
    """A file that lies beside this one."""
    return _DATA.joinpath(name).read_bytes()


def configure_server(tree: Path) -> None:
    """Key only. The first value of a keyword counts, so ours come before all others (sshd_config(5))."""
    text = tree_files.read(tree, SSHD_CONFIG)
    if text is None:
        raise BuilderError(f"the tree has no {SSHD_CONFIG}", hint="add openssh-server to distribution.packages")
    if includes_drop_ins(text.decode(errors="replace")):
        tree_files.write(tree, DROP_IN, data("sshd.conf"), mode=0o600)
    else:
        tree_files.write(tree, SSHD_CONFIG, data("sshd.conf") + b"\n" + text, mode=0o600)


def includes_drop_ins(text: str) -> bool:
    """Whether the first thing that a sshd_config says is to include sshd_config.d (OpenSSH 8.2 and newer)."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return re.match(r"include\s+(/etc/ssh/)?sshd_config\.d/\*", first, re.IGNORECASE) is not None


def first_boot_units(tree: Path, ssh: SshSpec, units: Mapping[str, str]) -> tuple[str, ...]:
    """Write what makes host keys and fetches the launch key; the units to enable.

    A distribution that makes its own host keys at boot (Fedora's sshd-keygen.target) goes on doing so.
    """
    wanted = []
    if "sshd-keygen.target" not in units:
        wanted += ["ami-factory-host-keys.service", "ami-factory-host-keys-late.service"]
    if ssh.metadata_key:
        if not tree_files.exists(tree, "/usr/bin/curl"):
            raise BuilderError(
                "the tree has no curl, which fetches the SSH key that an instance is launched with",
                hint="add curl to distribution.packages, or set ssh.metadata_key = false",
            )
        tree_files.write(tree, FETCH, data("fetch-ssh-key.sh"), mode=0o755)
        wanted.append("ami-factory-ssh-key.service")
    for name in wanted:
        tree_files.write(tree, f"{UNITS}/{name}", data(name))
    return tuple(wanted)


def authorize(tree: Path, users: tuple[UserKeys, ...]) -> None:
    """Put the keys where sshd looks: the file 0600 and its directory 0700, both the user's own."""
    accounts = read_accounts((tree_files.read(tree, "/etc/passwd") or b"").decode(errors="replace"))
    for user in users:
        if user.name not in accounts:
            raise RecipeError(f'users: the tree has no user "{user.name}"', hint="is its name spelled as in [[users]]?")
        uid, gid, home = accounts[user.name]
        tree_files.make_directory(tree, f"{home}/.ssh", mode=0o700, uid=uid, gid=gid)
        text = "".join(f"{key}\n" for key in user.authorized_keys).encode()
        tree_files.write(tree, f"{home}/.ssh/authorized_keys", text, mode=0o600, uid=uid, gid=gid)


def read_accounts(passwd: str) -> dict[str, tuple[int, int, str]]:
    """Name to user id, group id and home, of the well-formed lines of an /etc/passwd."""
    accounts = {}
    for line in passwd.splitlines():
        parts = line.split(":")
        if len(parts) == 7 and parts[2].isdigit() and parts[3].isdigit() and parts[5].startswith("/"):
            accounts[parts[0]] = (int(parts[2]), int(parts[3]), parts[5])
    return accounts


def lock_root(tree: Path) -> None:
    """An empty password of root's becomes none at all; any other is left as it is."""
    shadow = tree_files.read(tree, "/etc/shadow")
    if shadow is None or (not shadow.startswith(b"root::") and b"\nroot::" not in shadow):
        return
    status = tree_files.follow(tree, "/etc/shadow").stat()
    locked = re.sub(rb"(?m)^root::", b"root:*:", shadow)
    tree_files.write(tree, "/etc/shadow", locked, mode=status.st_mode & 0o7777, uid=status.st_uid, gid=status.st_gid)
