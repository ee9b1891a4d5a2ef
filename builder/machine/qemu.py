"""QEMU's command lines. Pure.

Found by trying (QEMU 7.2, Xen 4.17, no KVM; seconds to a login):
- Nehalem: under TCG a CPU with SMAP breaks Xen's PV guests, and one with AVX or XSAVE is slower; rdrand spares xl 3 s
  of waiting for entropy. `thread=multi` halves the time.
- Xen with `spec-ctrl=no xpti=no` halves it again; `bootscrub=0` leaves the memory that no guest has untouched, so
  that a big machine costs nothing.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.host import process

PROGRAM = "qemu-system-x86_64"
MEMORY_MIB = 6144
"""Of the machine that Xen runs on: virtual; what no guest uses is never touched."""
DOM0_MIB = 256
_XEN = (
    f"console=com1 com1=115200,8n1 dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M dom0_max_vcpus=1 "
    "spec-ctrl=no xpti=no bootscrub=0 loglvl=warning guest_loglvl=warning"
)
QUIET = ("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot")
_LINUX = "console=hvc0 quiet mitigations=off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """How the processor is emulated."""

    name: str
    """kvm or tcg"""

    @property
    def options(self) -> tuple[str, ...]:
        if self.name == "kvm":
            return ("-accel", "kvm", "-cpu", "host")
        return ("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem,+rdrand")

    @property
    def patience(self) -> float:
        """By how much what is done here takes longer than with KVM."""
        return 1.0 if self.name == "kvm" else 5.0


KVM = Accelerator(name="kvm")
TCG = Accelerator(name="tcg")


def program() -> str:
    return process.require(PROGRAM, "qemu-system-x86")


def escaped(text: str | Path) -> str:
    """A value within an option of QEMU's: a comma is doubled."""
    return str(text).replace(",", ",,")


def machine_options(*, processors: int) -> list[str]:
    """Processors and memory.

    The memory is anonymous, so that the kernel can back it with huge pages: an emulated processor looks up so many
    addresses that a guest whose memory was a mapped file (4 KiB pages) came up in half as much time again.
    """
    return [
        "-machine", "pc,memory-backend=memory,usb=off",
        "-object", f"memory-backend-ram,id=memory,size={MEMORY_MIB}M,reserve=off",
        "-m", str(MEMORY_MIB),
        "-smp", str(processors),
        *QUIET,
    ]  # fmt: skip


def processors() -> int:
    """How many processors a Xen machine that is started now gets; see processors_for."""
    return processors_for(os.cpu_count() or 1, os.getloadavg()[0])


def processors_for(cores: int, load: float) -> int:
    """Two, while the cores are free for them, and one on a busy machine.

    Emulated processors that wait for one another waste what time they get: a guest was seen to come up sooner with
    one while other programs kept both cores busy, and some 10 s sooner of 50 with two on an idle machine. No two of
    those runs had the same load, so this is a direction and not a measure.
    """
    return 2 if cores > 1 and load < cores else 1


def xen_options() -> list[str]:
    """Xen and dom0's kernel and initramfs, in the directory that QEMU is started in."""
    return ["-kernel", "xen", "-append", _XEN, "-initrd", f"vmlinuz {_LINUX},dom0.cpio"]


def device_options(network: str, log: str | Path) -> list[str]:
    """What the machine has, with dom0's console in `log`."""
    return [
        "-serial", f"file:{escaped(log)}",
        "-device", "virtio-serial-pci,id=ports",
        "-device", "virtserialport,bus=ports.0,nr=1,chardev=control,name=control",
        "-device", "virtio-scsi-pci,id=scsi",
        "-netdev", network,
        "-device", "virtio-net-pci,netdev=net,romfile=",
    ]  # fmt: skip


def socket_options(*, monitor: int, control: int) -> list[str]:
    """QMP and the control channel, each over one end of a socket pair: no file, nobody else can connect."""
    return [
        "-chardev", f"socket,id=qmp,fd={monitor}",
        "-mon", "chardev=qmp,mode=control",
        "-chardev", f"socket,id=control,fd={control}",
    ]  # fmt: skip


def identity(command: Sequence[str]) -> tuple[str, ...]:
    """What a saved machine depends on: QEMU's program and the options that describe the machine."""
    found = Path(shutil.which(program()) or program()).resolve()
    status = found.stat()
    return (str(found), str(status.st_size), str(status.st_mtime_ns), *command)
