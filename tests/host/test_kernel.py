"""The kernel stage's own work, with the host's mkinitramfs and kernel in a throw-away copy of the host's tree."""

import gzip
import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError, HostError
from builder.formats import bzimage
from builder.formats.initrd import read_initrd
from builder.host import tree_files
from builder.host.overlay import mounted
from builder.stages.kernel import boot_files
from builder.stages.kernel.run import make_initrd
from builder.stages.kernel.spec import KernelSpec
from tests.support.boot import elf, initrd

pytestmark = pytest.mark.host

SPEC = KernelSpec(
    architecture="x86_64",
    release="12",
    repositories=(),
    packages=(),
    initrd="initramfs-tools",
    modules=("xen-blkfront", "ext4"),
    payloads=("gzip", "none"),
    source_epoch=1_700_000_000,
)


@pytest.fixture
def version() -> str:
    found = sorted(path.name.removeprefix("config-") for path in Path("/boot").glob("config-*"))
    found = [each for each in found if Path("/usr/lib/modules", each, "kernel").is_dir()]
    if not found or not shutil.which("mkinitramfs", path="/usr/sbin:/sbin"):
        pytest.skip("this host has no initramfs-tools, or no kernel with its modules")
    if os.geteuid() != 0:
        pytest.skip("only root can read all of its own tree")
    return found[-1]


def make(place: Path, version: str) -> dict[str, Any]:
    """An initrd and a kernel, made on top of this machine's own /usr, /etc and /boot."""
    tree = place / "tree"
    with ExitStack() as stack:
        for name in ("usr", "etc", "boot"):
            upper, work, target = place / "upper" / name, place / "work" / name, tree / name
            for each in (upper, work, target):
                each.mkdir(parents=True)
            stack.enter_context(mounted([Path("/", name)], upper=upper, work=work, target=target))
        for name in ("bin", "sbin", "lib", "lib64"):
            (tree / name).symlink_to(f"usr/{name}")
        path = make_initrd(tree, SPEC, version)
        boot_files.check_initrd(tree, version, path, SPEC.modules)
        kernel, repacked = boot_files.readable_kernel(tree, version, ("gzip",))
        made, unpacked = (tree / path[1:]).read_bytes(), (tree / kernel[1:]).read_bytes()
    entries = read_initrd(made)
    return {
        "digests": [hashlib.sha256(each).hexdigest() for each in (made, unpacked)],
        "size": len(made),
        "init": "init" in [entry.name for entry in entries],
        "latest": max(entry.mtime for entry in entries),
        "kernel": kernel,
        "bits": bzimage.elf_class(gzip.decompress(unpacked)),
        "repacked": repacked,
        "left": sorted(
            str(each.relative_to(place / "upper")) for each in (place / "upper").rglob("*") if each.is_file()
        ),
    }


def make_twice(base: str, version: str) -> list[dict[str, Any]]:
    """In the namespace. Nothing where an overlay of this machine's root cannot be made (it is one itself)."""
    try:
        return [make(Path(base, name), version) for name in ("first", "second")]
    except HostError:
        return []


def test_a_small_initrd_and_a_readable_kernel_twice_alike(
    inside: Callable[..., Any], trees: Path, version: str
) -> None:
    made = inside(make_twice, base=str(trees), version=version)
    if not made:
        pytest.skip("an overlay of this host's root cannot be made")
    said, again = made
    assert said == again
    assert said["init"]
    assert said["size"] < 16 * 1024**2
    assert said["latest"] <= SPEC.source_epoch
    assert (said["bits"], said["kernel"]) == (64, f"/boot/vmlinuz-{version}-pv")
    assert said["repacked"] in ("lz4", "xz", "zstd")
    assert [each for each in said["left"] if not each.startswith(f"usr/lib/modules/{version}/modules.")] == [
        f"boot/initrd.img-{version}",
        f"boot/vmlinuz-{version}-pv",
        "etc/initramfs-tools/conf.d/ami-factory",
        "etc/initramfs-tools/modules",
    ]


def refuse(base: str) -> dict[str, Any]:
    """In the namespace: what is said of trees whose kernel or initrd will not do."""
    tree = Path(base)
    said = {}

    def ask(name: str, function: Callable[..., Any], *arguments: Any) -> None:
        try:
            said[name] = str(function(tree, "6.1", *arguments))
        except BuilderError as error:
            said[name] = error.brief

    (tree / "usr/lib/modules/6.1").mkdir(parents=True)
    ask("no kernel", boot_files.readable_kernel, ("gzip",))
    tree_files.write(tree, "/usr/lib/modules/6.1/vmlinuz", gzip.compress(elf()))
    ask("fedora's place", boot_files.readable_kernel, ("gzip",))
    tree_files.write(tree, "/boot/vmlinuz-6.1", b"\x89LZO" * 200)
    ask("no such form", boot_files.readable_kernel, ("gzip",))
    ask("no initrd", boot_files.check_initrd, "/boot/initrd", ("ext4",))
    tree_files.write(tree, "/boot/initrd", initrd("bin/sh"))
    ask("no init", boot_files.check_initrd, "/boot/initrd", ())
    tree_files.write(tree, "/boot/initrd", initrd("init", "lib/ext4.ko"))
    ask("no module", boot_files.check_initrd, "/boot/initrd", ("ext4", "xen-blkfront"))
    tree_files.write(tree, "/usr/lib/modules/6.1/modules.builtin", b"kernel/drivers/block/xen-blkfront.ko\n")
    ask("built in", boot_files.check_initrd, "/boot/initrd", ("ext4", "xen-blkfront"))
    return said


def test_what_will_not_boot_is_refused(inside: Callable[..., Any], trees: Path) -> None:
    assert inside(refuse, base=str(trees)) == {
        "no kernel": "kernel 6.1 has modules, but there is no /boot/vmlinuz-6.1",
        "fedora's place": "('/boot/vmlinuz-6.1', '')",
        "no such form": "not a kernel: neither a bzImage nor an ELF file, plain or gzip",
        "no initrd": "no initrd was made: /boot/initrd is not there",
        "no init": "/boot/initrd holds no init",
        "no module": "neither /boot/initrd nor the kernel itself has xen-blkfront",
        "built in": "None",
    }
