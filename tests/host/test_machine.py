"""A Xen host in QEMU, with small guests: what they get, whom they reach, how they end, and that nothing is left."""

import hashlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.machine import metadata
from builder.machine.created import Guest
from builder.machine.guest import Disk, End, GuestSpec, classic_mac, classic_name
from builder.machine.host import XenHost
from builder.machine.network import Permission
from tests.support.guests import tiny_image

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.xdist_group("qemu")]
PATIENCE = 400.0  # emulated, and perhaps beside other tests

HTTP = Permission(protocol="tcp", first=80, last=80, addresses=("10.251.50.11",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    host: XenHost
    image: Path
    ended: list[tuple[str, End]]

    def create(self, name: str, last: int) -> Guest:
        address = f"10.251.50.{last}"
        return self.host.create(
            GuestSpec(
                name=name,
                memory_mib=192,
                vcpus=1,
                disks=(Disk(device="sda1", base=self.image), Disk(device="sda3", base=self.image)),
                mac=classic_mac(last),
                address=address,
                hostname=classic_name(address),
            )
        )


@pytest.fixture(scope="module")
def image(downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_image(downloads, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def stage(image: Path, downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    place = tmp_path_factory.mktemp("xen")
    ended: list[tuple[str, End]] = []
    told = {
        name: metadata.Metadata(
            values={"meta-data/instance-id": name.encode(), "user-data": f"10.251.50.{other}:80".encode()}
        )
        for name, other in (("i-a", 12), ("i-b", 11))
    }
    with XenHost(
        cache=downloads,
        scratch=place / "scratch",
        logs=place / "logs",
        serve=lambda guest, peer: metadata.serve(peer, told[guest.spec.name], lambda line: None),
        ended=lambda guest, end: ended.append((guest.spec.name, end)),
    ) as host:
        yield Stage(host=host, image=image, ended=ended)
    assert list((place / "scratch").iterdir()) == []


def wait_for(guest: Guest, pattern: str, *, skip: int = 0) -> str:
    """The first match on what follows the first `skip` characters of a guest's console."""
    return until(lambda: re.search(pattern, guest.console_text()[skip:]), guest)[0]


def until(look: Callable[[], "re.Match[str] | None"], guest: Guest) -> "re.Match[str]":
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found is not None:
            return found
        assert guest.end is None, (guest.end, guest.console_text()[-2000:])
        time.sleep(0.3)
    raise AssertionError(guest.console_text()[-2000:])


def fetched(port: int) -> bytes:
    """What the host gets from a guest, b"" for nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        try:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            received = b""
            while chunk := connection.recv(4096):
                received += chunk
            return received
        except (TimeoutError, ConnectionError):
            return b""


def test_two_guests(stage: Stage) -> None:
    """Addresses and metadata of their own; whom they reach; a restart; an end."""
    host = stage.host
    before = hashlib.sha256(stage.image.read_bytes()).hexdigest()
    a, b = stage.create("i-a", 11), stage.create("i-b", 12)
    for guest, last in ((a, 11), (b, 12)):
        assert wait_for(guest, r"@lease .*").split()[1:] == [
            f"10.251.50.{last}", "router", "10.251.50.1", "name", f"ip-10-251-50-{last}", "for", "86400",
        ]  # fmt: skip
        assert wait_for(guest, r"@instance \S+") == f"@instance {guest.spec.name}"
        assert wait_for(guest, r"@disks.*").split()[1:3] == ["xvda1", "xvda3"]
        wait_for(guest, "@ready")

    # Nobody reaches anybody, until a group lets one in; and the other way round still not.
    wait_for(a, r"@reach 10.251.50.12:80 no")
    host.permit({"i-b": (HTTP,)})
    wait_for(a, r"@reach 10.251.50.12:80 yes")
    assert "yes" not in b.console_text()
    host.permit({})
    wait_for(a, r"@reach 10.251.50.12:80 no", skip=len(a.console_text()))

    # The host comes in where a network holds its client's address.
    port = host.forward(a, 22)
    assert fetched(port) == b""
    ssh = Permission(protocol="tcp", first=22, last=22, cidrs=("198.51.100.0/24",))
    host.permit({"i-a": (ssh,)})
    assert fetched(port) == b""
    host.permit({"i-a": (ssh,)}, client="198.51.100.9")
    assert fetched(port).endswith(b"it works\n")
    host.unforward(port)
    with pytest.raises(ConnectionRefusedError):
        fetched(port)

    # Each ends in its own way.
    host.reboot(a)
    assert a.wait(PATIENCE) is not None and a.end is not None and a.end.reason == "reboot"
    skip = len(a.console_text())
    again = host.restart(a)
    wait_for(again, "@ready", skip=skip)
    host.shut_down(again)
    end = again.wait(PATIENCE)
    assert end is not None and end.reason == "poweroff"
    host.destroy(b)
    assert b.end is not None and b.end.reason == "destroyed"
    for guest in (again, b):
        host.remove(guest)
    assert host.guests == ()
    assert sorted((name, each.reason) for name, each in stage.ended) == [
        ("i-a", "poweroff"), ("i-a", "reboot"), ("i-b", "destroyed"),
    ]  # fmt: skip
    assert hashlib.sha256(stage.image.read_bytes()).hexdigest() == before


def test_nothing_listens_beyond_loopback(stage: Stage) -> None:
    port = None
    guest = stage.create("i-a", 11)
    try:
        port = stage.host.forward(guest, 80)
        listening = subprocess.run(["ss", "-Hlntup"], capture_output=True, text=True, check=True).stdout
        ours = [line.split()[4] for line in listening.splitlines() if "qemu" in line and f":{port} " in line]
        assert ours == [f"127.0.0.1:{port}"]
    finally:
        stage.host.remove(guest)


OWNER = """
import sys
from pathlib import Path
from builder.machine.host import XenHost
host = XenHost(cache=Path(sys.argv[1]), scratch=Path(sys.argv[2]), logs=Path(sys.argv[2]) / "logs")
print(host._emulator.place, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_an_owner_that_dies_leaves_nothing(how: signal.Signals, stage: Stage, downloads: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(downloads), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        place = owner.stdout.readline().strip()
        running = pids_of(place)
        assert len(running) == 2  # the watcher, and QEMU
        owner.send_signal(how)
        owner.wait()
    end = time.monotonic() + 20
    while time.monotonic() < end and (Path(place).exists() or pids_of(place)):
        time.sleep(0.1)
    assert (Path(place).exists(), pids_of(place)) == (False, [])


def pids_of(place: str) -> list[int]:
    """The processes that work in a directory, or are told of it."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                told = place in (each / "cmdline").read_text() or str((each / "cwd").readlink()) == place
            except OSError:
                continue
            if told:
                found.append(int(each.name))
    return found
