"""A guest in a QEMU of its own, without Xen: what direct boots and HVM guests have in common.

Its network is QEMU's user network, with the metadata service on it and nothing else; it is one big network, since a
restricted one hands out no router. What the host may reach is what is listened on (`forward`). A guest that powers off
or restarts leaves its QEMU waiting, with its disks, until it is started again or removed.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.machine import ports, qemu
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
# QEMU stays when the guest ends: to be started again, it is reset.
WAITING = ("-action", "reboot=shutdown,shutdown=pause")
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
        """`devices` are those of the guest's disks, in their order. `options` as Emulator has them."""
        self.guest = guest
        self._ended = ended
        self._closing = False
        self._emulator = Emulator(scratch=scratch, log=log, options=options, patience=patience)
        try:
            self._metadata = MetadataSocket(self._emulator.place, lambda _, peer: serve and serve(self.guest, peer))
            self._emulator.greet()
            self._plug(devices)
            threading.Thread(target=self._watch, name=guest.spec.name, daemon=True).start()
            self._start()
        except BaseException:
            self.close()
            raise

    def forward(self, guest_port: int, *, address: str = "127.0.0.1", port: int = 0) -> int:
        """As ports.listen."""
        return ports.listen(self._emulator.monitor, self.guest.spec.address, guest_port, address=address, port=port)

    def unforward(self, port: int, *, address: str = "127.0.0.1") -> None:
        ports.close(self._emulator.monitor, port, address=address)

    def press_power(self) -> None:
        """Ask the guest to power off, as its power button does."""
        self._emulator.monitor.execute("system_powerdown")

    def halt(self) -> None:
        """End the guest at once, if it has not ended."""
        if self.guest.end is None:
            with suppress(Closed):
                self._emulator.monitor.execute("stop")
            self._finish(End(reason="destroyed"))

    def restart(self) -> Guest:
        """Start a guest that has ended once more, with the same disks; the same console goes on."""
        self.guest = Guest(self.guest.spec, self.guest.slot, self.guest.console)
        self._start()
        return self.guest

    def close(self) -> None:
        """End QEMU; what was written to disks that are kept is in their files. Idempotent."""
        self._closing = True
        with suppress(BuilderError):
            self._emulator.quit()
        self._emulator.close()
        if hasattr(self, "_metadata"):
            self._metadata.close()

    # What follows is its own.

    def _plug(self, devices: Sequence[Device]) -> None:
        disks = Disks(self._emulator.monitor, self._emulator.place)
        for number, (disk, device) in enumerate(zip(self.guest.spec.disks, devices, strict=True)):
            disks.add(f"plain{number}", disk)
            self._emulator.monitor.execute("device_add", {**device, "drive": f"plain{number}", "id": f"disk{number}"})

    def _start(self) -> None:
        """From the power-on state, which alone shows the firmware what was plugged in since."""
        monitor = self._emulator.monitor
        monitor.execute("set-action", {"reboot": "reset"})
        monitor.execute("system_reset")
        monitor.wait_for(_reset)
        monitor.execute("set-action", {"reboot": "shutdown"})
        self.guest.started = True
        monitor.execute("cont")

    def _watch(self) -> None:
        try:
            while True:
                event = self._emulator.monitor.wait_for(_shutdown, patient=True)
                self._finish(End(reason=_ENDS.get(event.get("data", {}).get("reason", ""), "lost")))
        except Closed:
            self._finish(End(reason="destroyed" if self._closing else "lost", detail=self._emulator.said()))

    def _finish(self, end: End) -> None:
        guest = self.guest
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
        "-smp", str(spec.vcpus), "-m", str(spec.memory_mib), *qemu.BARE, *WAITING, "-S",
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
