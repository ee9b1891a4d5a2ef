"""A Xen host in QEMU: one dom0 for many guests. It works as an ordinary user, and on loopback only.

    with XenHost(cache=..., scratch=..., logs=...) as host:
        guest = host.create(spec)
        port = host.forward(guest, 22)
        end = guest.wait(60)

All of it may be called from several threads. Everything ends with the block, or with the process.
"""

import base64
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from builder.errors import BuilderError
from builder.host import apt
from builder.machine import network, ports, qemu, warm
from builder.machine.control import Control, decoded
from builder.machine.created import Ended, Guest, nobody
from builder.machine.disks import Disks
from builder.machine.emulator import Emulator
from builder.machine.guest import Disk, End, GuestSpec, format_domain
from builder.machine.metadata_socket import MetadataSocket, Serve
from builder.machine.network import Permission, Wire
from builder.machine.prepare import prepare


class XenHost:
    """See the module. It is up when it is made."""

    def __init__(
        self,
        *,
        cache: Path,
        scratch: Path,
        logs: Path,
        serve: Serve | None = None,
        ended: Ended = nobody,
        services: Sequence[int] = (),
        client: str = network.CLIENT,
        progress: apt.Progress | None = None,
        note: apt.Note | None = None,
    ) -> None:
        """`scratch`: disks of guests, as long as they live. `logs`: consoles and QEMU's messages, which stay.

        `serve(guest, connection)` answers one connection to the metadata service, in a thread of its own. `ended` is
        told the end of every guest, in a thread of the host's. `services` are ports of the host's loopback that
        guests may reach, each at network.service_address.
        """
        began = time.monotonic()
        self.logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        self._ended = ended
        self._services = tuple(services)
        self._client = client
        self._lock = threading.RLock()
        self._guests: dict[int, Guest] = {}
        self._permissions: Mapping[str, tuple[Permission, ...]] = {}
        self._ready = threading.Event()
        self._closing = False
        prepared = prepare(cache, progress=progress or _silent, note=note or (lambda text: None))
        self.accelerator = warm.accelerator(cache, prepared)
        # With KVM dom0 is there in two seconds, and what was saved would be bound to the host's processor.
        emulated = self.accelerator.name != "kvm"
        self.processors = qemu.processors() if emulated else 2
        saved = warm.warmed(cache, prepared, self.accelerator, self.processors) if emulated else None

        def options(place: Path) -> list[str]:
            return [
                *self.accelerator.options,
                *qemu.machine_options(processors=self.processors),
                *qemu.device_options(network.user_network("./python", self._services), logs / "dom0.log"),
                *(("-incoming", "defer") if saved else warm.cold_options(prepared, place)),
            ]

        self._patience = 60.0 * self.accelerator.patience
        self._emulator = Emulator(scratch=scratch, log=logs / "qemu.log", options=options, patience=self._patience)
        try:
            self._metadata = MetadataSocket(self._emulator.place, self._serve(serve))
            self._control = Control(self._emulator.control, self._hear)
            self._emulator.greet()
            if saved:
                warm.restore(self._emulator.monitor, saved)
                self._control.ask("ping")
            elif not self._ready.wait(self._patience):
                raise BuilderError("the Xen host did not come up", detail=self._emulator.said())
            self._control.ask("time", int(time.time()))
        except BaseException:
            self.close()
            raise
        self._disks = Disks(self._emulator.monitor, self._emulator.place)
        self.seconds_to_ready = time.monotonic() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def guests(self) -> tuple[Guest, ...]:
        """Those that have not been removed."""
        with self._lock:
            return tuple(self._guests.values())

    def create(self, spec: GuestSpec) -> Guest:
        """Start a guest. It is there, or has ended, when this returns; what it reaches is said by `permit`.

        It gets no more processors than the host has: they would only wait for one another.

        BuilderError when there is no room for it, or dom0 refuses.
        """
        guest = self._place(spec)
        try:
            self._attach_console(guest)
            nodes = []
            for disk in spec.disks:
                lun = self._disks.attach(guest.slot, disk)
                nodes.append(self._control.ask("disk", lun))
            self._describe(guest, tuple(nodes))
            self._write_rules()
            self._start(guest)
        except BaseException:
            self.remove(guest)
            raise
        return guest

    def restart(self, guest: Guest) -> Guest:
        """Start a guest that has ended once more, with the same disks: what a reboot is. The same console goes on."""
        with self._lock:
            again = Guest(guest.spec, guest.slot, guest.console)
            self._guests[guest.slot] = again
        self._start(again)
        return again

    def reboot(self, guest: Guest) -> None:
        """Ask the guest to restart; its end is then `reboot`."""
        self._control.ask("reboot", guest.slot, patience=self._patience)

    def shut_down(self, guest: Guest) -> None:
        """Ask the guest to power off; its end is then `poweroff`."""
        self._control.ask("shutdown", guest.slot, patience=self._patience)

    def destroy(self, guest: Guest) -> None:
        """End a guest at once, if it has not ended."""
        if guest.started and guest.end is None:
            with suppress(BuilderError):  # it ended by itself meanwhile
                self._control.ask("destroy", guest.slot, patience=self._patience)
            guest.wait(self._patience)

    def remove(self, guest: Guest) -> None:
        """Destroy a guest and let go of its disks, its addresses and its slot. Its console log stays."""
        if self._guests.get(guest.slot) is not guest:
            return
        with suppress(BuilderError):  # of a host that has ended there is nothing left
            self.destroy(guest)
            self._disks.detach(guest.slot)
            self._detach_console(guest)
            self._control.ask("forget", guest.slot)
        with self._lock:
            self._guests.pop(guest.slot, None)

    def permit(self, permissions: Mapping[str, tuple[Permission, ...]], *, client: str | None = None) -> None:
        """Replace what may reach each guest, by the guest's name, and where the host's own client stands."""
        with self._lock:
            self._permissions = dict(permissions)
            self._client = client or self._client
        self._write_rules()

    def forward(self, guest: Guest, guest_port: int, *, address: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on a loopback address of the host's for a guest's TCP port; the port that was taken (0: any).

        Whether a connection comes through is the filter's matter. BuilderError if it cannot be listened on.
        """
        return ports.listen(self._emulator.monitor, guest.spec.address, guest_port, address=address, port=port)

    def unforward(self, port: int, *, address: str = "127.0.0.1") -> None:
        """Listen there no more; connections that there are go on."""
        ports.close(self._emulator.monitor, port, address=address)

    def inside(self, script: str) -> str:
        """What a shell script says in dom0: for tests, and for looking into trouble."""
        return self._control.ask("show", base64.b64encode(script.encode()).decode(), patience=self._patience)

    def close(self) -> None:
        """End every guest and the host. Idempotent."""
        self._closing = True
        self._emulator.close()
        if hasattr(self, "_metadata"):
            self._metadata.close()

    # What follows is the host's own.

    def _start(self, guest: Guest) -> None:
        guest.started = True
        self._control.ask("create", guest.slot, patience=self._patience)

    def _place(self, spec: GuestSpec) -> Guest:
        with self._lock:
            free = [slot for slot in range(1, network.SLOTS + 1) if slot not in self._guests]
            if not free:
                raise BuilderError(f"the Xen host has no room for more than {network.SLOTS} guests")
            guest = Guest(spec, free[0], self.logs / f"{spec.name}.console")
            self._guests[guest.slot] = guest
            return guest

    def _attach_console(self, guest: Guest) -> None:
        name, monitor = f"console{guest.slot}", self._emulator.monitor
        backend = {"type": "file", "data": {"out": str(guest.console), "append": True}}
        monitor.execute("chardev-add", {"id": name, "backend": backend})
        port = {"driver": "virtserialport", "bus": "ports.0", "nr": guest.slot + 1, "chardev": name}
        monitor.execute("device_add", {**port, "id": name, "name": name})

    def _detach_console(self, guest: Guest) -> None:
        name, monitor = f"console{guest.slot}", self._emulator.monitor
        with suppress(BuilderError):  # it may never have been plugged in
            monitor.unplug(name)
            monitor.execute("chardev-remove", {"id": name})

    def _describe(self, guest: Guest, nodes: tuple[str, ...]) -> None:
        spec, place = guest.spec, f"/run/guests/{guest.slot}"
        domain = replace(spec, vcpus=min(spec.vcpus, self.processors))
        if spec.kernel is not None:
            self._copy(guest, spec.kernel.kernel, f"{place}/kernel")
            if spec.kernel.ramdisk is not None:
                self._copy(guest, spec.kernel.ramdisk, f"{place}/ramdisk")
        dhcp = network.format_dhcp(
            slot=guest.slot, mac=spec.mac, address=spec.address, hostname=spec.hostname, domain=spec.domain
        )
        for name, text in (
            ("address", spec.address),
            ("gateway", network.gateway(spec.address)),
            ("udhcpd.conf", dhcp),
            ("xl.cfg", format_domain(domain, slot=guest.slot, nodes=nodes)),
        ):
            self._control.put(f"{place}/{name}", text.encode())

    def _copy(self, guest: Guest, source: Path, target: str) -> None:
        """A file of the host's into dom0, by way of a disk."""
        lun = self._disks.attach(guest.slot, Disk(device="", base=source))
        node = self._control.ask("disk", lun)
        self._control.ask("copy", node, source.stat().st_size, target, patience=self._patience)

    def _write_rules(self) -> None:
        with self._lock:
            wires = [
                Wire(
                    slot=guest.slot,
                    address=guest.spec.address,
                    permissions=self._permissions.get(guest.spec.name, ()),
                )
                for guest in self._guests.values()
            ]
            text = network.format_ruleset(wires, client=self._client, services=self._services)
            self._control.put("/run/rules", text.encode())
            self._control.ask("rules")

    def _serve(self, serve: Serve | None) -> Callable[[int, socket.socket], None]:
        def answer(slot: int, connection: socket.socket) -> None:
            guest = self._guests.get(slot)
            if serve is not None and guest is not None:
                serve(guest, connection)

        return answer

    def _hear(self, words: tuple[str, ...]) -> None:
        match words:
            case ():
                for guest in self.guests:
                    self._finish(guest, End(reason="destroyed" if self._closing else "lost"))
            case ("ready",):
                self._ready.set()
            case ("gone", slot, reason, *rest):
                guest_ended = self._guests.get(int(slot))
                if guest_ended is not None:
                    self._finish(guest_ended, End(reason=reason, detail=decoded("".join(rest)).strip()))

    def _finish(self, guest: Guest, end: End) -> None:
        if guest.end is None:
            guest.finish(end)
            threading.Thread(target=self._ended, args=(guest, end), name="ended", daemon=True).start()


def _silent(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""
