"""What a tree says of itself: which system it is, for which processors, what is installed, and by whom."""

import re
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError
from builder.formats.file_tree import FileTree, Node
from builder.formats.layer_tar import Kind
from builder.host import process
from builder.host.sandbox import Bind, confined_command

_OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
_SHELLS = ("usr/bin/sh", "bin/sh", "usr/bin/bash", "bin/bash", "usr/bin/busybox", "bin/busybox")
_DPKG = "var/lib/dpkg/status"
_RPM = ("usr/lib/sysimage/rpm", "var/lib/rpm")
_RPM_FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
_LARGEST = 512 * 1024**2  # of a package database
_MANAGERS = (("apt", "usr/bin/apt-get"), ("dnf", "usr/bin/dnf"), ("dnf", "usr/bin/dnf5"), ("yum", "usr/bin/yum"))
# ELF: class and machine (System V ABI; i386 and x86-64 supplements).
_MACHINES = {(2, 62): "x86_64", (1, 3): "i386"}
_LINE = re.compile(r"""([A-Z_]+)=(?:"([^"]*)"|'([^']*)'|(\S*))""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    os: str
    """ID of os-release, such as debian."""
    release: str
    """VERSION_ID of os-release; "" where there is none."""
    name: str
    """PRETTY_NAME of os-release."""
    architecture: str
    """x86_64, i386, or "" for another."""
    manager: str
    """apt, dnf or yum: what installs packages in it; "" for none of these."""
    installed: tuple[tuple[str, str], ...]
    """(name, version) of every package, by name."""
    source_epoch: int
    """When the newest file of it was changed, in seconds since 1970."""


def read_facts(tree: FileTree, what: str, scratch: Path) -> Facts:
    """BuilderError for a tree that is no Linux system."""
    said = next((text for path in _OS_RELEASE if (text := tree.read(path, 65536)) is not None), None)
    if said is None:
        raise BuilderError(
            f"{what}: no operating system in it: it has no {' and no '.join(f'/{path}' for path in _OS_RELEASE)}",
            hint="give the root tree of a Linux system",
        )
    words = {
        found[1]: found[2] or found[3] or found[4] or ""
        for line in said.decode(errors="replace").splitlines()
        if (found := _LINE.fullmatch(line.strip()))
    }
    installed = _dpkg(tree) or _rpm(tree, scratch)
    return Facts(
        os=_word(words.get("ID", "linux")),
        release=_word(words.get("VERSION_ID", "")),
        name="".join(c for c in words.get("PRETTY_NAME", "") if c.isprintable())[:100],
        architecture=_architecture(tree),
        manager=next((name for name, path in _MANAGERS if tree.follow(path.encode()) is not None), ""),
        installed=tuple(sorted(set(installed))),
        source_epoch=tree.newest(),
    )


def _architecture(tree: FileTree) -> str:
    for path in _SHELLS:
        start = tree.read(path, 20) or b""
        if start[:4] == b"\x7fELF" and len(start) == 20:
            return _MACHINES.get((start[4], int.from_bytes(start[18:20], "little")), "")
    return ""


def _dpkg(tree: FileTree) -> list[tuple[str, str]]:
    """dpkg's own list is text: deb822, a paragraph a package."""
    text = (tree.read(_DPKG, _LARGEST) or b"").decode(errors="replace")
    found = []
    for paragraph in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith(" ")
        )
        if fields.get("Status", "").endswith(" installed"):
            found.append((_word(fields.get("Package", "")), _word(fields.get("Version", ""))))
    return [pair for pair in found if all(pair)]


def _rpm(tree: FileTree, scratch: Path) -> list[tuple[str, str]]:
    """rpm's database is read by this machine's rpm, from a copy, where it sees nothing else."""
    for place in _RPM:
        directory = tree.follow(place.encode())
        names = [name for name in _RPM_FILES if directory is not None and _is_file(directory, name)]
        if not names:
            continue
        copy = scratch / "rpmdb"
        copy.mkdir(exist_ok=True)
        for name in (*names, *(f"{each}-wal" for each in names)):
            data = tree.read(f"{place}/{name}", _LARGEST)
            if data is not None:
                (copy / name).write_bytes(data)
        return _ask_rpm(copy)
    return []


def _ask_rpm(copy: Path) -> list[tuple[str, str]]:
    query = ["rpm", "--dbpath", "/factory/rpmdb", "-qa", "--qf", "%{NAME} %{EVR}\\n"]
    binds = [Bind(source=copy, destination="/factory/rpmdb", writable=True)]
    done = process.run(confined_command(query, binds=binds), capture=True, check=False)
    pairs = [line.split(" ", 1) for line in done.stdout.decode(errors="replace").splitlines() if " " in line]
    return [(_word(name), _word(version)) for name, version in pairs if name != "gpg-pubkey"]


def _is_file(directory: Node, name: str) -> bool:
    found = directory.children.get(name.encode())
    return found is not None and found.kind is Kind.FILE


def _word(text: str) -> str:
    """Without what no name, version or id has; these become texts of the lock."""
    return "".join(c for c in text if c.isascii() and (c.isalnum() or c in "+-.:_~^"))[:128]
