"""What an HVM image is booted with."""

from dataclasses import replace

import pytest

from builder.catalog.instance_types import instance_type
from builder.errors import RecipeError
from builder.machine.guest import Firmware
from builder.machine.subject import HvmSubject, Level, hvm_subject

BIOS, UEFI = Firmware.BIOS, Firmware.UEFI


def test_subjects() -> None:
    found = hvm_subject(instance_type("m5d.large"), boot_mode="uefi-preferred", volume=5)
    assert found == HvmSubject(firmwares=(UEFI, BIOS), nitro=True, volume=5)
    found = hvm_subject(instance_type("t2.micro"), boot_mode="uefi-preferred", volume=5)
    assert found == HvmSubject(firmwares=(BIOS,), nitro=False, volume=5)


def test_a_type_that_starts_no_such_image() -> None:
    with pytest.raises(RecipeError, match=r"t2\.micro has no UEFI, and the image boots by nothing else"):
        hvm_subject(instance_type("t2.micro"), boot_mode="uefi", volume=1)
    paravirtual = replace(instance_type("m1.small"), virtualization=("pv",))
    with pytest.raises(RecipeError, match=r"m1\.small starts paravirtual images only"):
        hvm_subject(paravirtual, boot_mode="", volume=1)


@pytest.mark.parametrize(
    ("firmwares", "expected"),
    [
        ((UEFI, BIOS), {Level.DIRECT: (BIOS,), Level.LOGIN: (UEFI, BIOS), Level.FULL: (UEFI, BIOS)}),
        ((UEFI,), {Level.DIRECT: (UEFI,), Level.LOGIN: (UEFI,), Level.FULL: (UEFI,)}),
        ((BIOS,), {Level.DIRECT: (BIOS,), Level.LOGIN: (BIOS,), Level.FULL: (BIOS,)}),
    ],
)
def test_levels(firmwares: tuple[Firmware, ...], expected: dict[Level, tuple[Firmware, ...]]) -> None:
    subject = HvmSubject(firmwares=firmwares, nitro=True, volume=1)
    assert {level: subject.chosen(level) for level in Level} == expected
