"""What an image must be like to boot and to be let loose: rules over facts, pure, each with an id. Those of its disk,
of its kernel's settings and of what it must not hold are in files of their own beside this one.

A rule yields what is wrong. An error stops the image from being registered; a warning is told.
"""

import itertools
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from builder.errors import BuilderError
from builder.formats import bzimage, grub_cfg, initrd, menu_lst
from builder.formats.fstab import parse_fstab
from builder.formats.toml import printable
from builder.host import zstd
from builder.stages.verify import disk_rules, hygiene, kernel_rules, mbr_rules
from builder.stages.verify.facts import Facts, homes
from builder.stages.verify.spec import VerifySpec

ELF_CLASSES = {"x86_64": 64, "i386": 32}
_SSH_UNITS = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket")
_NETWORK_UNITS = {
    "networkd": ("systemd-networkd.service",),
    "networkmanager": ("NetworkManager.service",),
    "ifcfg": ("network.service", "NetworkManager.service"),
}
_NETWORK_FILES = {
    "networkd": "/etc/systemd/network/10-ami-factory.network",
    "networkmanager": "/etc/NetworkManager/system-connections/ami-factory.nmconnection",
    "ifcfg": "/etc/sysconfig/network-scripts/ifcfg-eth0",
}
_HOST_KEY = re.compile(r"/etc/ssh/ssh_host_.*|/etc/dropbear/dropbear_.*_host_key")
_MOST = 1000
"""Findings of one rule: more make a report that nobody reads."""
_LONGEST = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong, where, why it matters, and what to do."""

    id: str
    path: str
    why: str
    remedy: str
    severity: str = "error"
    waived: str = ""
    """The recipe's reason to accept it; "" if it does not."""


Wrong = tuple[str, str, str]
"""Path, why, remedy."""
Rule = Callable[[VerifySpec, Facts], Iterator[Wrong]]


def rules_for(spec: VerifySpec) -> dict[str, Rule]:
    """The rules that an image is held against, by their ids."""
    return {**RULES, **(disk_rules.RULES if spec.disk else mbr_rules.RULES if spec.mbr else {})}


def warnings_for(spec: VerifySpec) -> dict[str, Rule]:
    """The rules whose findings stop nothing."""
    if spec.authorized_keys is not None:
        return WARNINGS
    return {**WARNINGS, "authorized-keys": hygiene.authorized_keys}


def judge(spec: VerifySpec, facts: Facts) -> tuple[Finding, ...]:
    """Everything that is wrong with an image, by rule, in the rules' order."""
    told = warnings_for(spec)
    errors = ((name, rule) for name, rule in rules_for(spec).items() if name not in told)
    return (
        *(found for name, rule in errors for found in _found(name, "error", rule(spec, facts))),
        *(found for name, rule in told.items() for found in _found(name, "warning", rule(spec, facts))),
    )


def _found(name: str, severity: str, wrong: Iterator[Wrong]) -> Iterator[Finding]:
    """What an image calls its files is not trusted to be fit for a terminal."""
    for path, why, remedy in itertools.islice(wrong, _MOST):
        yield Finding(
            id=name,
            path=printable(path, _LONGEST),
            why=printable(why, _LONGEST),
            remedy=printable(remedy, _LONGEST),
            severity=severity,
        )
    if next(wrong, None) is not None:
        remedy = "mend these first, then look again"
        yield Finding(id=name, path="/", why=f"there are more than {_MOST}", remedy=remedy, severity=severity)


