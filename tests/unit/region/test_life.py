"""How instances live and end, on a host that does at once what it is told; the real one is in tests/region."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.machine.guest import Disk, End, GuestSpec
from builder.machine.qmp import Closed
from builder.region import life
from builder.region.ec2.instances import states
from builder.region.ec2.instances.record import Instance, find_instance
from builder.region.life import Life
from builder.region.state import State
from tests.support.hosts import Host

ID = "i-00000001"
LOGIN = "\nip-10-1-1-1 login: "
PANIC = "Kernel panic - not syncing: Attempted to kill init!\n"
RECORD = (
    '{"InstanceType": "m1.small", "Architecture": "x86_64", "VirtualizationType": "paravirtual", '
    '"MetadataOptions": {}, "RootDeviceName": "/dev/sda1", "AvailabilityZone": "us-east-1a"}'
)


@dataclass
class Bench:
    """A life, what it lives on, and its record."""

    host: Host
    state: State
    image_is_wrong: BuilderError | None = None
    hosts_lost: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)

    def spec(self, instance: Instance) -> GuestSpec:
        self.hold.wait(10)
        if self.image_is_wrong is not None:
            raise self.image_is_wrong
        return GuestSpec(
            name=instance.id,
            memory_mib=64,
            vcpus=1,
            disks=(Disk(device="sda1", base=self.host.place),),
            mac="",
            address=instance.private_address,
            hostname="",
        )

    def as_surroundings(self) -> Any:
        return Surroundings(self)

    def live(self) -> Life:
        made = Life(find_instance(self.state, ID), self.state, self.as_surroundings())
        made.begin()
        return made

    def write(self, text: str) -> None:
        with (self.host.place / "console").open("a") as file:
            file.write(text)

    def found(self) -> Instance:
        return find_instance(self.state, ID)

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, self.found()
            time.sleep(0.01)

    def ending(self) -> tuple[str, str | None]:
        assert self.ended.wait(10)
        found = self.found()
        assert found.state == "terminated"
        return str(found.reason_code), found.reason


@dataclass
class Surroundings:
    bench: Bench

    def spec(self, instance: Instance) -> GuestSpec:
        return self.bench.spec(instance)

    def host(self, instance: Instance) -> Host:
        del instance
        return self.bench.host

    def lost(self, host: Host) -> None:
        self.bench.hosts_lost += 1

    def began(self) -> None:
        """Nothing listens here."""

    def over(self, instance: str) -> None:
        self.bench.ended.set()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(life, "POLL", 0.01)
    monkeypatch.setattr(life, "SHUTDOWN_SECONDS", 0.2)
    state = State(tmp_path / "state")
    with state.transaction() as database:
        database.execute("INSERT INTO reservations VALUES ('r-1', '2026', NULL, 'x')")
        database.execute(
            "INSERT INTO instances VALUES (?, 'r-1', 0, 'ami-1', NULL, 'pending', '2026', NULL, '10.1.1.1', "
            "'127.1.1.1', 'mac', '{}', NULL, NULL, '', ?, NULL)",
            (ID, RECORD),
        )
    made = Bench(host=Host(tmp_path), state=state)
    made.hold.set()
    yield made
    state.close()


def running(bench: Bench, *, ready: bool = True) -> Life:
    found = bench.live()
    bench.until(lambda: found.guest is not None and bench.found().state == "running")
    if ready:
        bench.write(LOGIN)
        bench.until(lambda: found.reach.status == "ok")
    return found


def test_a_life_that_the_user_ends(bench: Bench) -> None:
    found = running(bench)
    found.terminate()
    assert bench.ending() == ("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown")
    assert bench.host.done == ["create", "poweroff", "remove"]


def test_a_system_that_does_not_listen_is_ended(bench: Bench) -> None:
    bench.host.deaf = True
    running(bench).terminate()
    bench.ending()
    assert bench.host.done == ["create", "poweroff", "destroy", "remove"]


def test_one_that_has_not_booted_is_not_asked(bench: Bench) -> None:
    running(bench, ready=False).terminate()
    bench.ending()
    assert bench.host.done == ["create", "destroy", "remove"]


def test_terminated_before_it_began(bench: Bench) -> None:
    bench.hold.clear()
    bench.live().terminate()
    bench.hold.set()
    assert bench.ending()[0] == "Client.UserInitiatedShutdown"
    assert bench.host.done == []


def test_terminated_in_its_record_alone(bench: Bench) -> None:
    with bench.state.transaction() as database:
        assert states.shut_down(database, ID, code=states.USER, reason="User initiated shutdown")
    bench.live()
    assert bench.ending()[0] == "Client.UserInitiatedShutdown"
    assert bench.host.done == ["create", "destroy", "remove"]


@pytest.mark.parametrize(
    ("console", "end", "expected"),
    [
        pytest.param(
            "",
            End(reason="poweroff"),
            "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
            id="by-itself",
        ),
        pytest.param(
            PANIC,
            End(reason="crash"),
            "Client.InternalError: Client error on launch: the kernel panicked: Attempted to kill init!",
            id="panic",
        ),
        pytest.param("", End(reason="crash"), "Client.InternalError: it crashed", id="crash"),
        pytest.param(
            "",
            End(reason="failed", detail="parsing\nxl: no memory"),
            "Server.InternalError: Internal error on launch: Xen could not start it (xl: no memory)",
            id="never-began",
        ),
        pytest.param(
            "", End(reason="lost"), "Server.InternalError: the Xen host that it ran on has ended", id="host-lost"
        ),
    ],
)
def test_endings(bench: Bench, console: str, end: End, expected: str) -> None:
    found = running(bench, ready=False)
    bench.write(console)
    assert found.guest is not None
    found.guest.finish(end)
    assert bench.ending()[1] == expected
    assert bench.hosts_lost == (end.reason == "lost")


def test_a_boot_that_cannot_succeed_is_ended(bench: Bench) -> None:
    running(bench, ready=False)
    bench.write(PANIC)
    assert bench.ending()[0] == "Client.InternalError"
    assert bench.host.done == ["create", "remove", "destroy"]


def test_a_system_that_waits_for_its_administrator_runs_on(bench: Bench) -> None:
    found = running(bench, ready=False)
    bench.write("[FAILED] Failed to mount /data.\nYou are in emergency mode.\n")
    bench.until(lambda: found.reach.status == "impaired")
    bench.until(lambda: bench.found().reason_code)
    shown = bench.found()
    assert (shown.state, shown.reason) == (
        "running",
        "Client.InternalError: the system went into emergency mode: /data of /etc/fstab could not be mounted",
    )
    found.terminate()
    assert bench.ending()[0] == "Client.UserInitiatedShutdown"


def test_one_without_a_login_is_impaired(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "BOOT_SECONDS", 0.05)
    found = running(bench, ready=False)
    bench.until(lambda: found.reach.status == "impaired")
    found.terminate()
    bench.ending()


@pytest.mark.parametrize("deaf", [False, True], ids=["listens", "does-not"])
def test_reboot(bench: Bench, deaf: bool) -> None:
    bench.host.deaf = deaf
    found = running(bench)
    first = found.guest
    found.reboot()
    bench.until(lambda: found.guest is not first)
    assert found.reach.status == "initializing"  # the login of the boot before does not count
    bench.write(LOGIN)
    bench.until(lambda: found.reach.status == "ok")
    assert bench.host.done == ["create", "reboot", *(["destroy"] if deaf else []), "restart"]
    assert bench.found().state == "running"
    found.terminate()
    bench.ending()


def test_a_system_that_restarts_by_itself(bench: Bench) -> None:
    found = running(bench)
    first = found.guest
    assert first is not None
    first.finish(End(reason="reboot"))
    bench.until(lambda: found.guest is not first)
    found.terminate()
    bench.ending()
    assert bench.host.done == ["create", "restart", "destroy", "remove"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(
            BuilderError("part x is damaged", hint="send it again"),
            "Client.InternalError: Client error on launch: part x is damaged; send it again",
            id="with-a-hint",
        ),
        pytest.param(
            BuilderError("no disk"), "Client.InternalError: Client error on launch: no disk", id="without-one"
        ),
    ],
)
def test_an_image_that_cannot_be_started(bench: Bench, error: BuilderError, expected: str) -> None:
    bench.image_is_wrong = error
    bench.live()
    assert bench.ending()[1] == expected
    assert bench.host.done == []


def test_a_host_that_had_died_is_replaced(bench: Bench) -> None:
    bench.host.refusing = [Closed("QEMU has ended")]
    running(bench).terminate()
    bench.ending()
    assert (bench.hosts_lost, bench.host.done) == (1, ["create", "create", "poweroff", "remove"])


@pytest.mark.parametrize(
    ("refusing", "code"),
    [
        pytest.param([Closed("gone"), Closed("gone again")], "Server.InternalError", id="dies-twice"),
        pytest.param([BuilderError("dom0 could not disk")], "Server.InternalError", id="refuses"),
        pytest.param(
            [BuilderError("the Xen host has no room for more than 16 guests")],
            "Server.InsufficientInstanceCapacity",
            id="full",
        ),
    ],
)
def test_a_host_that_cannot(bench: Bench, refusing: list[BuilderError], code: str) -> None:
    bench.host.refusing = list(refusing)
    bench.live()
    assert bench.ending()[0] == code


def test_a_fault_of_ours_ends_it_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "spec", lambda instance: 1 / 0)
    bench.live()
    assert bench.ending()[1] == "Server.InternalError: the local region has a fault: its log has the traceback"


def on_a_volume(bench: Bench) -> None:
    record = RECORD.replace('"MetadataOptions"', '"Volumes": [{"VolumeId": "vol-01"}], "MetadataOptions"')
    with bench.state.transaction() as database:
        database.execute("UPDATE instances SET record = ? WHERE id = ?", (record, ID))


def stopped(bench: Bench) -> tuple[str, str | None]:
    assert bench.ended.wait(10)
    found = bench.found()
    return found.state, found.reason


def test_one_that_is_stopped(bench: Bench) -> None:
    on_a_volume(bench)
    found = running(bench)
    with bench.state.transaction() as database:
        assert states.stop(database, ID, reason="User initiated shutdown", transition="User initiated")
    found.stop()
    assert stopped(bench) == ("stopped", "Client.UserInitiatedShutdown: User initiated shutdown")
    assert bench.host.done == ["create", "poweroff", "remove"]
    with bench.state.transaction() as database:
        assert states.resume(database, ID)
    bench.ended.clear()
    running(bench).terminate()
    assert bench.ending()[0] == "Client.UserInitiatedShutdown"


def test_one_on_a_volume_that_powers_off_is_stopped(bench: Bench) -> None:
    on_a_volume(bench)
    found = running(bench)
    assert found.guest is not None
    found.guest.finish(End(reason="poweroff"))
    assert stopped(bench) == ("stopped", "Client.InstanceInitiatedShutdown: Instance initiated shutdown")


def test_terminated_while_it_stops(bench: Bench) -> None:
    on_a_volume(bench)
    found = running(bench)
    with bench.state.transaction() as database:
        states.stop(database, ID, reason="User initiated shutdown", transition="")
        states.shut_down(database, ID, code=states.USER, reason="User initiated shutdown")
    found.stop()
    found.terminate()
    assert bench.ending()[0] == "Client.UserInitiatedShutdown"


def test_the_end_of_the_region_stops_what_is_on_volumes(bench: Bench) -> None:
    on_a_volume(bench)
    states.terminate_all(bench.state, "the local region was stopped")
    assert bench.found().state == "stopped"
    states.terminate_all(bench.state, "again")
    assert bench.found().reason == "Server.InternalError: the local region was stopped"
