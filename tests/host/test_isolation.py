"""Recipe scripts that try to get out of the sandbox, or to take all of the machine: run for real, by root and a user.

The tree has this machine's own /usr (a bind, read-only), so every tool is there that an attacker could wish for. Each
script says what it got; what the host has afterwards is looked at from outside.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.host import limits, process
from builder.host.sandbox import Bind, run_in_tree

pytestmark = pytest.mark.host
MIB = 1024**2
SECRET = "AKIAISOLATIONTEST000"


def tree_in(place: str) -> tuple[Path, list[Bind]]:
    tree = Path(place, "tree")
    for name in ("etc", "var", "root"):
        (tree / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")
    return tree, [Bind(source=Path("/usr"), destination="/usr")]


def body_attack(
    place: str, script: str, python: bool = False, network: bool = False, given: dict[str, int] | None = None
) -> list[Any]:
    """What an attacker's program said, and the seconds that it was let run."""
    tree, binds = tree_in(place)
    os.environ["AWS_SECRET_ACCESS_KEY"] = SECRET
    process.log_to(sys.stderr)
    limits.limit_to(given or {})
    command = ["/usr/bin/python3", "-ISc", script] if python else ["/bin/sh", "-c", script]
    began = time.monotonic()
    done = run_in_tree(
        tree, command, env={}, binds=binds, network=network, capture=True, check=False, what="script evil", grows=tree
    )
    assert time.monotonic() - began < 300
    return [done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")]


@pytest.fixture(params=["root", "user"])
def attack(request: pytest.FixtureRequest, inside: Callable[..., Any], trees: Path) -> Callable[..., Any]:
    """Run a script as an attacker's; as a build by root, and by another user."""
    user = "" if request.param == "root" else request.getfixturevalue("other_user")

    def run(script: str, **more: Any) -> Any:
        return inside(body_attack, user=user, place=trees / "place", script=script, **more)

    (trees / "place").mkdir(mode=0o777)
    (trees / "place").chmod(0o777)
    return run


# What the host has.


@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow",
        "/proc/1/root/etc/shadow",
        "/proc/self/root/../etc/shadow",
        "/../../etc/shadow",
        "/oldroot/etc/shadow",
    ],
)
def test_no_file_of_the_host_is_read(attack: Callable[..., Any], path: str) -> None:
    code, said, _ = attack(f"cat {path}")
    assert (code, said) == (1, "")


def test_nothing_open_leads_out(attack: Callable[..., Any]) -> None:
    """No directory, no file of the host is open: only /dev/null and pipes to the builder, which it reads."""
    code, said, _ = attack("for each in 0 1 2 3 4 5 6 7 8 9 10; do readlink /proc/$$/fd/$each; done; true")
    assert (code, [each.split(":")[0] for each in said.splitlines()]) == (0, ["/dev/null", "pipe", "pipe"])


def test_no_root_above_the_root(attack: Callable[..., Any]) -> None:
    """The old way out of a chroot: keep a directory open, chroot below it, climb."""
    script = """
import os
os.mkdir('/var/jail'); here = os.open('/', os.O_RDONLY); os.chroot('/var/jail'); os.fchdir(here)
for _ in range(99): os.chdir('..')
os.chroot('.'); print(sorted(os.listdir('/')), os.path.exists('/home'))
"""
    code, said, _ = attack(script, python=True)
    assert (code, said.strip()) == (
        0, "['bin', 'dev', 'etc', 'lib', 'lib64', 'proc', 'root', 'run', 'sbin', 'tmp', 'usr', 'var'] False",
    )  # fmt: skip


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("mount --bind / /var", id="bind"),
        pytest.param("mount -t proc none /proc", id="proc"),
        pytest.param("mount -t tmpfs none /var", id="tmpfs"),
        pytest.param("mount -t sysfs none /var", id="sysfs"),
        pytest.param("umount -l /proc", id="umount"),
        pytest.param("mount -o remount,rw /proc", id="remount"),
        pytest.param("unshare --user --map-root-user --mount sh -c 'mount -t tmpfs none /var'", id="user namespace"),
        pytest.param("unshare --mount true", id="mount namespace"),
        pytest.param("nsenter --target 1 --mount --net true", id="setns"),
        pytest.param("mknod /var/x b 8 0", id="disk"),
        pytest.param("mknod /var/x c 1 1", id="/dev/mem"),
        pytest.param("losetup --find --show /etc", id="loop"),
        pytest.param("ls -d /dev/kvm || ls -d /dev/mem || ls -d /dev/fuse || ls -d /dev/net /dev/vsock", id="devices"),
        pytest.param("echo /bin/evil > /proc/sys/kernel/core_pattern", id="core pattern"),
        pytest.param("echo b > /proc/sysrq-trigger", id="sysrq"),
        pytest.param("echo 1 > /proc/1/oom_score_adj", id="proc"),
        pytest.param("ls /sys/kernel", id="/sys"),
        pytest.param("dmesg", id="kernel log"),
        pytest.param("modprobe loop || insmod /dev/null", id="modules"),
        pytest.param("date -s 2001-01-01", id="clock"),
        pytest.param("hostname outside; test $(hostname) = ami-factory && exit 1", id="host name"),
        pytest.param("nice -n -5 true 2>&1 | grep -q . && exit 1; chrt -f 50 true", id="priority"),
        pytest.param("chmod 600 /dev/null", id="mode of /dev/null"),
        pytest.param("chown 12:12 /dev/null /dev/urandom", id="owner of /dev/null"),
        pytest.param("touch -d 2001-01-01 /dev/tty", id="times of /dev/tty"),
    ],
)
def test_refused(attack: Callable[..., Any], script: str) -> None:
    before = _devices()
    code, _, _ = attack(script)
    assert code != 0
    assert _devices() == before