def filesystem_type(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The file system is the one that was asked for."""
    is_like = filesystem_like(facts)
    if is_like != spec.filesystem:
        yield (
            "/",
            f"the file system is {is_like}, not {spec.filesystem}",
            "set image.filesystem and build the image again",
        )


def filesystem_features(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The loader reads no more than the kernel's file names."""
    there = _features(facts)
    for word in filter(None, spec.features.split(",")):
        name = _feature(word.removeprefix("^"))
        if word.startswith("^") and name in there:
            yield (
                "/",
                f"the file system has {name}, which the loader cannot read",
                "see [filesystem] in kernels/NAME.toml",
            )
        elif not word.startswith("^") and name not in there:
            yield "/", f"the file system lacks {name}", "see [filesystem] in kernels/NAME.toml"


def filesystem_clean(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """e2fsck finds nothing against the file system."""
    if facts.complaints:
        last = facts.complaints.splitlines()[-1]
        yield (
            "/",
            f"e2fsck finds fault with the file system: {last}",
            "build the image again; is the disk full or failing?",
        )


def fstab(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The file is the variant's, its root is the boot menu's, and nothing it names holds up a boot."""
    remedy = "let no script or file of the recipe write /etc/fstab: it follows the instance type"
    text = facts.text("/etc/fstab")
    if text is None:
        yield "/etc/fstab", "there is none", remedy
        return
    try:
        there = parse_fstab(text)
    except ValueError as error:
        yield "/etc/fstab", str(error), remedy
        return
    if there != parse_fstab(spec.fstab):
        yield "/etc/fstab", "it does not name the disks of this instance type", remedy
    roots = [line.device for line in there if line.mount_point == "/"]
    if roots != [spec.root_device]:
        yield "/etc/fstab", f"the root is {' and '.join(roots) or 'nothing'}, not {spec.root_device}", remedy
    for line in there:
        if line.mount_point != "/" and not line.optional:
            yield "/etc/fstab", f"{line.device} would hold up the boot when it is missing", "give it the option nofail"


def boot_menu(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The loader finds a menu whose chosen entry names the right root."""
    remedy = "let no script or file of the recipe write the boot menu"
    text = facts.text(spec.menu)
    if text is None:
        yield spec.menu, "there is no boot menu, and the loader looks nowhere else", remedy
        return
    try:
        chosen = menu_lst.parse_menu(text).chosen
    except ValueError as error:
        yield spec.menu, str(error), remedy
        return
    if chosen.root != spec.grub_root:
        yield spec.menu, f"it boots from {chosen.root}, and the image is {spec.grub_root}", remedy
    if f"root={spec.root_device}" not in chosen.arguments.split():
        yield spec.menu, f"the kernel is not told root={spec.root_device}", remedy
    if not chosen.initrd:
        yield spec.menu, "the chosen entry has no initrd", remedy


def kernel(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The loader can unpack the kernel, and it is one for this architecture."""
    entry = _chosen(spec, facts)
    if entry is None:
        return
    found = facts.find(entry.kernel)
    if found is None:
        yield entry.kernel, "the boot menu names a kernel that is not there", "does a script of the recipe remove it?"
        return
    try:
        file = bzimage.parse_kernel(found.data)
        if file.compression not in spec.payloads:
            yield (
                entry.kernel,
                f"its payload is {file.compression}, and the loader reads {', '.join(spec.payloads)}",
                "build the kernel step again: it repacks such a kernel",
            )
        elf = bzimage.unpack_kernel(file, zstd=zstd.unpack)
    except BuilderError as error:
        yield entry.kernel, error.brief, error.hint or "install the kernel package again"
        return
    if bzimage.elf_class(elf) != ELF_CLASSES[spec.architecture] and not spec.pv_note:
        yield entry.kernel, f"it is a kernel of {bzimage.elf_class(elf)} bits", f"install one for {spec.architecture}"
    if not bzimage.has_xen_pv_entry(elf) and not spec.pv_note:
        yield entry.kernel, "it cannot start as a paravirtual Xen guest", "take a kernel built with CONFIG_XEN_PV"


def initrd_modules(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The kernel finds its root disk: what it needs is in the initrd or built in."""
    entry = _chosen(spec, facts)
    if entry is None or not entry.initrd:
        return
    found = facts.find(entry.initrd)
    if found is None:
        yield entry.initrd, "the boot menu names an initrd that is not there", "does a script of the recipe remove it?"
        return
    try:
        names = [each.name for each in initrd.read_initrd(found.data, zstd=zstd.unpack)]
    except BuilderError as error:
        yield entry.initrd, error.brief, "build the kernel step again"
        return
    if "init" not in names:
        yield entry.initrd, "it holds no init", "build the kernel step again"
    present = initrd.modules_in([*names, *facts.modules_builtin.split()])
    for name in initrd.missing_modules(spec.modules, present):
        yield entry.initrd, f"neither it nor the kernel has {name}", "see modules in kernels/NAME.toml"


def init(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The first program is one that this architecture runs."""
    found = facts.find("/sbin/init")
    if found is None:
        yield "/sbin/init", "there is none", "add systemd-sysv (Debian's) or systemd to distribution.packages"
        return
    bits = bzimage.elf_class(found.data)
    if bits != ELF_CLASSES[spec.architecture]:
        what = f"a program of {bits} bits" if bits else "not an ELF program"
        yield "/sbin/init", f"it is {what}", f"install the distribution's packages for {spec.architecture}"


def ssh_enabled(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """An SSH server starts at boot."""
    if not any(_enabled(facts, unit) for unit in _SSH_UNITS):
        yield (
            "/etc/systemd/system",
            "no SSH server starts at boot",
            "leave ssh out of services.disable and services.mask",
        )


def network_enabled(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The network comes up at boot, with an address by DHCP."""
    units = _NETWORK_UNITS[spec.renderer]
    if not any(_enabled(facts, unit) for unit in units):
        yield "/etc/systemd/system", f"{' or '.join(units)} does not start at boot", "leave it out of services.disable"
    if facts.find(_NETWORK_FILES[spec.renderer]) is None:
        yield _NETWORK_FILES[spec.renderer], "nothing asks for an address by DHCP", "let no script remove it"


def launch_key(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """Somebody can log in."""
    if spec.metadata_key and not _enabled(facts, "ami-factory-ssh-key.service"):
        yield (
            "/etc/systemd/system/ami-factory-ssh-key.service",
            "nothing fetches the key at launch",
            "do not disable it",
        )
    built_in = facts.find("/root/.ssh/authorized_keys")
    if not spec.metadata_key and (built_in is None or not built_in.data.strip()):
        yield "/root/.ssh/authorized_keys", "nobody could log in", "set ssh.authorized_keys, or ssh.metadata_key = true"


def key_modes(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """sshd's StrictModes: keys that others could change are not looked at."""
    for home in homes(facts.files.get("/etc/passwd")):
        if facts.find(f"{home}/.ssh/authorized_keys") is None:
            continue
        for path in (home, f"{home}/.ssh", f"{home}/.ssh/authorized_keys"):
            found = facts.find(path)
            if found is not None and found.mode & 0o022:
                mode = f"{stat.S_IMODE(found.mode):04o}"
                yield path, f"its mode is {mode}: sshd ignores keys that others can write", f"chmod go-w {path}"


def host_keys(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """No two instances have the same host key."""
    for path in sorted(facts.files):
        if _HOST_KEY.fullmatch(path):
            yield path, "all instances would have this host key", "remove it in the script that made it"


def identity(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """No two instances have the same machine id, or begin with the same random seed."""
    machine_id = (facts.text("/etc/machine-id") or "").strip()
    if machine_id not in ("", "uninitialized"):
        yield "/etc/machine-id", "all instances would have this id", "empty it in the script that made it"
    if facts.find("/var/lib/systemd/random-seed") is not None:
        yield "/var/lib/systemd/random-seed", "all instances would start with this seed", "remove it"


def root_password(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """Neither an empty password nor one that is the same everywhere."""
    for path in ("/etc/shadow", "/etc/passwd"):
        found = re.search(r"^root:([^:\n]*)", facts.text(path) or "", re.MULTILINE)
        if found is None or found[1] == "x":
            continue
        if not found[1]:
            yield path, "root logs in on the console without a password", "passwd --lock root"
        elif not found[1].startswith(("!", "*")):
            yield path, "root has a password, the same in all instances", "passwd --lock root"
        return


def paravirtual(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """The kernel can start as a paravirtual guest."""
    if spec.pv_note:
        entry = _chosen(spec, facts)
        yield (
            entry.kernel if entry else "/boot",
            spec.pv_note,
            "use it with a loader that boots it, or bring another kernel",
        )


RULES: dict[str, Rule] = {
    "filesystem-type": filesystem_type,
    "filesystem-features": filesystem_features,
    "filesystem-clean": filesystem_clean,
    "fstab": fstab,
    "boot-menu": boot_menu,
    "kernel": kernel,
    "initrd": initrd_modules,
    "init": init,
    "ssh-enabled": ssh_enabled,
    "network-enabled": network_enabled,
    "launch-key": launch_key,
    "key-modes": key_modes,
    "host-keys": host_keys,
    "identity": identity,
    "root-password": root_password,
    **kernel_rules.RULES,
    **hygiene.RULES,
}
WARNINGS: dict[str, Rule] = {"paravirtual": paravirtual, **kernel_rules.WARNINGS, **hygiene.WARNINGS}


def filesystem_like(facts: Facts) -> str:
    """ext3 has a journal and no extents; ext4 has both."""
    there = _features(facts)
    return "ext4" if "extent" in there else "ext3" if "has_journal" in there else "ext2"


def _features(facts: Facts) -> set[str]:
    return {_feature(word) for word in facts.superblock.get("Filesystem features", "").split()}


def _feature(word: str) -> str:
    """mke2fs takes "extents" for what tune2fs calls "extent"."""
    return {"extents": "extent"}.get(word, word)


def _chosen(spec: VerifySpec, facts: Facts) -> menu_lst.Entry | grub_cfg.Entry | None:
    text = facts.text(spec.menu) or ""
    try:
        return grub_cfg.parse_grub_cfg(text).chosen if spec.disk else menu_lst.parse_menu(text).chosen
    except ValueError:
        return None


def _enabled(facts: Facts, unit: str) -> bool:
    """Wanted by a target (or by SysV's links), and not masked."""
    own = facts.files.get(f"/etc/systemd/system/{unit}")
    if own is not None and own.target == "/dev/null":
        return False
    wanted = re.compile(rf"/systemd/system/[^/]+\.(wants|requires)/{re.escape(unit)}$")
    script = re.compile(rf"^/etc/(rc\.d/)?rc[2-5]\.d/S\d\d{re.escape(unit.removesuffix('.service'))}$")
    return any(wanted.search(path) or script.search(path) for path in facts.files)
