"""What a start of the region may ask for, and how it is said to the daemon. Light: who starts it imports this."""

import argparse
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from builder.errors import RecipeError
from builder.host.directories import cache_directory

GUEST_MEMORY_MIB = 512
LEAST_MEMORY_MIB = 64
CLIENT = "203.0.113.25"
"""Where this host's connections to instances seem to come from: nobody's address (RFC 5737)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    port: int = 0
    """Of 127.0.0.1; 0: the last one, or a free one."""
    guest_memory_mib: int = 0
    """The most that an instance gets, whatever its type; 0 leaves it to the region."""
    client: str = ""
    """An IPv4 address, for the rules of security groups to let in or not; "" leaves it to the region."""
    cache: Path | None = None
    """Where what instances run on is kept; None: the user's own cache."""


def check(wishes: Wishes) -> None:
    """RecipeError for what cannot be."""
    if wishes.guest_memory_mib and wishes.guest_memory_mib < LEAST_MEMORY_MIB:
        raise RecipeError(f"{wishes.guest_memory_mib} MiB are too little for an instance", hint="give it 512")
    try:
        ipaddress.IPv4Address(wishes.client or CLIENT)
    except ValueError:
        raise RecipeError(f'"{wishes.client}" is not an IPv4 address', hint=f"such as {CLIENT}") from None


def command_line(wishes: Wishes) -> list[str | Path]:
    """For the daemon, which does not see its starter's environment."""
    return [
        "--port", str(wishes.port),
        "--guest-memory", str(wishes.guest_memory_mib or GUEST_MEMORY_MIB),
        "--client", wishes.client or CLIENT,
        "--cache", wishes.cache or cache_directory(),
    ]  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1 (default: the last one, or a free one)")
    parser.add_argument("--guest-memory", type=int, default=GUEST_MEMORY_MIB, help="MiB that an instance gets at most")
    parser.add_argument("--client", default=CLIENT, help="the address that instances see for connections of this host")
    parser.add_argument("--cache", type=Path, help="where what instances run on is kept")


def parsed(arguments: argparse.Namespace) -> Wishes:
    return Wishes(
        port=arguments.port,
        guest_memory_mib=arguments.guest_memory,
        client=arguments.client,
        cache=arguments.cache or cache_directory(),
    )
