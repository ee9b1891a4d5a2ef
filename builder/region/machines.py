"""The region's machines: one Xen host for all its paravirtual instances, started by the first one and kept for a while
after the last, and a QEMU for each HVM instance. Light to import; what boots is loaded when something is booted.

Everything ends with this process, killed or not: QEMU is tied to it (builder/machine/watch.py), and the records are
set right by the next start (ec2/instances/states.py: terminate_all).
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import BuilderError
from builder.region import wishes
from builder.region.ec2.region import DiskOf, Reach, now
from builder.region.state import State
from builder.region.volumes import Volumes

if TYPE_CHECKING:
    import socket

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from builder.machine.created import Guest
    from builder.machine.guest import GuestSpec
    from builder.machine.host import XenHost
    from builder.machine.hvm import HvmHost
    from builder.machine.network import Permission
    from builder.region.ec2.instances.record import Instance
    from builder.region.launch import Bundles
    from builder.region.life import Host, Life

IDLE_SECONDS = 300.0
OVERHEAD_MIB = 256
"""Xen's own, beside dom0's."""
STOP_SECONDS = 3.0
SPARE_MIB = 1024
"""Of this machine's memory, that HVM instances leave to everything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a start of the region decides for its instances."""

    cache: Path
    account: str
    """Whose instances they are."""
    guest_memory_mib: int = wishes.GUEST_MEMORY_MIB
    """The most that an instance gets, whatever its type."""
    client: str = wishes.CLIENT
    """The address that the host's own connections seem to come from."""
    services: tuple[int, ...] = ()
    """Ports of the host's loopback that instances may reach."""


