"""Where the console leaves a doubt, the image has the answer."""

import subprocess
from pathlib import Path

import pytest

from builder.machine.diagnose import diagnose
from tests.support.boot import elf

CONSOLE = "Booting `tiny'\n\nerror: couldn't load file /boot/vmlinuz.\n"
REFUSED = "the loader cannot take the kernel /boot/vmlinuz"


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (None, ("no-kernel", "the image has no kernel /boot/vmlinuz, which its boot menu names")),
        (
            b"hello",
            (
                "kernel-format",
                f"{REFUSED}: not a kernel: neither a bzImage nor an ELF file, plain or gzip",
            ),
        ),
        (
            elf(xen=False),
            (
                "kernel-format",
                f"{REFUSED}: it has no entry for Xen's paravirtual guests of this architecture",
            ),
        ),
    ],
    ids=["missing", "junk", "not for Xen"],
)
def test_a_kernel_that_was_not_loaded(kernel: bytes | None, expected: tuple[str, str], tmp_path: Path) -> None:
    tree, image = tmp_path / "tree", tmp_path / "image"
    (tree / "boot").mkdir(parents=True)
    if kernel is not None:
        (tree / "boot/vmlinuz").write_bytes(kernel)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image, "1M"], check=True)
    found = diagnose(CONSOLE, image, tmp_path)
    assert found is not None
    assert (found.id, found.brief) == expected


def test_what_is_clear_is_not_looked_up(tmp_path: Path) -> None:
    found = diagnose("error: file `/boot/grub/menu.lst' not found.\n", tmp_path / "nothing", tmp_path)
    assert found is not None
    assert found.id == "no-menu"
    assert diagnose("all is well", tmp_path / "nothing", tmp_path) is None
