"""Builds that are killed, interrupted, or refused by this machine: the real command on a tiny distribution."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from builder.host.namespace import remove_tree
from tests.support.tiny import ROOT, Bench, alive, descendants, interrupt, make_distribution, mentions, wait_for

pytestmark = pytest.mark.host

QUICK = "touch /one"
SLOW = "echo begun; touch /two; sleep 60"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
KILL, INT, TERM, HUP = signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@pytest.fixture(scope="module")
def repository() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="ami-factory-tiny-"))
    yield make_distribution(base)
    shutil.rmtree(base)


@pytest.fixture
def bench() -> Iterator[Bench]:
    path = Path(tempfile.mkdtemp(prefix="ami-factory-bench-"))
    path.chmod(0o755)
    yield Bench(path=path)
    if os.geteuid() == 0:
        shutil.rmtree(path)  # another user's files as well, which root's own namespace knows nothing of
    else:
        remove_tree(path)


@pytest.fixture
def as_builder(bench: Bench, other_user: str) -> Bench:
    """The command run by an ordinary user. runuser would start a shell between: setpriv becomes the command."""
    bench.owner = other_user
    bench.prefix = ("setpriv", f"--reuid={other_user}", f"--regid={other_user}", "--clear-groups", "--")
    bench.environment = {"HOME": str(bench.path), "USER": other_user, "LOGNAME": other_user}
    return bench


def nothing_runs(bench: Bench, started: list[int]) -> None:
    """Soon, none of these processes is there, and nothing names the directory: no program, no mount, no loop device."""
    wait_for(lambda: not alive(started), 10)
    wait_for(lambda: not mentions(bench.path), 10)


def nothing_is_left(bench: Bench, started: list[int]) -> None:
    assert alive(started) == []
    assert mentions(bench.path) == []
    assert bench.workspaces() == []
    assert bench.halves() == []


def the_next_build_is_good(bench: Bench, steps: int) -> None:
    done = bench.build()
    assert done.returncode == 0
    assert len(list((bench.store / "objects").glob("*/*"))) == steps
    assert (bench.workspaces(), bench.halves(), mentions(bench.path)) == ([], [], [])


# Killed.


def kill_at(bench: Bench, seconds: float) -> set[Path]:
    """Kill a build after so many seconds; the objects that it had finished."""
    builder = bench.start("build", bench.recipe, "--until", "customise")
    time.sleep(seconds)
    started = descendants(builder.pid)
    builder.kill()
    builder.communicate()
    nothing_runs(bench, started)
    assert bench.halves() == []
    return set((bench.store / "objects").glob("*/*"))


def test_sigkill_at_any_time(bench: Bench, repository: Path) -> None:
    bench.write(repository, QUICK, "sleep 0.5")
    random.seed(f"{time.time()}")
    finished: set[Path] = set()
    for seconds in sorted(random.uniform(0.3, 2.5) for _ in range(3)):
        print(f"killed after {seconds:.2f} s")  # for when this fails
        before = {each: each.stat().st_ino for each in finished}
        finished = kill_at(bench, seconds)
        assert {each: each.stat().st_ino for each in before} == before  # never made again
    the_next_build_is_good(bench, 3)


def test_sigkill_of_an_ordinary_users_build(as_builder: Bench, repository: Path) -> None:
    as_builder.write(repository, SLOW)
    builder = as_builder.start("build", as_builder.recipe, "--until", "customise")
    wait_for(lambda: as_builder.says("begun"))
    started = descendants(builder.pid)
    assert len(started) > 4
    builder.kill()
    builder.communicate()
    nothing_runs(as_builder, started)
    as_builder.write(repository, QUICK)
    the_next_build_is_good(as_builder, 2)


@pytest.mark.parametrize("depth", [pytest.param(0, id="unshare"), pytest.param(1, id="the worker")])
def test_a_step_whose_process_is_killed(bench: Bench, repository: Path, depth: int) -> None:
    bench.write(repository, SLOW)
    builder = bench.start("build", bench.recipe, "--until", "customise")
    wait_for(lambda: bench.says("begun"))
    started = descendants(builder.pid)
    os.kill(started[depth], KILL)
    _, err = builder.communicate(timeout=10)
    assert builder.returncode == 1
    assert re.search(r"^error: customise.1: its process ended early", err, re.MULTILINE), err
    nothing_is_left(bench, started)


def test_sigkill_while_a_key_is_made(bench: Bench, repository: Path) -> None:
    """gpg's agent lives in a namespace of its own."""
    bench.write(repository, QUICK)
    text = "from pathlib import Path; from builder.stages.repository.signing import *; make_signing_key(Path('{}'))"
    maker = subprocess.Popen(
        ["python3", "-c", text.format(bench.path / "state")], env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    wait_for(lambda: len(descendants(maker.pid)) > 2)
    started = descendants(maker.pid)
    maker.kill()
    maker.wait()
    nothing_runs(bench, started)


# Interrupted.


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_an_interrupted_build_is_clean_at_once(bench: Bench, repository: Path, number: signal.Signals) -> None:
    bench.write(repository, SLOW)
    builder = bench.start("build", bench.recipe, "--until", "customise")
    wait_for(lambda: bench.says("begun"))
    started = descendants(builder.pid)
    took, err = interrupt(builder, number)
    assert (builder.returncode, took < 2) == (130, True), (took, err)
    assert "Traceback" not in err
    assert "\nerror: interrupted\n" in err
    nothing_is_left(bench, started)


def test_an_impatient_user(bench: Bench, repository: Path) -> None:
    """Ctrl-C, again and again: what the first one began is ended."""
    bench.write(repository, SLOW)
    builder = bench.start("build", bench.recipe, "--until", "customise")
    wait_for(lambda: bench.says("begun"))
    started = descendants(builder.pid)
    while builder.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(builder.pid, INT)
        time.sleep(0.01)
    _, err = builder.communicate()
    assert builder.returncode == 130, err
    assert "Traceback" not in err
    nothing_is_left(bench, started)


def test_nohup_is_respected(bench: Bench, repository: Path) -> None:
    bench.prefix = ("nohup",)
    bench.write(repository, "echo begun; sleep 1")
    builder = bench.start("build", bench.recipe, "--until", "customise")
    wait_for(lambda: bench.says("begun"))
    builder.send_signal(HUP)
    builder.communicate(timeout=30)
    assert builder.returncode == 0


def test_an_ordinary_users_build_is_interrupted(as_builder: Bench, repository: Path) -> None:
    as_builder.write(repository, SLOW)
    builder = as_builder.start("build", as_builder.recipe, "--until", "customise")
    wait_for(lambda: as_builder.says("begun"))
    started = descendants(builder.pid)
    took, err = interrupt(builder, INT)
    assert (builder.returncode, took < 2) == (130, True), (took, err)
    nothing_is_left(as_builder, started)


def test_interrupted_while_locking(bench: Bench, repository: Path) -> None:
    bench.write(repository, QUICK)
    builder = bench.start("lock", bench.recipe)
    wait_for(lambda: bench.says("+ "))
    started = descendants(builder.pid)
    took, err = interrupt(builder, INT)
    assert (builder.returncode, took < 2) == (130, True), (took, err)
    assert not bench.recipe.with_suffix(".lock").exists()
    nothing_is_left(bench, started)


def test_interrupted_while_installing(bench: Bench, repository: Path) -> None:
    bench.write(repository, QUICK)
    bench.run("lock", bench.recipe)
    builder = bench.start("build", bench.recipe, "--until", "packages")
    wait_for(lambda: bench.says("Installing"))
    started = descendants(builder.pid)
    took, err = interrupt(builder, INT)
    assert (builder.returncode, took < 2) == (130, True), (took, err)
    nothing_is_left(bench, started)


# Two at once.


def test_one_waits_for_the_other_and_can_be_interrupted(bench: Bench, repository: Path) -> None:
    bench.write(repository, SLOW)
    first = bench.start("build", bench.recipe, "--until", "customise")
    wait_for(lambda: bench.says("begun"))
    second = bench.start("build", bench.recipe, "--until", "customise")
    time.sleep(1.5)
    took, err = interrupt(second, INT)
    assert (second.returncode, took < 2) == (130, True), (took, err)
    assert first.poll() is None
    assert len(bench.workspaces()) == 2  # the first one's, and its lock
    interrupt(first, INT)
    assert bench.workspaces() == []


def test_two_builds_at_once_do_every_step_once(bench: Bench, repository: Path) -> None:
    bench.write(repository, QUICK, "echo begun; sleep 1")
    both = [bench.start("build", bench.recipe, "--until", "customise") for _ in range(2)]
    ended = [each.communicate(timeout=60) for each in both]
    assert [each.returncode for each in both] == [0, 0], ended
    assert ended[0][0] == ended[1][0]
    ran = [line.split()[0] for _, err in ended for line in err.splitlines() if " done " in line]
    assert sorted(ran) == ["customise.1", "customise.2", "packages"], ended
    assert bench.workspaces() == []


# A script that fails.


def test_a_failing_script_says_where_to_look(bench: Bench, repository: Path) -> None:
    bench.write(repository, QUICK, "echo about to fail; touch /half; exit 42")
    done = bench.build()
    assert done.returncode == 1
    assert re.search(r"^error: customise.2: script scripts\[1\] failed with exit code 42$", done.stderr, re.MULTILINE)
    assert "\n  about to fail\n" in done.stderr
    log = re.search(r"^  log: (.*)$", done.stderr, re.MULTILINE)
    assert log
    assert "about to fail" in Path(log[1]).read_text()
    command = re.search(r"^  look inside: ami-factory (shell [0-9a-f]{12})$", done.stderr, re.MULTILINE)
    assert command
    # As it was when the script began: what the step before it made is there, what it did itself is not.
    looked = bench.run(*command[1].split(), stdin="echo /one* /half* $(cat /etc/hello); touch /one.new; echo $?\n")
    assert (looked.returncode, looked.stdout) == (0, "/one /half*\n0\n")
    again = bench.run(*command[1].split(), stdin="echo /one*; exit 7\n")
    assert (again.returncode, again.stdout) == (7, "/one\n")
    nothing_is_left(bench, [])


# What this machine lacks.


def refused(done: "subprocess.CompletedProcess[str]", code: int, brief: str, hint: str) -> None:
    """One error with its hint, and no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert re.search(brief, errors[0]), done.stderr
    assert re.search(f"^hint: .*{hint}", done.stderr, re.MULTILINE), done.stderr


def privately(*commands: str) -> tuple[str, ...]:
    """A prefix: these commands first, in a mount namespace of its own."""
    script = " && ".join((*commands, 'exec "$@"'))
    return ("unshare", "--mount", "sh", "-c", script, "sh")


def without(*programs: str, place: Path) -> tuple[str, ...]:
    """A prefix that hides programs of /usr/bin, by links to all others."""
    hidden = " ".join(f"{place}/{each}" for each in programs)
    return privately(
        f"mkdir -p {place}", f"cp -al /usr/bin/. {place}", f"rm {hidden}", f"mount --bind {place} /usr/bin"
    )


@needs_root
def test_a_full_disk(bench: Bench, repository: Path) -> None:
    bench.write(repository, "dd if=/dev/zero of=/big bs=1M count=64 || { sleep 0.1; exit 1; }")
    bench.run("lock", bench.recipe)
    (bench.path / "small").mkdir()
    bench.prefix = privately(f"mount -t tmpfs -o size=24m tmpfs {bench.path}/small")
    store = f"{bench.path}/small/store"
    refused(bench.build("--store", store), 3, "(?i)no space left on device", "ami-factory store gc")
    told = bench.run("doctor", "--store", store)
    assert told.returncode == 3
    assert re.search(r"^error +only 0.0 GiB free at .*/small$", told.stdout, re.MULTILINE), told.stdout


@needs_root
@pytest.mark.parametrize("size", ["64k", "400k", "3m", "4m"])
def test_a_disk_that_is_full_from_the_start(bench: Bench, repository: Path, size: str) -> None:
    bench.write(repository, QUICK)
    bench.run("lock", bench.recipe)
    (bench.path / "small").mkdir()
    bench.prefix = privately(f"mount -t tmpfs -o size={size} tmpfs {bench.path}/small")
    done = bench.build("--store", f"{bench.path}/small/store")
    refused(done, 3, "(?i)no space|cannot be written", "--store")


@needs_root
def test_a_store_that_cannot_be_written(bench: Bench, repository: Path) -> None:
    bench.write(repository, QUICK)
    bench.run("lock", bench.recipe)
    bench.prefix = privately(f"mount --bind {bench.store} {bench.store}", f"mount -o remount,ro,bind {bench.store}")
    refused(bench.build(), 3, "(?i)read-only file system", "--store")
    told = bench.run("doctor")
    assert (told.returncode, "cannot be written" in told.stdout) == (3, True)


@needs_root
def test_a_store_where_layers_cannot_be_merged(bench: Bench, repository: Path) -> None:
    """On an overlay: of a container, say. It has no extended attributes for another overlay to keep its notes in."""
    bench.write(repository, QUICK)
    bench.run("lock", bench.recipe)
    for each in ("lower", "upper", "work", "merged"):
        (bench.path / each).mkdir()
    options = ",".join(f"{each}dir={bench.path}/{each}" for each in ("lower", "upper", "work"))
    bench.prefix = privately(f"mount -t overlay overlay -o {options} {bench.path}/merged")
    store = f"{bench.path}/merged/store"
    refused(bench.build("--store", store), 3, "layers cannot be merged", "--store")
    told = bench.run("doctor", "--store", store)
    assert (told.returncode, "cannot be merged" in told.stdout) == (3, True)


@needs_root
@pytest.mark.parametrize(("program", "package"), [("dnf", "dnf"), ("bwrap", "bubblewrap"), ("newuidmap", "uidmap")])
def test_a_missing_program(bench: Bench, repository: Path, program: str, package: str) -> None:
    bench.write(repository, QUICK)
    bench.run("lock", bench.recipe)
    bench.prefix = without(program, place=bench.path / "bin")
    refused(bench.build(), 3, f"{program} is not installed", f"apt-get install {package}")
    told = bench.run("doctor")
    assert told.returncode == 3
    assert f"{package} is not installed" in told.stdout


@needs_root
def test_a_user_without_subordinate_ids(bench: Bench, repository: Path) -> None:
    bench.owner = "nobody"
    bench.write(repository, QUICK)
    bench.prefix = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")
    if subprocess.run([*bench.prefix, "test", "-r", ROOT / "builder/cli/main.py"], check=False).returncode:
        pytest.skip("the checkout is where nobody but its owner may go, such as root's home")
    bench.environment = {"HOME": str(bench.path)}
    began = time.monotonic()
    refused(bench.build(), 3, "nobody has fewer than 65536 subordinate ids", "usermod --add-subuids .* nobody")
    assert time.monotonic() - began < 10
    told = bench.run("doctor")
    assert (told.returncode, "nobody has fewer than 65536 ids" in told.stdout) == (3, True)


def test_user_namespaces_that_are_forbidden(bench: Bench, repository: Path) -> None:
    bench.write(repository, QUICK)
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    bench.prefix = ("unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", forbid, "sh")
    refused(bench.build(), 3, "does not let you make a user namespace", "sysctl")
    told = bench.run("doctor")
    assert (told.returncode, "does not let you make a user namespace" in told.stdout) == (3, True)
    assert mentions(bench.path) == []


# The region.


class Refusal(BaseHTTPRequestHandler):
    """EC2's answer to a key that it does not know."""

    def do_POST(self) -> None:
        body = b"<Response><Errors><Error><Code>AuthFailure</Code><Message>No.</Message></Error></Errors></Response>"
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Refusal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_unreachable_region(bench: Bench, repository: Path) -> None:
    bench.write(repository, QUICK)
    bench.run("lock", bench.recipe)
    done = bench.run("build", bench.recipe, "--endpoint-url", "http://127.0.0.1:1")
    refused(done, 4, "http://127.0.0.1:1.* does not answer", "ami-factory region start")
    told = bench.run("doctor", "--endpoint-url", "http://127.0.0.1:1")
    assert (told.returncode, "does not answer" in told.stdout) == (3, True)


def test_refused_credentials(bench: Bench, repository: Path, refusing: str) -> None:
    bench.write(repository, QUICK)
    bench.run("lock", bench.recipe)
    done = bench.run("build", bench.recipe, "--endpoint-url", refusing)
    refused(done, 4, "does not accept your credentials", "AWS_ACCESS_KEY_ID")
    told = bench.run("doctor", "--endpoint-url", refusing)
    assert (told.returncode, "does not accept your credentials" in told.stdout) == (3, True)


# What nobody else may see.


def test_no_secret_is_written_or_shown(bench: Bench, repository: Path) -> None:
    bench.write(repository, "echo begun; sleep 0.7")
    secret = "vErYsEcReTaCcEsSkEy0123456789"
    seen: set[bytes] = set()
    builder = bench.start(
        "build", bench.recipe, "--until", "customise", AWS_ACCESS_KEY_ID="AKIAEXAMPLE", AWS_SECRET_ACCESS_KEY=secret
    )
    while builder.poll() is None:
        for pid in (builder.pid, *descendants(builder.pid)):
            with contextlib.suppress(OSError):
                seen.add(Path(f"/proc/{pid}/cmdline").read_bytes())
        time.sleep(0.02)
    builder.communicate()
    assert builder.returncode == 0
    keys = [path.read_bytes() for path in (bench.path / "state").rglob("*") if path.is_file()]
    secrets = [secret.encode(), *(line for key in keys for line in _private_lines(key))]
    assert len(secrets) > 10
    written = [path for path in bench.store.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.suffix == ".job" for path in written)
    for each in secrets:
        assert [path for path in written if each in path.read_bytes()] == []
        assert [line for line in seen if each in line] == []
    assert _modes(bench) == {"cache/ami-factory/store": 0o700, "state/ami-factory/identity": 0o700}


def _private_lines(pem: bytes) -> list[bytes]:
    found = re.search(rb"-----BEGIN (RSA )?PRIVATE KEY-----\n(.*?)\n-----END", pem, re.DOTALL)
    return found[2].split(b"\n") if found else []


def _modes(bench: Bench) -> dict[str, int]:
    names = ("cache/ami-factory/store", "state/ami-factory/identity")
    return {name: (bench.path / name).stat().st_mode & 0o7777 for name in names}


def test_an_open_directory_does_not_make_an_open_store(bench: Bench, repository: Path) -> None:
    bench.write(repository, QUICK)
    (bench.path / "open").mkdir(mode=0o755)
    assert bench.build("--store", str(bench.path / "open")).returncode == 0
    assert {each.stat().st_mode & 0o7777 for each in (bench.path / "open").iterdir()} == {0o700}
