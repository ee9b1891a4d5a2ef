"""What kernels were built with, wherever that is written."""

import dataclasses
import gzip

import pytest

from builder.stages.verify import rules
from builder.stages.verify.facts import Facts
from builder.stages.verify.spec import DiskWanted
from tests.support.boot import elf
from tests.unit.stages.verify.test_rules import FILES, GOOD, KERNEL, MENU, MENU_PATH, SPEC, regular

CONFIG = """# Linux/x86 6.1.0 Kernel Configuration
CONFIG_XEN=y
CONFIG_XEN_PV=y
CONFIG_XEN_BLKDEV_FRONTEND=m
CONFIG_XEN_NETDEV_FRONTEND=y
"""
BESIDE = "/boot/config-6.1"


def with_config(text: str, path: str = BESIDE) -> Facts:
    return dataclasses.replace(GOOD, files={**FILES, path: regular(text)})


def inside(text: str) -> Facts:
    kernel = elf() + b"IKCFG_ST" + gzip.compress(text.encode()) + b"IKCFG_ED"
    return dataclasses.replace(GOOD, files={**FILES, KERNEL: regular(gzip.compress(kernel))})


def found(facts: Facts) -> list[tuple[str, str, str]]:
    return [(each.id, each.path, each.why) for each in rules.judge(SPEC, facts)]


@pytest.mark.parametrize("facts", [with_config(CONFIG), inside(CONFIG), GOOD], ids=["beside", "inside", "nowhere"])
def test_good_kernels(facts: Facts) -> None:
    assert found(facts) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("XEN=y", "XEN_NOT=y"), "the kernel was built without CONFIG_XEN"),
        (("CONFIG_XEN_PV=y", "# CONFIG_XEN_PV is not set"), "the kernel was built without CONFIG_XEN_PV"),
        (("XEN_BLKDEV_FRONTEND=m", "X=m"), "the kernel was built without CONFIG_XEN_BLKDEV_FRONTEND"),
        (
            ("XEN_NETDEV_FRONTEND=y", "XEN_NETDEV_FRONTEND=m"),
            "CONFIG_XEN_NETDEV_FRONTEND is a module, and xen-netfront is nowhere",
        ),
    ],
)
def test_bad_kernels(change: tuple[str, str], why: str) -> None:
    text = CONFIG.replace(*change)
    assert found(with_config(text)) == [("kernel-config", BESIDE, why)]
    assert found(inside(text)) == [("kernel-config", KERNEL, why)]
    assert found(with_config(text, "/usr/lib/modules/6.1/config"))[0][0] == "kernel-config"


def test_damaged_settings_are_none() -> None:
    assert found(with_config("\x00\xff", "/boot/config-6.1"))[0][2] == "the kernel was built without CONFIG_XEN"
    kernel = elf() + b"IKCFG_ST\x1f\x8bdamaged"
    assert found(dataclasses.replace(GOOD, files={**FILES, KERNEL: regular(gzip.compress(kernel))})) == []


@pytest.mark.parametrize(
    ("told", "why"), [("", "it is told no console"), ("console=hvc0 console=tty0", "its console is tty0")]
)
def test_console(told: str, why: str) -> None:
    menu = MENU.replace("console=hvc0", told)
    [finding] = rules.judge(SPEC, dataclasses.replace(GOOD, files={**FILES, MENU_PATH: regular(menu)}))
    assert (finding.id, finding.severity, finding.why.partition(":")[0]) == ("console", "warning", why)


def test_a_disk_is_no_paravirtual_guest() -> None:
    spec = dataclasses.replace(SPEC, disk=DiskWanted(boot_mode="uefi", root="x"))
    assert {each.id for each in rules.judge(spec, with_config("CONFIG_XEN=n\n"))} & {
        "kernel-config",
        "console",
    } == set()
