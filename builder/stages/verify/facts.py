"""What `verify` knows of an image: read once, in one session, and then judged without it."""

import hashlib
import re
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.formats import grub_cfg, menu_lst
from builder.formats.mbr import Partition
from builder.host import process
from builder.host.ext_image import Place
from builder.stages.verify.disk_facts import DiskFacts
from builder.stages.verify.packages import Packages, read_packages
from builder.stages.verify.secret_places import Located
from builder.stages.verify.tree import LINKS, Tree, joined, read_tree

LARGEST = 512 * 1024**2
"""No larger file of an image is read into memory, and of /etc none above a MiB."""
_LARGEST_IN_ETC = 1024**2
_INIT = "/sbin/init"
_MENU_ENTRIES = 4
_MOST = 200
"""Files of authorised keys, and of secrets, that are read."""
_LARGEST_SECRET = 64 * 1024**2
_KEY_FILES = ("authorized_keys", "authorized_keys2")
_UNITS = re.compile(r"(?:/usr)?/lib/systemd/system/[^/]+\.wants/[^/]+")
_BUILTIN = re.compile(r"(?:/usr)?/lib/modules/[^/]+/modules\.builtin")
_CONFIG = re.compile(r"/boot/config-[^/]+|(?:/usr)?/lib/modules/[^/]+/config")


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
class Secret:
    """A private key, or an AWS key, in the image."""

    kind: str
    path: str
    """The file; "" when no file has it any more."""
    offset: int
    """Bytes from the start of the image."""


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
    tree: Tree = field(default_factory=Tree)
    packages: Packages = field(default_factory=Packages)
    secrets: tuple[Secret, ...] = ()
    """Those that a package did not bring just so: what everybody can have from a mirror is none."""

    def find(self, path: str) -> File | None:
        """What the guest finds at `path`: a link is followed as far as it leads to files that were read."""
        for _ in range(LINKS):
            found = self.files.get(path)
            if found is None or not stat.S_ISLNK(found.mode):
                return found
            path = joined(path, found.target)
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
    located: Sequence[Located] = (),
) -> Facts:
    """Read a file system of a launched guestfs handle. Every call costs: /etc comes as one tar."""
    superblock = handle.tune2fs_l(device)
    handle.mount_ro(device, "/")
    try:
        tree = read_tree(handle, scratch)
        files = _read_etc(handle, tree, scratch / "etc.tar")
        reader = _Reader(handle, files, scratch / "file")
        for path in (menu, _INIT, "/var/lib/systemd/random-seed"):
            reader.read(path)
        for entry in _entries(files.get(menu), grub2=disk is not None)[:_MENU_ENTRIES]:
            reader.read(entry.kernel)
            reader.read(entry.initrd)
        for path in _of_people(tree, homes(files.get("/etc/passwd"))):
            reader.read(path)
        for path in filter(_UNITS.fullmatch, tree.entries):
            files[path] = File(mode=stat.S_IFLNK | 0o777, target=tree.links.get(path, ""))
        for path in _small(tree, _CONFIG):
            reader.read(path)
        builtin = [reader.download(path) for path in _small(tree, _BUILTIN)]
        secrets = _secrets(tree, located)
        asked = [path for path, each in tree.files() if each.privileged]
        packages = read_packages(handle, tree, [*asked, *(each.path for each in secrets)], scratch)
        secrets = [each for each in secrets if _is_one(each, reader, tree, packages)]
    finally:
        handle.umount("/")
    return Facts(
        superblock=superblock,
        complaints=complaints,
        files=files,
        modules_builtin=b"\n".join(builtin).decode(errors="replace"),
        disk=disk,
        partitions=partitions,
        tree=tree,
        packages=packages,
        secrets=tuple(secrets),
    )


def _small(tree: Tree, wanted: re.Pattern[str]) -> list[str]:
    """Files by their paths, a few of them."""
    found = (path for path, each in tree.files() if wanted.fullmatch(path) and each.size <= _LARGEST_IN_ETC)
    return list(found)[:_MENU_ENTRIES]


def _of_people(tree: Tree, homes: Sequence[str]) -> Iterator[str]:
    """Home directories and files of authorised keys: those of /etc/passwd, and whatever is called so."""
    told = set()
    for home in homes:
        for path in (home, f"{home}/.ssh", *(f"{home}/.ssh/{name}" for name in _KEY_FILES)):
            real = tree.resolve(path)
            if real in tree.entries:
                told.add(real)
                yield path
    named = (path for path, each in tree.files() if path.rpartition("/")[2] in _KEY_FILES)
    yield from [path for path in named if path not in told][:_MOST]


def _secrets(tree: Tree, located: Sequence[Located]) -> list[Secret]:
    """Secrets by the files that have them, each kind once for a file."""
    paths = {each.inode: path for path, each in list(tree.entries.items())[::-1]}
    found: dict[tuple[str, str], Secret] = {}
    for each in located:
        path = paths.get(each.inode or 0, "") if each.known else "/"
        secret = Secret(kind=each.hit.kind, path=path, offset=each.hit.offset)
        found.setdefault((each.hit.kind, path), secret)
    return list(found.values())[:_MOST]


def _is_one(secret: Secret, reader: "_Reader", tree: Tree, packages: Packages) -> bool:
    """Whether a file is not just as its package has it."""
    entry, owned = tree.entries.get(secret.path), packages.owned.get(secret.path)
    if entry is None or owned is None or not owned.digest or entry.size > _LARGEST_SECRET:
        return True
    kind = "md5" if len(owned.digest) == 32 else "sha256"
    return hashlib.new(kind, reader.download(secret.path), usedforsecurity=False).hexdigest() != owned.digest


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


def _read_etc(handle: Any, tree: Tree, packed: Path) -> dict[str, File]:
    """All of /etc, by path, but for files that are too large to be what they are called."""
    if not handle.is_dir("/etc"):
        return {}
    large = [path for path, each in tree.below("/etc") if each.size > _LARGEST_IN_ETC]
    handle.tar_out("/etc", str(packed), excludes=[_pattern(path) for path in large])
    try:
        with tarfile.open(packed) as archive:
            return dict(_members(archive))
    finally:
        packed.unlink()


def _pattern(path: str) -> str:
    """For tar's list of names to leave out: a line of it each, in which a newline can only be any character."""
    return "." + re.sub(r"([\\*?\[\]])", r"\\\1", path.removeprefix("/etc")).replace("\n", "?")


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, File]]:
    for member in archive:
        kind = stat.S_IFDIR if member.isdir() else stat.S_IFLNK if member.issym() else stat.S_IFREG
        body = None
        if (member.isfile() or member.islnk()) and member.size <= _LARGEST_IN_ETC:
            with suppress(KeyError):  # a hard link to what was left out
                body = archive.extractfile(member)
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
