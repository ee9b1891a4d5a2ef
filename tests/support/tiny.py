"""A recipe of a tiny distribution that the real command builds in seconds, up to its scripts; and that command."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import rpms

ROOT = Path(__file__).parents[2]
PROGRAMS = ("/usr/bin/cat", "/usr/bin/dash", "/usr/bin/sleep", "/usr/bin/touch", "/usr/bin/dd")

_SHELL = rpms.Rpm(
    name="shell",
    tags="Requires(pre): base\nAutoReqProv: no\n%global _binaries_in_noarch_packages_terminate_build 0",
    install="""
mkdir -p %{{buildroot}}/usr/bin %{{buildroot}}/lib64
cp {programs} %{{buildroot}}/usr/bin
ln -s dash %{{buildroot}}/usr/bin/sh
cp -L --parents {libraries} %{{buildroot}}
""",
    files="/usr/bin/*\n/lib*",
)
_KERNEL = """\
description = "no kernel"
initrd = "dracut"
modules = []
[packages]
x86_64 = ["linux"]
[pv]
loader = "pv-grub-hd0"
payloads = ["gzip"]
menu = "/boot/grub/menu.lst"
grub_root = "(hd0)"
disks = "xvd"
command_line = "ro"
[filesystem]
ext3 = ""
ext4 = ""
inode_size = 256
[aki.x86_64]
local = "aki-919dcaf8"
"""
_RECIPE = """\
name = "tiny"
kernel = "tiny"
[distribution]
installer = "dnf"
release = "1"
packages = ["shell", "systemd-networkd"]
[[distribution.repositories]]
id = "tiny"
baseurl = "file://{repository}"
gpgcheck = false
repo_gpgcheck = true
keys = ["signing-key.asc"]
"""


def make_distribution(base: Path) -> Path:
    """A signed repository with a shell in it, readable by every user."""
    base.chmod(0o755)
    libraries = subprocess.run(["ldd", *PROGRAMS], capture_output=True, text=True, check=True).stdout
    files = sorted(set(re.findall(r"/\S+(?= \(0x)", libraries)))
    shell = rpms.Rpm(
        name=_SHELL.name,
        tags=_SHELL.tags,
        install=_SHELL.install.format(programs=" ".join(PROGRAMS), libraries=" ".join(files)),
        files=_SHELL.files,
    )
    empty = [rpms.Rpm(name=name) for name in ("linux", "systemd-networkd")]  # a recipe must have something like these
    repository = base / "repository"
    repository.mkdir()
    rpms.build_rpms((rpms.BASE, shell, *empty), base / "build").rename(repository / "packages")
    rpms.sign_index(rpms.index(repository), rpms.make_key(base / "key", "tiny"))
    return repository


@dataclass(slots=True, kw_only=True)
class Bench:
    """A directory with the recipe, and the command, run with directories of its own."""

    path: Path
    name: str = "tiny"
    prefix: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    patience: float = 300.0
    """Seconds that a command may take."""

    @property
    def recipe(self) -> Path:
        return self.path / "recipes" / f"{self.name}.toml"

    @property
    def store(self) -> Path:
        return self.path / "cache/ami-factory/store"

    def write(self, repository: Path, *scripts: str) -> None:
        """The recipe, with scripts."""
        for each in ("recipes/tiny", "kernels"):
            (self.path / each).mkdir(parents=True, exist_ok=True)
        (self.path / "kernels/tiny.toml").write_text(_KERNEL)
        key = (repository / "signing-key.asc").read_bytes()
        (self.path / "recipes/tiny/signing-key.asc").write_bytes(key)
        text = _RECIPE.format(repository=repository)
        self.recipe.write_text(text + "".join(f"[[scripts]]\nrun = '''\n{each}\n'''\n" for each in scripts))
        if self.owner:
            for each in (self.path, *self.path.rglob("*")):
                shutil.chown(each, self.owner)

    def start(self, *arguments: str | Path, **more: str) -> "subprocess.Popen[str]":
        """The real command, as leader of a process group, as a shell's job is."""
        return subprocess.Popen(
            # A shell starts what runs in its background with Ctrl-C ignored.
            [
                "env",
                "--default-signal=INT,TERM,HUP",
                *self.prefix,
                sys.executable,
                "-m",
                "builder.cli.main",
                *map(str, arguments),
            ],
            cwd=self.path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
                "XDG_CACHE_HOME": str(self.path / "cache"),
                "XDG_STATE_HOME": str(self.path / "state"),
                "AMI_FACTORY_BOOT": "none",  # most of what is built here is no system, and none is booted by the way
                **self.environment,
                **more,
            },
        )

    def run(self, *arguments: str | Path, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """The command to its end; its output is shown when a test fails."""
        started = self.start(*arguments, **more)
        try:
            out, err = started.communicate(stdin, timeout=self.patience)
        finally:
            started.kill()
        sys.stdout.write(out)
        sys.stderr.write(err)
        return subprocess.CompletedProcess(arguments, started.returncode, out, err)

    def build(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("build", self.recipe, "--until", "customise", *arguments)

    def logs(self) -> Iterator[tuple[Path, str]]:
        for path in sorted((self.store / "logs").glob("*.log")):
            yield path, path.read_text(errors="replace")

    def says(self, text: str) -> bool:
        """Whether a step's log holds it."""
        return any(text in log for _, log in self.logs())

    def workspaces(self) -> list[str]:
        work = self.store / "work"
        return sorted(each.name for each in work.iterdir()) if work.is_dir() else []

    def halves(self) -> list[Path]:
        """Objects that are not whole."""
        return [each for each in (self.store / "objects").glob("*/*") if not (each / "object.json").exists()]


def descendants(pid: int) -> list[int]:
    """Every process that a process started, and those that these started."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():  # the executor starts workers in threads
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def mentions(path: Path) -> list[str]:
    """Processes whose command line or current directory, and mounts and loop devices whose source, is below a path."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            command = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if int(each.name) != os.getpid() and (str(path) in command or str(path) in str((each / "cwd").readlink())):
                found.append(f"{each.name}: {command}")
            found += [line for line in (each / "mountinfo").read_text().splitlines() if str(path) in line]
        except OSError:
            continue
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        if str(path) in backing.read_text():
            found.append(str(backing))
    return found


def alive(pids: Sequence[int]) -> list[int]:
    """Those that run still; one that is dead and not yet waited for does not."""
    return [each for each in pids if _state(each) not in ("", "Z", "X")]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def interrupt(process: "subprocess.Popen[str]", number: signal.Signals) -> tuple[float, str]:
    """Send a signal as the world does (Ctrl-C to the group, others to the command); how long it took, and stderr."""
    began = time.monotonic()
    if number is signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=30)
    return time.monotonic() - began, err
