"""A tree as an unpartitioned ext2, ext3 or ext4 image: `mke2fs -d`, no root, no loop device."""

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.errors import BuilderError
from builder.host import process
from builder.host.ext_size import RESERVED_PERCENT

ROOT_INODE = 2
_FIRST_INODE = 11  # lost+found; before it are the file system's own.
_NO_SPACE = re.compile(r"allocate (?:block|inode)|No free (?:space|inodes)|Not enough space|too big", re.IGNORECASE)


class Layout(Protocol):
    """What decides a file system besides the tree (stages/image/spec.py: ImageSpec)."""

    @property
    def filesystem(self) -> str: ...
    @property
    def features(self) -> str: ...
    @property
    def inode_size(self) -> int: ...
    @property
    def label(self) -> str: ...
    @property
    def uuid(self) -> str: ...
    @property
    def hash_seed(self) -> str: ...


class DoesNotFit(BuilderError):
    """The tree is larger than the file system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a file system lies in a file: all of it, or `size` bytes from `offset` on (both whole KiB)."""

    file: Path
    offset: int = 0
    size: int = 0

    @property
    def device(self) -> str:
        """As e2fsprogs' other programs take it (libext2fs, openfs.c: options of the I/O manager behind a `?`)."""
        return f"{self.file}?offset={self.offset}" if self.offset else str(self.file)


def mke2fs_command(layout: Layout, *, inodes: int, tree: Path | None, place: Place) -> list[str | Path]:
    """The command line; `E2FSPROGS_FAKE_TIME` and `MKE2FS_CONFIG` are the other half of what decides the bytes."""
    offset = f",offset={place.offset}" if place.offset else ""
    size = [f"{place.size // 1024}k"] if place.size else []
    filled: list[str | Path] = ["-d", tree] if tree else []
    return [
        "mke2fs", "-q", "-F", "-t", layout.filesystem, "-O", layout.features, "-b", "4096",
        "-I", str(layout.inode_size), "-N", str(inodes), "-m", str(RESERVED_PERCENT),
        "-L", layout.label, "-U", layout.uuid,
        "-E", f"hash_seed={layout.hash_seed},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard{offset}",
        *filled, place.file, *size,
    ]  # fmt: skip


def environment(configuration: Path, epoch: int | None) -> dict[str, str]:
    """For mke2fs and debugfs. e2fsprogs 1.47.0 ignores SOURCE_DATE_EPOCH; mke2fs -d sorts names by collation."""
    clock = {} if epoch is None else {"E2FSPROGS_FAKE_TIME": str(epoch)}
    return {**clock, "MKE2FS_CONFIG": str(configuration), "LC_ALL": "C"}


def make_file_system(
    layout: Layout, *, inodes: int, tree: Path | None, place: Place, environment: Mapping[str, str]
) -> None:
    """Fill the place, without a tree by an empty file system; its file has its size already. DoesNotFit, or
    BuilderError with what mke2fs said."""
    command = mke2fs_command(layout, inodes=inodes, tree=tree, place=place)
    done = process.run(command, env=environment, capture=True, check=False)
    if done.returncode == 0:
        return
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    kind = DoesNotFit if _NO_SPACE.search(said) else BuilderError
    raise kind("mke2fs could not make the file system", detail=said)


def root_script(*, mode: int, owner: tuple[int, int]) -> list[str]:
    """debugfs's lines for the root directory: mke2fs 1.47.0 gives it a mode of its own."""
    lines = [f"sif <{ROOT_INODE}> mode 0{stat.S_IFDIR | mode:o}"]
    return lines + [f"sif <{ROOT_INODE}> {name} {value}" for name, value in zip(("uid", "gid"), owner, strict=True)]


def times_script(*, epoch: int, inode_size: int, used_inodes: int) -> list[str]:
    """debugfs's lines for what mke2fs takes from the clock and from reading: change and access times of every inode in
    use. Inodes of 128 bytes have no room for the parts of a second.
    """
    fields = ("ctime", "atime")
    lines = []
    for inode in (ROOT_INODE, *range(_FIRST_INODE, used_inodes + 1)):
        lines += [f"sif <{inode}> {field} @{epoch}" for field in fields]
        if inode_size > 128:
            lines += [f"sif <{inode}> {field}_extra 0" for field in fields]
    return lines


def run_debugfs(place: Place, lines: list[str], environment: Mapping[str, str]) -> None:
    """One run for all: each that writes to ext4 adds to the superblock's count of kilobytes written."""
    script = "".join(f"{line}\n" for line in lines).encode()
    done = process.run(
        ["debugfs", "-w", "-f", "-", place.device], env=environment, stdin=script, capture=True, check=False
    )
    complaints = [
        line
        for line in done.stderr.decode(errors="replace").splitlines()
        if line.strip() and not line.startswith("debugfs 1.")
    ]
    if done.returncode != 0 or complaints:
        raise BuilderError("debugfs could not finish the image", detail="\n".join(complaints[:20]))


def counts(place: Place) -> dict[str, int]:
    """What the superblock says."""
    shown = process.run(["dumpe2fs", "-h", place.device], capture=True).stdout.decode()
    return {name: int(value) for name, value in re.findall(r"^([A-Z][a-z ]+): +(\d+)$", shown, re.MULTILINE)}


def used_inodes(counted: Mapping[str, int]) -> int:
    """mke2fs gives inodes out without gaps, so this is the last one in use as well."""
    return counted["Inode count"] - counted["Free inodes"]