def _devices() -> list[tuple[int, int]]:
    found = [Path("/dev", each).stat() for each in ("null", "urandom", "tty")]
    return [(each.st_mode, each.st_uid) for each in found]


def test_devices_can_be_written_to(attack: Callable[..., Any]) -> None:
    code, said, complaint = attack(
        "echo x > /dev/null && head -c 3 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c"
    )
    assert (code, said.split(), complaint) == (0, ["3", "4"], "")


CALLS = {"keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
         "io_uring_setup": 425, "open_by_handle_at": 304, "init_module": 175, "kexec_load": 246, "mount": 165,
         "fsopen": 430, "open_tree": 428, "setns": 308, "clone3": 435}  # fmt: skip


def test_calls_of_the_kernel_that_nobody_needs(attack: Callable[..., Any]) -> None:
    script = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for name, number in {CALLS!r}.items():
    assert libc.syscall(number, 0, 0, 0, 0, 0) == -1
    print(name, os.strerror(ctypes.get_errno()))
    assert libc.syscall(number | 0x40000000, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() == 38  # by x32's door
for flags in (0x10000000, 0x10000000 | 0x20000):
    assert libc.unshare(flags) == -1 and ctypes.get_errno() == 1
for request in (0x5412, 0x5412 | 1 << 32, 0x541C):
    assert libc.syscall(16, 0, ctypes.c_ulong(request), b'x') == -1
    print(os.strerror(ctypes.get_errno()))
"""
    code, said, _ = attack(script, python=True)
    absent = {"io_uring_setup", "clone3"}
    wanted = [f"{n} {'Function not implemented' if n in absent else 'Operation not permitted'}" for n in CALLS]
    assert (code, said.splitlines()) == (0, [*wanted, *["Operation not permitted"] * 3])


# The network.


@contextmanager
def listening() -> Iterator[tuple[int, str]]:
    """Somebody of the host who would answer: by TCP on loopback, and under an abstract name."""
    name = f"ami-factory-{os.getpid()}-{threading.get_ident()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind(f"\0{name}")
        local.listen()
        yield tcp.getsockname()[1], name


def test_nobody_outside_hears_it(attack: Callable[..., Any]) -> None:
    with listening() as (port, name):
        script = f"""
import socket
def tried(family, address, kind=socket.SOCK_STREAM):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(3); s.connect(address); print('heard')
    except OSError as error:
        print(error.strerror)
tried(socket.AF_INET, ('127.0.0.1', {port}))
tried(socket.AF_INET, ('169.254.169.254', 80))
tried(socket.AF_INET6, ('::1', {port}))
tried(socket.AF_UNIX, '\\0{name}')
tried(socket.AF_VSOCK, (2, 1))
tried(38, ('hash', 'sha256'), socket.SOCK_SEQPACKET)
try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
except OSError as error: print(error.strerror)
print([name for _, name in socket.if_nameindex()])
"""
        code, said, _ = attack(script, python=True)
    refused, family = "Connection refused", "Address family not supported by protocol"
    away = "Network is unreachable"
    tcp6 = said.splitlines()[2]
    assert tcp6 in (refused, away, "Cannot assign requested address", family)
    assert (code, said.splitlines()) == (0, [refused, away, tcp6, refused, family, family, family, "['lo']"])


# Its neighbours.


def test_processes_of_the_host_are_not_there(attack: Callable[..., Any]) -> None:
    victim = subprocess.Popen(["sleep", "600"])
    try:
        script = f"""
import os, signal
print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit())[-1] < 100)
for pid in ({victim.pid}, {os.getpid()}):
    try: os.kill(pid, signal.SIGKILL)
    except OSError as error: print(error.strerror)
