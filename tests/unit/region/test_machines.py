"""One host for all instances: when it is there, what it is told of rules and ports. On a host that obeys at once."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builder.machine.guest import Disk, End, GuestSpec
from builder.machine.network import Permission
from builder.region import life, machines
from builder.region.ec2.groups.record import Grant, insert_group, insert_rule
from builder.region.ec2.instances.record import Instance, find_instance
from builder.region.machines import HostMachines
from builder.region.state import State
from tests.support.hosts import Host
from tests.support.regions import region_at

RECORD = (
    '{"InstanceType": "m1.small", "Architecture": "x86_64", "VirtualizationType": "paravirtual", "MemoryMib": 1740, '
    '"MetadataOptions": {}, "RootDeviceName": "/dev/sda1", "AvailabilityZone": "us-east-1a"}'
)


def nowhere(snapshot: str) -> Path:
    raise AssertionError(snapshot)


class Machines(HostMachines):
    """Whose instances have no bundles."""

    def spec(self, instance: Instance) -> GuestSpec:
        return GuestSpec(
            name=instance.id,
            memory_mib=64,
            vcpus=1,
            disks=(Disk(device="sda1", base=self._place),),
            mac=instance.mac,
            address=instance.private_address,
            hostname="",
        )


@dataclass
class Bench:
    machines: HostMachines
    state: State
    group: str
    hosts: list[Host] = field(default_factory=list)
    taken: frozenset[int] = frozenset()

    def launch(self, *names: str) -> None:
        with self.state.transaction() as database:
            for number, name in enumerate(names):
                address = f"{number}.{len(self.state.rows('SELECT 1 FROM instances'))}"
                database.execute(
                    "INSERT INTO instances VALUES (?, 'r-1', 0, 'ami-1', NULL, 'pending', '2026', NULL, ?, ?, 'mac', "
                    "'{}', NULL, NULL, '', ?, NULL)",
                    (name, f"10.1.{address}", f"127.1.{address}", RECORD),
                )
                database.execute("INSERT INTO instance_groups VALUES (?, ?)", (name, self.group))
        self.machines.launch(names, nowhere)
        self.until(lambda: all(self.found(each).state == "running" for each in names))

    def found(self, name: str) -> Instance:
        return find_instance(self.state, name)

    def permit(self, port: int, cidr: str = "0.0.0.0/0") -> str:
        with self.state.transaction() as database:
            grant = Grant(protocol="tcp", first=port, last=port, cidr=cidr)
            made = insert_rule(database, self.group, grant, None)
        self.machines.regroup()
        return made

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(life, "POLL", 0.01)
    monkeypatch.setattr(machines, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(machines, "STOP_SECONDS", 0.3)
    region = region_at(tmp_path, Machines)
    assert isinstance(region.machines, HostMachines)
    with region.state.transaction() as database:
        database.execute("INSERT INTO reservations VALUES ('r-1', '2026', NULL, 'x')")
        group = insert_group(database, "web", "")
    made = Bench(machines=region.machines, state=region.state, group=group)

    def started(**settings: Any) -> Host:
        made.hosts.append(Host(settings["scratch"], taken=made.taken))
        return made.hosts[-1]

    monkeypatch.setattr("builder.machine.host.XenHost", started)
    yield made
    made.machines.close()
    region.state.close()


def test_one_host_for_all_and_none_for_nobody(bench: Bench) -> None:
    bench.launch("i-00000001", "i-00000002")
    bench.launch("i-00000003")
    (host,) = bench.hosts
    for name in ("i-00000001", "i-00000002", "i-00000003"):
        assert not host.closed
        terminated(bench, name)
    bench.until(lambda: host.closed)
    bench.launch("i-00000004")
    assert len(bench.hosts) == 2


def test_work_that_comes_in_time_finds_its_host(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "IDLE_SECONDS", 60)
    bench.launch("i-00000001")
    terminated(bench, "i-00000001")
    bench.launch("i-00000002")
    assert len(bench.hosts) == 1


def terminated(bench: Bench, name: str) -> None:
    from builder.region.ec2.instances import states

    with bench.state.transaction() as database:
        assert states.shut_down(database, name, code=states.USER, reason="")
    bench.machines.terminate(name)
    bench.until(lambda: bench.found(name).state == "terminated")


def test_a_port_is_listened_on_while_a_rule_lets_the_client_in(bench: Bench) -> None:
    bench.launch("i-00000001")
    (host,) = bench.hosts
    public = bench.found("i-00000001").public_address
    assert (host.listening, host.permissions) == (set(), {"i-00000001": ()})
    rule = bench.permit(22)
    bench.permit(80, "198.51.100.0/24")  # not where the client is
    assert host.listening == {(public, 22)}
    assert Permission(protocol="tcp", first=80, last=80, cidrs=("198.51.100.0/24",)) in host.permissions["i-00000001"]
    found = bench.found("i-00000001")
    assert (found.ports, found.shown_tags) == ({22: 22}, {})
    with bench.state.transaction() as database:
        database.execute("DELETE FROM security_group_rules WHERE id = ?", (rule,))
    bench.machines.regroup()
    assert host.listening == set()


def test_a_port_that_cannot_be_had_is_another_and_a_tag_says_which(bench: Bench) -> None:
    bench.taken = frozenset({22})
    bench.permit(22)
    bench.permit(8080)
    bench.launch("i-00000001")
    (host,) = bench.hosts
    found = bench.found("i-00000001")
    public = found.public_address
    bench.until(lambda: host.listening == {(public, 40022), (public, 8080)})
    bench.until(lambda: bench.found("i-00000001").ports == {22: 40022, 8080: 8080})
    assert bench.found("i-00000001").shown_tags == {"ami-factory:port:22": f"{public}:40022"}
    terminated(bench, "i-00000001")
    bench.until(lambda: host.listening == set())


def test_others_no_longer_know_an_instance_that_is_over(bench: Bench) -> None:
    with bench.state.transaction() as database:
        insert_rule(database, bench.group, Grant(protocol="tcp", first=80, last=80, source=bench.group), None)
    bench.launch("i-00000001", "i-00000002")
    (host,) = bench.hosts
    both = {bench.found(each).private_address for each in ("i-00000001", "i-00000002")}
    bench.until(lambda: set(host.permissions["i-00000001"][0].addresses) == both)
    terminated(bench, "i-00000002")
    bench.until(
        lambda: (
            host.permissions
            == {
                "i-00000001": (
                    Permission(
                        protocol="tcp", first=80, last=80, addresses=(bench.found("i-00000001").private_address,)
                    ),
                )
            }
        )
    )


def test_a_host_that_ends_is_replaced(bench: Bench) -> None:
    bench.launch("i-00000001")
    lives = bench.machines._lives["i-00000001"]
    assert lives.guest is not None
    lives.guest.finish(End(reason="lost"))
    bench.until(lambda: bench.found("i-00000001").state == "terminated")
    assert bench.hosts[0].closed
    bench.launch("i-00000002")
    assert len(bench.hosts) == 2


def test_closed(bench: Bench) -> None:
    bench.launch("i-00000001")
    bench.machines.close()
    found = bench.found("i-00000001")
    assert (found.state, found.reason) == (
        "terminated",
        "Server.InternalError: Internal error: the local region was stopped",
    )
    assert bench.hosts[0].closed


def test_a_console_is_read_from_its_end(bench: Bench, tmp_path: Path) -> None:
    assert bench.machines.console("i-00000001", 10) == (b"", None)
    consoles = tmp_path / "instances" / "consoles"
    consoles.mkdir(parents=True)
    (consoles / "i-00000001.console").write_bytes(b"0123456789abcdef")
    written, at = bench.machines.console("i-00000001", 10)
    assert (written, at is not None) == (b"6789abcdef", True)
