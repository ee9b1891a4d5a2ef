"""The programs of recipes/parts, run for real in a root directory and against a small metadata service."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

PARTS = Path(__file__).parents[2] / "recipes/parts"
PROGRAMS = ("metadata/instance-metadata", "metadata/instance-settings", "first-boot/first-boot",
            "dynamic-dns/dynamic-dns", "s3-sync/s3-sync", "web-server/web-page",
            "postgresql/postgresql-s3")  # fmt: skip
# The small service has meta-data under short names, all else under its whole path.
USER_DATA = "/latest/user-data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A root directory that the programs take for the system's, with the programs where the parts put them."""

    root: Path
    metadata: str

    def run(self, program: str, *arguments: str, **environment: str) -> tuple[int, str]:
        """Exit code and what was printed, without the paths of this machine."""
        programs = self.root / "usr/libexec/ami-factory"
        if not programs.exists():
            programs.mkdir(parents=True)
            for each in PROGRAMS:
                (programs / Path(each).name).symlink_to(PARTS / each)
        result = subprocess.run(
            [programs / program, *arguments],
            env={
                **os.environ,
                "AMI_FACTORY_ROOT": str(self.root),
                "AMI_FACTORY_PROGRAMS": str(programs),
                "AMI_FACTORY_INSTANCE_METADATA": str(programs / "instance-metadata"),
                "AMI_FACTORY_METADATA": self.metadata,
                "AMI_FACTORY_TRIES": "2",
                "AMI_FACTORY_PAUSE": "0",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return result.returncode, result.stdout.replace(str(self.root), "")

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