try: os.kill(-1, signal.SIGTERM)
except OSError as error: print(error.strerror)
"""
        _, said, _ = attack(script, python=True)
        assert said.splitlines()[:3] == ["True", "No such process", "No such process"]
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_nothing_of_the_environment_comes_in(attack: Callable[..., Any]) -> None:
    code, said, complaint = attack("env; cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/*/cmdline | tr '\\0' ' '")
    assert code == 0
    assert SECRET not in said + complaint
    assert "AWS" not in said + complaint


def test_a_daemon_ends_with_its_script(attack: Callable[..., Any]) -> None:
    mark = f"{time.time_ns()}"[-9:]
    began = time.monotonic()
    assert attack(f"setsid nohup sleep {mark} > /dev/null 2>&1 & setsid sleep {mark} & exit 0")[0] == 0
    assert time.monotonic() - began < 200
    alive = [each for each in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _read(each)]
    assert alive == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


# More than its share.

GREEDY = [
    pytest.param("sleep 1000", {"time": 2}, "it ran for more than 2s", id="waits for ever"),
    pytest.param("trap '' TERM; while :; do :; done", {"time": 2}, "it ran for more than 2s", id="will not end"),
    pytest.param("yes", {"log": 2 * MIB}, "it wrote more to its log than 2MiB", id="endless output"),
    pytest.param("yes >&2", {"log": 2 * MIB}, "it wrote more to its log than 2MiB", id="endless complaints"),
    pytest.param(
        "b() { b | b & sleep 9; }; b; sleep 60", {"processes": 60, "time": 100},
        "it had more processes and threads at a time than 60", id="fork bomb",
    ),
    pytest.param(
        "i=0; while :; do i=$((i+1)); head -c 3M /dev/zero > /var/$i; done", {"disk": 32 * MIB},
        "it wrote more to the tree than 32MiB", id="many files",
    ),
    pytest.param(
        "mkdir /var/a; while :; do i=$((i+1)); : > /var/a/$i; done", {"disk": 8 * MIB},
        "it wrote more to the tree than 8MiB", id="empty files",
    ),
    pytest.param(
        "i=0; while [ $i -lt 50 ]; do i=$((i+1)); truncate -s 9M /var/$i; done", {"disk": 64 * MIB},
        "it wrote more to the tree than 64MiB", id="holes, quickly",
    ),
    pytest.param(
        "exec 3> /var/x; rm /var/x; while :; do head -c 1M /dev/zero >&3; sleep 0.02; done", {"disk": 64 * MIB},
        "it wrote more to the tree than 64MiB", id="a file without a name",
    ),
    pytest.param(
        'for i in 3 4 5 6 7; do eval "exec $i> /var/x"; rm /var/x; head -c 30M /dev/zero >&$i; done; sleep 60',
        {"disk": 64 * MIB}, "it wrote more to the tree than 64MiB", id="files without names",
    ),
    pytest.param("head -c 1G /dev/zero > /tmp/x", {"memory": 64 * MIB}, "No space left on device", id="/tmp"),
    pytest.param("head -c 1G /dev/zero > /dev/shm/x", {"memory": 64 * MIB}, "No space left on device", id="/dev/shm"),
    pytest.param("head -c 1G /dev/zero > /dev/x", {"memory": 64 * MIB}, "Read-only file system", id="/dev"),
    pytest.param("truncate -s 1E /var/x", {"disk": 64 * MIB}, "File too large", id="a huge hole"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "given", "said"), GREEDY)
def test_takes_no_more_than_its_share(
    attack: Callable[..., Any], script: str, given: dict[str, int], said: str
) -> None:
    if not said.startswith("it "):
        code, _, complaint = attack(script, given=given)
        assert code != 0
        assert said in complaint or code in (153, -25)  # killed by SIGXFSZ
        return
    with pytest.raises(BuilderError) as failed:
        attack(script, given=given)
    assert failed.value.brief == f"script evil was stopped: {said}"
    (name,) = {"time", "log", "processes", "disk"} & {*given} - ({"time"} if len(given) > 1 else set())
    assert f"--limit {name}=VALUE" in failed.value.hint


def test_memory(attack: Callable[..., Any]) -> None:
    script = "import time\nheld = []\nwhile len(held) < 2000: held.append(b'x' * 1048576)\ntime.sleep(60)"
    with pytest.raises(BuilderError, match="script evil was stopped: it took more memory than 192MiB"):
        attack(script, python=True, given={"memory": 192 * MIB})


def test_memory_that_nothing_shows(attack: Callable[..., Any]) -> None:
    """Files in memory that are not mapped: no process has them among its pages."""
    script = """
import os, time
held = [os.memfd_create('x') for _ in range(40)]
for each in held:
    for _ in range(30): os.write(each, b'x' * 1048576)
time.sleep(60)
"""
    with pytest.raises(BuilderError, match=r"script evil was stopped: it (took|wrote) more"):
        attack(script, python=True, given={"memory": 192 * MIB, "disk": 256 * MIB})
