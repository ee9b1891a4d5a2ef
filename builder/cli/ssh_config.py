"""What SSH is to know of instances: a configuration with a `Host` for each, and the command that uses it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HEADER = "# Written by `ami-factory ssh`, each time anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """An instance that can be reached."""

    name: str
    """Its id."""
    address: str
    port: int


def text(hosts: Sequence[Host], known: Path) -> str:
    """The configuration. Host keys are kept by the instance's id: addresses are used again, and then by others."""
    blocks = [
        f"Host {each.name}\n  HostName {each.address}\n  Port {each.port}\n  HostKeyAlias {each.name}\n"
        for each in hosts
    ]
    common = f"Host i-*\n  User root\n  UserKnownHostsFile {quoted(known)}\n  StrictHostKeyChecking accept-new\n"
    return "\n".join((f"{HEADER}\n", *blocks, common))


def command(
    config: Path, instance: str, words: Sequence[str], *, identity: Path | None = None, user: str | None = None
) -> list[str]:
    """What logs in to an instance, or runs a command there. With an identity no other key is offered."""
    chosen = ["-i", str(identity), "-o", "IdentitiesOnly=yes"] if identity is not None else []
    return ["ssh", "-F", str(config), *chosen, *(["-l", user] if user else []), "--", instance, *words]


def quoted(path: Path) -> str:
    """A path as a value: ssh splits it at blanks, and expands %."""
    return '"' + str(path).replace("%", "%%") + '"'
