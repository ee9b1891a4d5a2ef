"""What a kernel must have been built with to start as a paravirtual guest: rules beside rules.py's."""

import re
import zlib
from collections.abc import Iterator
from contextlib import suppress

from builder.errors import BuilderError
from builder.formats import bzimage, initrd, menu_lst
from builder.host import zstd
from builder.stages.verify.facts import Facts
from builder.stages.verify.spec import VerifySpec

Wrong = tuple[str, str, str]
"""Path, why, remedy."""
CONSOLES = ("hvc0", "xvc0")
"""Xen's console: of pvops kernels, and of xenU kernels before them."""
_DRIVERS = {"XEN_BLKDEV_FRONTEND": "xen-blkfront", "XEN_NETDEV_FRONTEND": "xen-netfront"}
_STORED = b"IKCFG_ST\x1f\x8b"
_LARGEST = 4 * 1024**2


def kernel_config(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The kernel was built as a paravirtual guest of Xen, with drivers for its disks and network."""
    entry = _chosen(spec, facts)
    if entry is None or spec.pv_note:
        return
    path, text = _config(entry.kernel, facts)
    if not text:
        return
    settings = dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))
    remedy = "take a kernel that was built with it"
    # XEN_PV came later than XEN: where there is no word of it, XEN means it.
    for name in ("XEN", "XEN_PV") if re.search(r"\bCONFIG_XEN_PV\b", text) else ("XEN",):
        if settings.get(name) != "y":
            yield path, f"the kernel was built without CONFIG_{name}", remedy
    modules = _modules(entry.initrd, facts)
    for name, module in _DRIVERS.items():
        if settings.get(name) not in ("y", "m"):
            yield path, f"the kernel was built without CONFIG_{name}", remedy
        elif settings[name] == "m" and initrd.missing_modules((module,), modules):
            yield path, f"CONFIG_{name} is a module, and {module} is nowhere", "name it in modules of kernels/NAME.toml"


def console(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The kernel is told Xen's console, which get-console-output shows."""
    entry = _chosen(spec, facts)
    if entry is None:
        return
    told = re.findall(r"(?:^|\s)console=([a-z]+\d*)", entry.arguments)
    if not told or told[-1] not in CONSOLES:
        why = f"its console is {told[-1]}" if told else "it is told no console"
        yield spec.menu, f"{why}: what userspace says is in no console output", "see command_line in kernels/NAME.toml"


RULES = {"kernel-config": kernel_config}
WARNINGS = {"console": console}


def _chosen(spec: VerifySpec, facts: Facts) -> menu_lst.Entry | None:
    """None for a disk that firmware boots: its kernel is no paravirtual guest."""
    try:
        return None if spec.disk else menu_lst.parse_menu(facts.text(spec.menu) or "").chosen
    except ValueError:
        return None


def _config(kernel: str, facts: Facts) -> tuple[str, str]:
    """Where a kernel's settings were found, and what they are: in a file that has its version, or in the kernel itself
    (IKCONFIG). Two empty texts when they are nowhere."""
    found = facts.find(kernel)
    if found is None:
        return "", ""
    try:
        file = bzimage.parse_kernel(found.data)
        named = kernel.rpartition("/")[2].removeprefix("vmlinuz-")
        beside = _beside(facts, file.version, named, named.removesuffix("-pv"))
        return beside if beside[1] else _inside(kernel, bzimage.unpack_kernel(file, zstd=zstd.unpack), facts)
    except BuilderError:
        return "", ""


def _beside(facts: Facts, *versions: str) -> tuple[str, str]:
    for each in filter(None, versions):
        for path in (f"/boot/config-{each}", f"/usr/lib/modules/{each}/config", f"/lib/modules/{each}/config"):
            text = facts.text(path)
            if text:
                return path, text
    return "", ""


def _inside(kernel: str, elf: bytes, facts: Facts) -> tuple[str, str]:
    at = elf.find(_STORED)
    with suppress(zlib.error):
        if at >= 0:
            stored = zlib.decompressobj(wbits=31).decompress(elf[at + len(_STORED) - 2 :], _LARGEST)
            return kernel, stored.decode(errors="replace")
    banner = re.search(rb"Linux version (\S{1,200}) ", elf)
    return _beside(facts, banner[1].decode(errors="replace") if banner else "")


def _modules(path: str, facts: Facts) -> frozenset[str]:
    """Those of the initrd, and of the tree."""
    found = facts.find(path) if path else None
    names = [each for each in facts.tree.entries if ".ko" in each]
    if found is not None:
        with suppress(BuilderError):  # which the rule initrd tells
            names += [each.name for each in initrd.read_initrd(found.data, zstd=zstd.unpack)]
    return initrd.modules_in([*names, *facts.modules_builtin.split()])
