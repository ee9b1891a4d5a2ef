"""The SSH client, as a proof needs it: nothing of the user's own configuration, keys or known hosts has a say."""

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from builder.host import process

_ACCEPTS = "Server accepts key"
_GREETING_SECONDS = 20.0
_METHODS = re.compile(r"Authentications that can continue: (\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where and as whom. `known` keeps the host keys that were met."""

    port: int
    known: Path
    user: str = "root"
    address: str = "127.0.0.1"


def command(login: Login, *, options: tuple[str, ...], verbose: bool = False) -> list[str]:
    return [
        process.require("ssh", "openssh-client"),
        "-F", "none",
        *(("-v",) if verbose else ()),
        "-p", str(login.port),
        *(part for each in (
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "ConnectTimeout=60",
            "ServerAliveInterval=30",
            "GlobalKnownHostsFile=/dev/null",
            f"UserKnownHostsFile={quoted(login.known)}",
            "HostKeyAlias=guest",
            "StrictHostKeyChecking=accept-new",
            *options,
        ) for part in ("-o", each)),
        f"{login.user}@{login.address}",
    ]  # fmt: skip


def quoted(path: Path) -> str:
    """A path within an option: ssh splits it at blanks, and expands %."""
    return '"' + str(path).replace("%", "%%") + '"'


def make_key(path: Path) -> str:
    """A new key pair at `path` and `path`.pub; the public half."""
    process.run(
        [process.require("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path],
        capture=True,
    )
    return path.with_name(f"{path.name}.pub").read_text().strip()


def run(login: Login, key: Path, script: str) -> tuple[int, str, str]:
    """Exit code, output and messages of a shell script there; 255 when ssh itself failed."""
    done = process.run(
        [*command(login, options=(f"IdentityFile={quoted(key)}", "PreferredAuthentications=publickey")), "sh -s"],
        stdin=script.encode(),
        capture=True,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace").strip()


def greets(login: Login) -> bool:
    """Whether a server says there that it is one (RFC 4253, 4.2)."""
    try:
        with socket.create_connection((login.address, login.port), timeout=_GREETING_SECONDS) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def accepts(login: Login, public: str, scratch: Path) -> bool:
    """Whether the server would let this public key in: it says so before it asks for a signature (RFC 4252, 7)."""
    path = scratch / "asked.pub"
    path.write_text(public.strip() + "\n")
    done = process.run(
        [*command(login, options=(f"IdentityFile={quoted(path)}",), verbose=True), "true"], capture=True, check=False
    )
    return _ACCEPTS in done.stderr.decode(errors="replace")


def methods(login: Login) -> tuple[str, ...]:
    """How one may authenticate there; () when the server did not say."""
    done = process.run(
        [*command(login, options=("PreferredAuthentications=none",), verbose=True), "true"], capture=True, check=False
    )
    found = _METHODS.search(done.stderr.decode(errors="replace"))
    return tuple(found[1].split(",")) if found else ()
