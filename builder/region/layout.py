"""Where things are in a region's directory."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    directory: Path

    @property
    def state(self) -> Path:
        """Records and bytes: all that `reset` removes."""
        return self.directory / "state"

    @property
    def instances(self) -> Path:
        """What instances are made of and what they say: under what `reset` removes."""
        return self.state / "instances"

    @property
    def lock(self) -> Path:
        """Held by the daemon as long as it lives, SIGKILL or not."""
        return self.directory / "daemon.lock"

    @property
    def control(self) -> Path:
        """Held by whoever starts, stops or resets the daemon, while at it."""
        return self.directory / "control.lock"

    @property
    def daemon(self) -> Path:
        """Port, pid and start of the daemon that runs, or ran last."""
        return self.directory / "daemon.json"

    @property
    def port(self) -> Path:
        """The port it listened on last: clients know the region by it."""
        return self.directory / "port"

    @property
    def log(self) -> Path:
        return self.directory / "region.log"


def write(path: Path, text: str) -> None:
    """Write by rename: readers see the old file or the new one."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    aside.rename(path)
