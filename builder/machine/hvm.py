"""HVM guests: each a QEMU of its own with firmware, a partitioned disk, and devices as EC2's.

What is EC2's: NVMe disks with EC2's serial numbers (vol..., AWS...), SMBIOS tables that say Amazon EC2 and the instance
type, a console on ttyS0, the power button. What is not: QEMU 7.2 writes its own model name into an NVMe disk (EC2 says
"Amazon Elastic Block Store" and "Amazon EC2 NVMe Instance Storage"), so that links by id and udev rules that go by the
model do not find it; it has no ENA, so the network is virtio; and it has no disks of Xen's without a Xen below, so the
disks of older instance types are virtio too.
"""

import hashlib
import itertools
import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from builder.errors import BuilderError, HostError
from builder.machine import plain, qemu, trial
from builder.machine.created import Ended, Guest, nobody
from builder.machine.guest import Firmware, GuestSpec, Hvm
from builder.machine.metadata_socket import Serve
from builder.machine.plain import Device, PlainMachine

MOST = 16
"""Guests at a time."""
CODE, VARIABLES = Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
_MAKER = "Amazon EC2"


class HvmHost:
    """Where HVM guests run; asked as host.XenHost is. Safe to call from several threads."""

    def __init__(
        self,
        *,
        cache: Path,
        scratch: Path,
        logs: Path,
        serve: Serve | None = None,
        ended: Ended = nobody,
        services: Sequence[int] = (),
    ) -> None:
        """As XenHost; `services` are at plain.service_address."""
        self.logs = logs
        self._scratch = scratch
        self._serve = serve
        self._ended = ended
        self._services = tuple(services)
        self._lock = threading.Lock()
        self._slots = itertools.count(1)
        self._machines: dict[int, PlainMachine] = {}
        self._listening: dict[tuple[str, int], int] = {}
        self._closing = False
        logs.mkdir(parents=True, exist_ok=True)
        scratch.mkdir(parents=True, exist_ok=True)
        self.accelerator = trial.accelerator(cache)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(self, spec: GuestSpec) -> Guest:
        """Start a guest. BuilderError when there is no room for it, or its firmware is not installed."""
        assert spec.hvm is not None
        check_firmware(spec.hvm.firmware)
        with self._lock:
            if self._closing or len(self._machines) >= MOST:
                raise BuilderError(f"there is no room for more than {MOST} HVM guests")
            slot = next(self._slots)
        guest = Guest(spec, slot, self.logs / f"{spec.name}.console")
        machine = PlainMachine(
            guest,
            devices(spec),
            options=lambda place: command_options(
                spec, self.accelerator, place=place, console=guest.console, services=self._services
            ),
            scratch=self._scratch,
            log=self.logs / f"{spec.name}.qemu.log",
            serve=self._serve,
            ended=self._ended,
            patience=60.0 * self.accelerator.patience,
        )
        with self._lock:
            self._machines[slot] = machine
        return guest

    def restart(self, guest: Guest) -> Guest:
        """Start a guest that has ended once more, with the same disks: what a reboot is. The same console goes on."""
        return self._machine(guest).restart()

    def reboot(self, guest: Guest) -> None:
        """Ask the guest to end, that it may be restarted: there is a power button, and none for a restart."""
        self._machine(guest).press_power()

    def shut_down(self, guest: Guest) -> None:
        """Ask the guest to power off; its end is then `poweroff`."""
        self._machine(guest).press_power()

    def destroy(self, guest: Guest) -> None:
        """End a guest at once, if it has not ended."""
        if guest.end is None and (machine := self._machines.get(guest.slot)) is not None:
            machine.halt()

    def remove(self, guest: Guest) -> None:
        """End a guest and let go of what it has; its console and the disks that are kept stay."""
        with self._lock:
            machine = self._machines.pop(guest.slot, None)
            gone = [each for each, slot in self._listening.items() if slot == guest.slot]
            for each in gone:
                del self._listening[each]
        if machine is not None:
            machine.close()

    def forward(self, guest: Guest, guest_port: int, *, address: str = "127.0.0.1", port: int = 0) -> int:
        """As ports.listen. Whoever connects there is let through: what may not be reached is not listened on."""
        chosen = self._machine(guest).forward(guest_port, address=address, port=port)
        self._listening[(address, chosen)] = guest.slot
        return chosen

    def unforward(self, port: int, *, address: str = "127.0.0.1") -> None:
        slot = self._listening.pop((address, port), 0)
        if (machine := self._machines.get(slot)) is not None:
            with suppress(BuilderError):  # it has ended meanwhile
                machine.unforward(port, address=address)

    def close(self) -> None:
        """End every guest. Idempotent."""
        with self._lock:
            self._closing = True
            machines = [*self._machines.values()]
            self._machines.clear()
        for machine in machines:
            machine.close()

    def _machine(self, guest: Guest) -> PlainMachine:
        found = self._machines.get(guest.slot)
        if found is None:
            raise BuilderError(f"{guest.spec.name} has ended")
        return found


