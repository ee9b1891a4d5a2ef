"""A guest in a QEMU of its own, without Xen: what direct boots and HVM guests have in common.

Its network is QEMU's user network, with the metadata service on it and nothing else; it is one big network, since a
restricted one hands out no router. What the host may reach is what is listened on (`forward`). QEMU ends with the
guest; one that restarts gets another QEMU over the same disks. (A reset would do, but SeaBIOS answers one with another
of its own, which cannot be told from the guest's.)
"""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.machine import ports, qemu, workplace
from builder.machine.created import Ended, Guest, nobody
from builder.machine.disks import Disks
from builder.machine.emulator import Emulator
from builder.machine.guest import End, GuestSpec
from builder.machine.metadata_socket import MetadataSocket, Serve
from builder.machine.qmp import Closed, Event

ADDRESS = "172.31.0.10"
"""Of a guest that nobody gave another: one of the default VPC's network, 172.31.0.0/16."""
# Sixteenths of the address space are as large as QEMU has them: this one holds 172.31.0.0/16 and 169.254.0.0/16.
_NETWORK = "net=160.0.0.0/4,host=172.31.0.1,dns=172.31.0.2"
# QAPI: ShutdownCause.
_ENDS = {"guest-shutdown": "poweroff", "guest-reset": "reboot", "guest-panic": "crash", "host-qmp-quit": "destroyed"}

Device = Mapping[str, Any]
"""What device_add is told of a disk, but for the drive."""


class PlainMachine:
    """A guest that runs; it ends with `close`."""

    def __init__(
        self,
        guest: Guest,
        devices: Sequence[Device],
        *,
        options: Callable[[Path], list[str]],
        scratch: Path,
        log: Path,
        serve: Serve | None = None,
        ended: Ended = nobody,
        patience: float = 300.0,
    ) -> None:
        """`devices` are those of the guest's disks, in their order. `options` are asked for with a directory that is
        there as long as this machine."""
        self.guest = guest
        self._devices = tuple(devices)
        self._options = options
        self._scratch = scratch
        self._log = log
        self._serve = serve
        self._ended = ended
        self._patience = patience
        self._listening: dict[tuple[str, int], int] = {}
        self._closing = False
        self._kept, self._lock = workplace.make(scratch)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def forward(self, guest_port: int, *, address: str = "127.0.0.1", port: int = 0) -> int:
        """As ports.listen; goes on when the guest restarts."""
        spec = self.guest.spec
        chosen = ports.listen(self._emulator.monitor, spec.address, guest_port, address=address, port=port)
        self._listening[(address, chosen)] = guest_port
        return chosen

    def unforward(self, port: int, *, address: str = "127.0.0.1") -> None:
        self._listening.pop((address, port), None)
        ports.close(self._emulator.monitor, port, address=address)

    def press_power(self) -> None:
        """Ask the guest to power off, as its power button does."""
        self._emulator.monitor.execute("system_powerdown")

    def halt(self) -> None:
        """End the guest at once, if it has not ended."""
        if self.guest.end is None:
            with suppress(Closed):
                self._emulator.monitor.execute("stop")
            self._finish(self.guest, End(reason="destroyed"))

    def restart(self) -> Guest:
        """Start a guest that has ended once more, with the same disks; the same console goes on."""
        self._end()
        self.guest = Guest(self.guest.spec, self.guest.slot, self.guest.console)
        self._start()
        for (address, port), guest_port in tuple(self._listening.items()):
            ports.listen(self._emulator.monitor, self.guest.spec.address, guest_port, address=address, port=port)
        return self.guest

    def close(self) -> None:
        """End QEMU; what was written to disks that are kept is in their files. Idempotent."""
        self._closing = True
        self._end()
        if self._lock >= 0:
            shutil.rmtree(self._kept, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1

    # What follows is its own.

    def _start(self) -> None:
        self._emulator = Emulator(
            scratch=self._scratch, log=self._log, options=lambda _: self._options(self._kept), patience=self._patience
        )
        self._metadata = MetadataSocket(self._emulator.place, self._answer)
        monitor = self._emulator.monitor
        self._emulator.greet()
        disks = Disks(monitor, self._kept)
        for number, (disk, device) in enumerate(zip(self.guest.spec.disks, self._devices, strict=True)):
            disks.add(f"plain{number}", disk)
            monitor.execute("device_add", {**device, "drive": f"plain{number}", "id": f"disk{number}"})
        # The firmware is told of what was plugged in since by a reset alone.
        monitor.execute("set-action", {"reboot": "reset"})
        monitor.execute("system_reset")
        monitor.wait_for(_reset)
        monitor.execute("set-action", {"reboot": "shutdown"})
        threading.Thread(
            target=self._watch, args=(self.guest, self._emulator), name=self.guest.spec.name, daemon=True
        ).start()
        self.guest.started = True
        monitor.execute("cont")

    def _end(self) -> None:
        """QEMU, if it is there."""
        if hasattr(self, "_emulator"):
            with suppress(BuilderError):
                self._emulator.quit()
            self._emulator.close()
        if hasattr(self, "_metadata"):
            self._metadata.close()

    def _answer(self, slot: int, connection: socket.socket) -> None:
        del slot
        if self._serve is not None:
            self._serve(self.guest, connection)

    def _watch(self, guest: Guest, emulator: Emulator) -> None:
        try:
            event = emulator.monitor.wait_for(_shutdown, patient=True)
            self._finish(guest, End(reason=_ENDS.get(event.get("data", {}).get("reason", ""), "lost")))
        except Closed:
            self._finish(guest, End(reason="destroyed" if self._closing else "lost", detail=emulator.said()))

    def _finish(self, guest: Guest, end: End) -> None:
        if guest.end is None:
            guest.finish(end)
            threading.Thread(target=self._ended, args=(guest, end), name="ended", daemon=True).start()


def common_options(spec: GuestSpec, services: Sequence[int] = ()) -> list[str]:
    """Processors, memory and network. `services`: ports of the host's loopback that the guest may reach."""
    relay = qemu.escaped('"./python" -I -S ./relay.py')
    forwards = [f"guestfwd=tcp:169.254.169.254:80-cmd:{relay} metadata 1"]
    forwards += [
        f"guestfwd=tcp:{service_address(number)}:{port}-cmd:{relay} port {port}" for number, port in enumerate(services)
    ]
    named = f"dhcpstart={spec.address},hostname={spec.hostname},domainname={spec.domain},restrict=on"
    return [
        "-smp", str(spec.vcpus), "-m", str(spec.memory_mib), *qemu.QUIET, "-S",
        "-netdev", ",".join(["user,id=net", _NETWORK, named, *forwards]),
        "-device", f"virtio-net-pci,netdev=net,romfile=,mac={spec.mac}",
    ]  # fmt: skip


def service_address(number: int) -> str:
    """Where the guest finds a service of the host's, counted from 0."""
    return f"172.30.2.{number + 1}"


def _shutdown(event: Event) -> bool:
    return bool(event["event"] == "SHUTDOWN")


def _reset(event: Event) -> bool:
    return bool(event["event"] == "RESET")
