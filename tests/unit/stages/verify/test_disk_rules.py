"""The rules of disks, by a disk that keeps all of them and one fault at a time."""

import dataclasses
import uuid
from typing import Any

import pytest

from builder.formats.gpt import BIOS_BOOT, EFI_SYSTEM, ROOT, Partition, Table
from builder.formats.grub_image import place_boot, place_core
from builder.stages.verify import rules
from builder.stages.verify.disk_facts import EFI_PROGRAM, DiskFacts
from builder.stages.verify.run import held
from builder.stages.verify.spec import DiskWanted, VerifySpec
from tests.unit.formats.test_grub_image import BOOT, CORE
from tests.unit.stages.verify.test_rules import GOOD as PV_GOOD
from tests.unit.stages.verify.test_rules import SPEC as PV_SPEC
from tests.unit.stages.verify.test_rules import regular

UUID = "57ab23d9-9d27-58c1-9551-42b83570cc6a"
FSTAB = (
    f"UUID={UUID} / ext4 defaults,noatime,x-systemd.growfs 0 1\n"
    "UUID=5B36-6D0E /boot/efi vfat umask=0077,nofail,x-systemd.device-timeout=30 0 0\n"
)
MENU = f"""set default=0
menuentry 'x' {{
\tsearch --no-floppy --fs-uuid --set=root {UUID}
\tlinux /boot/vmlinuz-6.1-pv root=UUID={UUID} ro console=tty0 console=ttyS0,115200n8
\tinitrd /boot/initrd.img-6.1
}}
"""
SPEC = dataclasses.replace(
    PV_SPEC,
    fstab=FSTAB,
    menu="/boot/grub/grub.cfg",
    grub_root="",
    root_device=f"UUID={UUID}",
    payloads=(),
    disk=DiskWanted(boot_mode="uefi-preferred", root=UUID),
)


def part(number: int, kind: uuid.UUID, first: int, last: int) -> Partition:
    return Partition(number=number, kind=kind, identity=uuid.UUID(int=number), first=first, last=last)


ROOT_PART, BIOS, ESP = (
    part(1, ROOT["x86_64"], 131072, 200000),
    part(14, BIOS_BOOT, 2048, 4095),
    part(15, EFI_SYSTEM, 4096, 131071),
)
DISK = DiskFacts(
    table=Table(identity=uuid.UUID(int=0), sectors=2097152, partitions=(ROOT_PART, BIOS, ESP)),
    boot_sector=place_boot(b"\xeb" * 90 + BOOT[90:], 2048),
    core=place_core(CORE, 2048)[:512],
    efi=b"MZ",
    esp="5B36-6D0E",
)
FILES = {
    **PV_GOOD.files,
    "/etc/fstab": regular(FSTAB),
    "/boot/grub/grub.cfg": regular(MENU),
    "/etc/repart.d/50-root.conf": regular("[Partition]\nType=root\n"),
}
GOOD = dataclasses.replace(PV_GOOD, files=FILES, disk=DISK, superblock={**PV_GOOD.superblock, "Filesystem UUID": UUID})


def found(facts: Any, spec: VerifySpec = SPEC) -> list[tuple[str, str]]:
    return [(each.id, each.path) for each in rules.judge(spec, facts)]


def with_file(path: str, text: str | None) -> Any:
    files = {name: each for name, each in FILES.items() if name != path}
    return dataclasses.replace(GOOD, files=files if text is None else {**files, path: regular(text)})


def with_disk(**change: Any) -> Any:
    return dataclasses.replace(GOOD, disk=dataclasses.replace(DISK, **change))


def with_parts(*parts: Partition) -> Any:
    assert DISK.table is not None
    return with_disk(table=dataclasses.replace(DISK.table, partitions=parts))


def test_a_good_disk_keeps_all_rules() -> None:
    assert found(GOOD) == []
    assert held(SPEC, ())[-6:] == [
        "partition-table", "boot-loader", "root-uuid", "esp-uuid", "serial-console", "grows"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(with_disk(table=None, problem="damaged"), [("partition-table", "/dev")], id="no table"),
        pytest.param(
            with_parts(dataclasses.replace(ROOT_PART, kind=ROOT["i386"]), BIOS, ESP),
            [("partition-table", "/dev")],
            id="a root of another architecture",
        ),
        pytest.param(
            with_parts(ROOT_PART, BIOS, ESP, part(2, EFI_SYSTEM, 300000, 300001)),
            [("partition-table", "/dev")],
            id="a partition behind the root",
        ),
        pytest.param(with_disk(boot_sector=bytes(512)), [("boot-loader", "/dev")], id="no boot sector"),
        pytest.param(with_disk(core=bytes(512)), [("boot-loader", "/dev")], id="no core"),
        pytest.param(with_parts(ROOT_PART, ESP), [("boot-loader", "/dev")], id="no BIOS boot partition"),
        pytest.param(with_parts(ROOT_PART, BIOS), [("boot-loader", "/dev")], id="no ESP"),
        pytest.param(with_disk(efi=b""), [("boot-loader", EFI_PROGRAM)], id="an empty ESP"),
        pytest.param(with_disk(esp="0000-0000"), [("esp-uuid", "/etc/fstab")], id="another ESP"),
        pytest.param(dataclasses.replace(GOOD, superblock=PV_GOOD.superblock), [("root-uuid", "/")], id="another root"),
        pytest.param(with_file("/boot/grub/grub.cfg", None), [("boot-menu", "/boot/grub/grub.cfg")], id="no menu"),
        pytest.param(
            with_file("/boot/grub/grub.cfg", MENU.replace(UUID, "other")),
            [("boot-menu", "/boot/grub/grub.cfg")] * 2,
            id="a menu of another disk",
        ),
        pytest.param(
            with_file("/boot/grub/grub.cfg", MENU.replace("ttyS0", "ttyS1")),
            [("serial-console", "/boot/grub/grub.cfg")],
            id="no serial console",
        ),
        pytest.param(
            with_file("/boot/grub/grub.cfg", MENU.replace("vmlinuz-6.1-pv", "gone")),
            [("kernel", "/boot/gone")],
            id="a kernel that is not there",
        ),
        pytest.param(
            with_file("/etc/repart.d/50-root.conf", None), [("grows", "/etc/repart.d/50-root.conf")], id="no repart"
        ),
        pytest.param(
            with_file("/etc/fstab", FSTAB.replace(",x-systemd.growfs", "")),
            [("fstab", "/etc/fstab"), ("grows", "/etc/fstab")],
            id="no growfs",
        ),
    ],
)
def test_one_fault(facts: Any, expected: list[tuple[str, str]]) -> None:
    assert found(facts) == expected


@pytest.mark.parametrize(
    ("mode", "facts"),
    [
        pytest.param("legacy-bios", with_disk(efi=b""), id="no UEFI wanted"),
        pytest.param("uefi", with_disk(boot_sector=bytes(512)), id="no BIOS wanted"),
    ],
)
def test_only_the_firmware_that_is_wanted(mode: str, facts: Any) -> None:
    spec = dataclasses.replace(SPEC, disk=DiskWanted(boot_mode=mode, root=UUID))
    assert found(facts, spec) == []