def check_firmware(firmware: Firmware) -> None:
    """HostError when this machine has no such firmware. SeaBIOS comes with QEMU."""
    if firmware is Firmware.UEFI and not (CODE.exists() and VARIABLES.exists()):
        raise HostError("there is no UEFI firmware on this machine", hint="run: apt-get install ovmf")


def command_options(
    spec: GuestSpec, accelerator: qemu.Accelerator, *, place: Path, console: Path, services: Sequence[int] = ()
) -> list[str]:
    """QEMU's, for a guest whose QEMU has the directory `place`, which gets the UEFI's variables if nobody keeps them.

    `graphics=off` lets SeaBIOS talk to the serial console, as OVMF does; `max` has what distributions ask for
    (x86-64-v3). It is to be taken whole: without svm, QEMU 7.2 leaves out more, and programs of the guest fail.
    """
    assert spec.hvm is not None
    processor = {"kvm": ("-accel", "kvm", "-cpu", "host"), "tcg": ("-accel", "tcg,thread=multi", "-cpu", "max")}
    return [
        *processor[accelerator.name],
        "-machine", "pc,usb=off,graphics=off",
        *_firmware_options(spec.hvm, place),
        *_smbios_options(spec.name, spec.hvm),
        "-chardev", f"file,id=console,path={qemu.escaped(console)},append=on", "-serial", "chardev:console",
        *plain.common_options(spec, services),
    ]  # fmt: skip


def _firmware_options(hvm: Hvm, place: Path) -> list[str]:
    if hvm.firmware is Firmware.BIOS:
        return []
    variables = hvm.variables or place / "variables.fd"
    if not variables.exists():
        shutil.copyfile(VARIABLES, variables)
    return [
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={qemu.escaped(CODE)}",
        "-drive", f"if=pflash,unit=1,format=raw,file={qemu.escaped(variables)}",
    ]  # fmt: skip


def _smbios_options(name: str, hvm: Hvm) -> list[str]:
    """What cloud-init and systemd-detect-virt know an instance by (EC2 User Guide, "Identify EC2 instances": the
    UUID begins with ec2)."""
    number = "ec2" + hashlib.sha256(name.encode()).hexdigest()[:29]
    uuid = "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))
    tables = (
        f"type=0,vendor={_MAKER},version=1.0",
        f"type=1,manufacturer={_MAKER},product={hvm.instance_type},serial={uuid},uuid={uuid}",
        f"type=2,manufacturer={_MAKER},asset={name}",
        f"type=3,manufacturer={_MAKER},asset={_MAKER}",
    )
    return [part for each in tables for part in ("-smbios", each)]


def devices(spec: GuestSpec) -> list[Device]:
    """The device of each disk. The root comes first, for the firmware too."""
    assert spec.hvm is not None
    driver = "nvme" if spec.hvm.nitro else "virtio-blk-pci"
    return [
        {"driver": driver, "serial": each.serial or f"disk{number}", **({} if number else {"bootindex": 0})}
        for number, each in enumerate(spec.disks)
    ]