class HostMachines:
    """See the module. Safe to call from any thread."""

    def __init__(
        self, *, state: State, private_key: "Callable[[], RSAPrivateKey]", place: Path, settings: Settings
    ) -> None:
        """`place`: disks as long as their images, consoles as long as their instances."""
        self._state = state
        self._private_key = private_key
        self._place = place
        self._settings = settings
        self._lock = threading.RLock()
        self._starting = threading.Lock()
        self._network = threading.Lock()
        self._tidying = threading.Lock()
        self._lives: dict[str, Life] = {}
        self._host: XenHost | None = None
        self._hvm: HvmHost | None = None
        self._disk_of: dict[str, DiskOf] = {}
        """Of instances that begin: where their snapshots lie."""
        self._volumes = Volumes(place / "volumes")
        self._idle: threading.Timer | None = None
        self._ports: dict[str, dict[int, int]] = {}
        self._closing = False

    # What operations ask for: ec2/region.py.

    def room(self, virtualization: str) -> int:
        hvm = virtualization == "hvm"
        live = [each for each in self._records("state NOT IN ('stopped', 'terminated')") if _is_hvm(each) == hvm]
        return max(0, self._most(hvm) - len(live))

    def _most(self, hvm: bool) -> int:
        """How many there may be: what fits into the Xen machine, or into half of this one."""
        from builder.machine import network, qemu
        from builder.machine.hvm import MOST

        memory = qemu.MEMORY_MIB - qemu.DOM0_MIB - OVERHEAD_MIB
        if hvm:
            memory = max(0, _memory_mib() - SPARE_MIB)
        return min(MOST if hvm else network.SLOTS, memory // self._settings.guest_memory_mib)

    def launch(self, instances: Sequence[str], disk_of: DiskOf) -> None:
        from builder.region.ec2.instances.record import find_instances
        from builder.region.life import Life

        lives = [Life(each, self._state, self) for each in find_instances(self._state, instances)]
        with self._lock:
            self._lives |= {each.instance.id: each for each in lives}
            self._disk_of |= {each.instance.id: disk_of for each in lives}
        for each in lives:
            each.begin()

    def terminate(self, instance: str) -> None:
        if (life := self._lives.get(instance)) is not None:
            life.terminate()
            return
        from builder.region.ec2.instances import states

        with self._state.transaction() as database:  # it was stopped
            states.terminate(database, instance)
        self._remove_volumes(instance)

    def stop(self, instance: str) -> None:
        if (life := self._lives.get(instance)) is not None:
            life.stop()

    def reboot(self, instance: str) -> None:
        if (life := self._lives.get(instance)) is not None:
            life.reboot()

    def reach(self, instance: str) -> Reach:
        life = self._lives.get(instance)
        return life.reach if life is not None else Reach(status="initializing")

    def console(self, instance: str, most: int) -> tuple[bytes, float | None]:
        path = self._consoles / f"{instance}.console"
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - most))
                return file.read(most), path.stat().st_mtime
        except FileNotFoundError:
            return b"", None

    def regroup(self) -> None:
        """Rules first, then ports: what is listened on is let through."""
        with self._network:
            if self._closing or (self._host is None and self._hvm is None):
                return
            try:
                permissions = self._permissions()
                if self._host is not None:
                    self._host.permit(permissions, client=self._settings.client)
                for instance, life in tuple(self._lives.items()):
                    host = self._host_of(instance)
                    if host is not None and life.guest is not None and life.guest.end is None:
                        self._listen(host, life.guest, permissions.get(instance, ()))
            except BuilderError as error:  # the host is ending: its instances will say so
                _say(f"the network's rules could not be written: {error.brief}")

    # What a life asks for: life.py.

    def spec(self, instance: "Instance") -> "GuestSpec":
        from builder.machine.guest import Disk
        from builder.region.launch import guest_spec

        with self._lock:
            disk_of = self._disk_of.pop(instance.id)
        volumes = instance.record.get("Volumes", ())
        if volumes:
            root, variables = self._volumes.disk(volumes[0], disk_of), self._volumes.variables(volumes[0])
        else:
            image = self._bundles.disk(instance.image, instance.record["ImageLocation"])
            root, variables = Disk(device="", base=image), None
        return guest_spec(
            instance,
            root=root,
            variables=variables,
            cache=self._settings.cache,
            memory_mib=self._settings.guest_memory_mib,
        )

    def host(self, instance: "Instance") -> "Host":
        with self._starting:
            if self._closing:
                raise BuilderError("the local region was stopped")
            if instance.hvm:
                return self._hvm_host()
            host = self._xen_host()
        with self._network:
            host.permit(self._permissions())
        return host

    def _hvm_host(self) -> "HvmHost":
        from builder.machine.hvm import HvmHost

        if self._hvm is None:
            self._hvm = HvmHost(
                cache=self._settings.cache,
                scratch=self._place / "scratch",
                logs=self._consoles,
                serve=self._serve,
                services=self._settings.services,
            )
        return self._hvm

    def _xen_host(self) -> "XenHost":
        from builder.machine.host import XenHost

        if self._host is None:
            self._host = XenHost(
                cache=self._settings.cache,
                scratch=self._place / "scratch",
                logs=self._consoles,
                serve=self._serve,
                services=self._settings.services,
                client=self._settings.client,
                note=_say,
            )
            _say(f"Xen host ready after {self._host.seconds_to_ready:.1f} s")
        return self._host

    def lost(self, host: "Host") -> None:
        with self._starting:
            if host is self._hvm:  # of one guest; the others have their own
                return
            lost, self._host = host, None if self._host is host else self._host
        lost.close()

    def began(self) -> None:
        self.regroup()

    def over(self, instance: str) -> None:
        """Its ports are closed; the host is given up when nobody needs it for a while."""
        with self._network:
            host, public = self._host_of(instance), self._public(instance)
            for port in self._ports.pop(instance, {}).values():
                if host is not None and not self._closing:
                    with suppress(BuilderError):
                        host.unforward(port, address=public)
        self._remove_volumes(instance)
        with self._lock:
            self._lives.pop(instance, None)
            alone = not self._lives
        if not alone:
            self.regroup()
        elif not self._closing:
            self._wait_for_work()

    def close(self) -> None:
        """End all instances, and the host. Their records say that the region was stopped."""
        from builder.region.ec2.instances import states

        self._closing = True
        states.terminate_all(self._state, "Internal error: the local region was stopped")
        with self._lock:
            lives = tuple(self._lives.values())
            if self._idle is not None:
                self._idle.cancel()
        if self._starting.acquire(timeout=STOP_SECONDS):  # else it ends with the process
            hosts, self._host, self._hvm = (self._host, self._hvm), None, None
            self._starting.release()
            for host in hosts:
                if host is not None:
                    host.close()
        patience = time.monotonic() + STOP_SECONDS
        for each in lives:
            each.join(max(0.0, patience - time.monotonic()))

    # What follows is its own.

    @cached_property
    def _bundles(self) -> "Bundles":
        """Rid of what is left from images and instances that are no more."""
        from builder.region.launch import Bundles

        made = Bundles.under(self._place / "images", self._state, self._private_key)
        rows = self._state.rows("SELECT id, record FROM images WHERE state = 'available'")
        made.keep_only({row["id"]: json.loads(row["record"])["ImageLocation"] for row in rows})
        known = {row["id"] for row in self._state.rows("SELECT id FROM instances")}
        for console in self._consoles.glob("*.console"):
            if console.stem not in known:
                console.unlink()
        live = self._records("state <> 'terminated'")
        self._volumes.keep_only({each["VolumeId"] for record in live for each in record.get("Volumes", ())})
        return made

    def _records(self, condition: str) -> "list[dict[str, Any]]":
        rows = self._state.rows(f"SELECT record FROM instances WHERE {condition}")
        return [json.loads(row["record"]) for row in rows]

    def _host_of(self, instance: str) -> "XenHost | HvmHost | None":
        life = self._lives.get(instance)
        return self._hvm if life is not None and life.instance.hvm else self._host

    def _remove_volumes(self, instance: str) -> None:
        """Of one that was terminated."""
        row = self._state.row("SELECT record FROM instances WHERE id = ? AND state = 'terminated'", (instance,))
        for each in json.loads(row["record"]).get("Volumes", ()) if row is not None else ():
            self._volumes.remove(each)

    @property
    def _consoles(self) -> Path:
        return self._place / "consoles"

    def _wait_for_work(self) -> None:
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            self._idle = threading.Timer(IDLE_SECONDS, self._rest)
            self._idle.daemon = True
            self._idle.start()

    def _rest(self) -> None:
        with self._starting, self._lock:
            if self._lives or self._closing:
                return
            host, self._host = self._host, None
        if host is not None:
            host.close()

    def _public(self, instance: str) -> str:
        row = self._state.row("SELECT public_address FROM instances WHERE id = ?", (instance,))
        return str(row["public_address"]) if row is not None else ""

    def _listen(self, host: "XenHost | HvmHost", guest: "Guest", permissions: "Sequence[Permission]") -> None:
        """Listen on exactly the ports that the host's client may reach."""
        from builder.region.forwards import listened

        instance = guest.spec.name
        public = self._public(instance)
        wanted = listened(permissions, self._settings.client)
        present = self._ports.setdefault(instance, {})
        for port in [each for each in present if each not in wanted]:
            host.unforward(present.pop(port), address=public)
        for port in [each for each in wanted if each not in present]:
            try:
                present[port] = host.forward(guest, port, address=public, port=port)
            except BuilderError:  # a low port as an ordinary user, or somebody else's
                present[port] = host.forward(guest, port, address=public)
        with self._state.transaction() as database:
            database.execute("UPDATE instances SET ports = ? WHERE id = ?", (json.dumps(present), instance))

    def _permissions(self) -> "Mapping[str, tuple[Permission, ...]]":
        from builder.region.network import permissions

        return permissions(self._state)

    def _serve(self, guest: "Guest", connection: "socket.socket") -> None:
        from builder.region.view import answer

        answer(self._state, self._settings.account, guest.spec.name, connection)


def _is_hvm(record: "Mapping[str, Any]") -> bool:
    return bool(record["VirtualizationType"] == "hvm")


def _memory_mib() -> int:
    """Of this machine: half of what it has, in MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**21


def _say(text: str) -> None:
    """A line of the region's log."""
    sys.stderr.write(f"{now()} {text}\n")
