"""The classic commands as a user types them: their own processes, in a directory of their own."""

import os
import pty
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.desk import Done
from tests.support.plans import ROOT

HERE = Path(sys.executable).parent
"""Where the entry points are installed."""


@dataclass(slots=True, kw_only=True)
class Shell:
    """Where commands are typed. `state` has the local region and the user's keys."""

    path: Path
    state: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{HERE}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.path),
            "TMPDIR": str(self.path),
            "XDG_STATE_HOME": str(self.state),
            "XDG_CACHE_HOME": str(self.state),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "COLUMNS": "100",
            **self.variables,
        }

    def start(self, command: str, *words: str | Path, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        """Begin a command that is installed: `ec2-register`, `ami-factory`."""
        return subprocess.Popen(
            ["env", "--default-signal=INT", command, *map(str, words)],
            cwd=self.path,
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *words: str | Path) -> Done:
        """Run it to its end, with nobody to ask."""
        with self.start(command, *words) as process:
            stdout, stderr = process.communicate(timeout=100)
        return Done(code=process.returncode, stdout=stdout, stderr=stderr)

    def good(self, command: str, *words: str | Path) -> Done:
        """Run it, and hold that it ends well."""
        done = self.run(command, *words)
        assert done.code == 0, done.stderr
        return done

    def script(self, text: str) -> Done:
        """Run lines in a shell that stops at the first that fails."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Done(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def at_a_terminal(self, typed: str, command: str, *words: str | Path) -> tuple[int, str]:
        """Run it at a terminal, where somebody types; its exit code, and all that the terminal shows."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [command, *map(str, words)],
            cwd=self.path,
            env={**self.environment, "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            os.write(ours, typed.encode())
            shown = b""
            while True:
                try:
                    block = os.read(ours, 65536)
                except OSError:  # EIO: the last writer is gone
                    break
                shown += block
            process.wait(timeout=100)
        os.close(ours)
        return process.returncode, shown.decode().replace("\r\n", "\n")
