"""What `verify` knows of an image: read once, in one session, and then judged without it."""

import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from builder.formats import grub_cfg, menu_lst
from builder.formats.mbr import Partition
from builder.host import process
from builder.host.ext_image import Place
from builder.stages.verify.disk_facts import DiskFacts

LARGEST = 512 * 1024**2
"""No larger file of an image is read into memory, and of /etc none above a MiB."""
_LARGEST_IN_ETC = 1024**2
_LINKS = 40
_INIT = "/sbin/init"
_MENU_ENTRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One name of the image."""

    mode: int
    uid: int = 0
    gid: int = 0
    target: str = ""
    """Of a symbolic link."""
    data: bytes = field(default=b"", repr=False)
    """Of a regular file that was read; the first bytes only of /sbin/init."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the rules look at."""

    superblock: Mapping[str, str]
    """As tune2fs -l prints it."""
    complaints: str
    """What e2fsck says against the file system; "" if nothing."""
    files: Mapping[str, File]
    """All of /etc and what it refers to, by path; `find` follows links."""
    modules_builtin: str = ""
    disk: DiskFacts | None = None
    """None when the image is one file system, or PV-GRUB's disk."""
    partitions: tuple[Partition, ...] = ()
    """Of PV-GRUB's disk, the root first."""

    def find(self, path: str) -> File | None:
        """What the guest finds at `path`: a link is followed as far as it leads to files that were read."""
        for _ in range(_LINKS):
            found = self.files.get(path)
            if found is None or not stat.S_ISLNK(found.mode):
                return found
            path = _joined(path, found.target)
        return None

    def text(self, path: str) -> str | None:
        """The text of a file, None if there is none."""
        found = self.find(path)
        return None if found is None or not stat.S_ISREG(found.mode) else found.data.decode(errors="replace")


def check_filesystem(image: Path, offset: int = 0) -> str:
    """What e2fsck says against the file system at `offset` of an image, "" if nothing. Changes nothing."""
    device = Place(file=image, offset=offset).device
    done = process.run(["e2fsck", "-f", "-n", device], capture=True, check=False)
    said = done.stdout.decode(errors="replace").strip()[-2000:]
    return "" if done.returncode == 0 else said or f"e2fsck ended with {done.returncode}"


def read_facts(
    handle: Any,
    device: str,
    *,
    menu: str,
    complaints: str,
    scratch: Path,
    disk: DiskFacts | None = None,
    partitions: tuple[Partition, ...] = (),
) -> Facts:
    """Read a file system of a launched guestfs handle. Every call costs: /etc comes as one tar."""
    superblock = handle.tune2fs_l(device)
    handle.mount_ro(device, "/")
    try:
        files = _read_etc(handle, scratch / "etc.tar")
        reader = _Reader(handle, files, scratch / "file")
        for path in (menu, _INIT, "/var/lib/systemd/random-seed"):
            reader.read(path)
        for entry in _entries(files.get(menu), grub2=disk is not None)[:_MENU_ENTRIES]:
            reader.read(entry.kernel)
            reader.read(entry.initrd)
        for home in homes(files.get("/etc/passwd")):
            for path in (home, f"{home}/.ssh", f"{home}/.ssh/authorized_keys"):
                reader.read(path)
        for path in handle.glob_expand("/usr/lib/systemd/system/*.wants/*"):
            files[path] = File(mode=stat.S_IFLNK | 0o777, target="")
        builtin = [reader.download(path) for path in handle.glob_expand("/usr/lib/modules/*/modules.builtin")]
    finally:
        handle.umount("/")
    return Facts(
        superblock=superblock,
        complaints=complaints,
        files=files,
        modules_builtin=b"\n".join(builtin).decode(errors="replace"),
        disk=disk,
        partitions=partitions,
    )


def homes(passwd: File | None) -> tuple[str, ...]:
    """The home directories that a /etc/passwd names, each once, / left out."""
    lines = (passwd.data if passwd else b"").decode(errors="replace").splitlines()
    found = (parts[5].rstrip("/") for parts in (line.split(":") for line in lines) if len(parts) == 7)
    return tuple(dict.fromkeys(home for home in found if home.startswith("/")))


def _entries(menu: File | None, *, grub2: bool) -> Sequence[menu_lst.Entry | grub_cfg.Entry]:
    text = (menu.data if menu else b"").decode(errors="replace")
    with suppress(ValueError):
        return grub_cfg.parse_grub_cfg(text).entries if grub2 else menu_lst.parse_menu(text).entries
    return ()


def _joined(link: str, target: str) -> str:
    parts: list[str] = []
    for part in (PurePosixPath(link).parent / target).parts[1:]:
        if part == "..":
            del parts[-1:]
        else:
            parts.append(part)
    return "/" + "/".join(parts)


def _read_etc(handle: Any, packed: Path) -> dict[str, File]:
    """All of /etc, by path."""
    if not handle.is_dir("/etc"):
        return {}
    handle.tar_out("/etc", str(packed))
    try:
        with tarfile.open(packed) as archive:
            return dict(_members(archive))
    finally:
        packed.unlink()


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, File]]:
    for member in archive:
        kind = stat.S_IFDIR if member.isdir() else stat.S_IFLNK if member.issym() else stat.S_IFREG
        body = archive.extractfile(member) if member.isfile() and member.size <= _LARGEST_IN_ETC else None
        yield (
            f"/etc/{member.name.removeprefix('./')}".rstrip("/"),
            File(
                mode=kind | member.mode,
                uid=member.uid,
                gid=member.gid,
                target=member.linkname if member.issym() else "",
                data=body.read() if body else b"",
            ),
        )


class _Reader:
    """Reads single files of a mounted image into `files`. guestfs follows links inside the image only."""

    def __init__(self, handle: Any, files: dict[str, File], scratch: Path) -> None:
        self._handle = handle
        self._files = files
        self._scratch = scratch

    def read(self, path: str) -> None:
        """Add what is at `path`, the end of a link under this name; nothing there adds nothing."""
        if path in self._files or not path.startswith("/"):
            return
        with suppress(RuntimeError):
            status = self._handle.statns(path)
            mode, size = status["st_mode"], status["st_size"]
            data = b""
            if path == _INIT:
                data = self._handle.pread(path, 64, 0)
            elif stat.S_ISREG(mode) and size <= LARGEST:
                data = self.download(path)
            self._files[path] = File(mode=mode, uid=status["st_uid"], gid=status["st_gid"], data=data)

    def download(self, path: str) -> bytes:
        """All of a file: guestfs's read_file is limited to 4 MiB by its protocol."""
        self._handle.download(path, str(self._scratch))
        data = self._scratch.read_bytes()
        self._scratch.unlink()
        return data
