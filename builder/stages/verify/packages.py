"""What an image's package database says of some of its files: rpm's, or dpkg's lists. Nothing of the image is run."""

import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.host import process
from builder.stages.verify.tree import Tree

RPM = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
DPKG = "/var/lib/dpkg/info"
LARGEST = 1024**3
"""Bytes; no database of packages is larger."""
_RPM_FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
_QUERY = r"[%{FILEMODES:octal} %{FILEDIGESTS} %{FILECAPS} %{FILENAMES}\n]"
_ROW = re.compile(rb"(\d+) ([0-9a-f]*|\(none\)) (.*?) ?(/[^\n]*)")
_UNWANTED = ("*.postinst", "*.preinst", "*.postrm", "*.prerm", "*.templates", "*.shlibs", "*.symbols", "*.triggers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A file as its package has it."""

    mode: int | None = None
    """None: dpkg does not keep it."""
    digest: str = ""
    """In hex, MD5 or SHA-256 by its length; "" when the database has none."""
    capability: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """Whose files are whose."""

    kind: str = ""
    """rpm or dpkg; "" when the image has no database that can be read."""
    owned: Mapping[str, Owned] = field(default_factory=dict)
    """Of the files that were asked about, those that a package has."""


def read_packages(handle: Any, tree: Tree, paths: Iterable[str], scratch: Path) -> Packages:
    """Ask the database of a mounted image about files."""
    asked = frozenset(paths)
    for directory in RPM:
        for name in _RPM_FILES:
            found = tree.entries.get(tree.resolve(f"{directory}/{name}"))
            if found is not None and found.regular and 0 < found.size <= LARGEST:
                return _of_rpm(handle, f"{directory}/{name}", tree, asked, scratch)
    lists = dict(tree.below(DPKG))
    if any(path.endswith(".list") for path in lists) and sum(each.size for each in lists.values()) <= LARGEST:
        return _of_dpkg(handle, tree, asked, scratch)
    return Packages()


def parse_rpm(listed: bytes, asked: frozenset[str], real: Callable[[str], str]) -> dict[str, Owned]:
    """What `rpm -qa --qf _QUERY` says of the files that were asked about; `real` follows links of the image."""
    owned = {}
    for line in listed.splitlines():
        row = _ROW.fullmatch(line)
        path = real(row[4].decode(errors="replace")) if row else ""
        if row and path in asked:
            digest = row[2].decode()
            capability = row[3] not in (b"", b"(none)")
            owned[path] = Owned(mode=int(row[1], 8), digest="" if digest == "(none)" else digest, capability=capability)
    return owned


def parse_dpkg(
    lists: Iterable[bytes], sums: Iterable[bytes], asked: frozenset[str], real: Callable[[str], str]
) -> dict[str, Owned]:
    """What dpkg's *.list and *.md5sums say of the files that were asked about (dpkg-query(1))."""
    digests = {}
    for line in _lines(sums):
        digest, _, name = line.partition("  ")
        digests[real(f"/{name}")] = digest
    named = (real(line) for line in _lines(lists) if line.startswith("/"))
    return {path: Owned(digest=digests.get(path, "")) for path in named if path in asked}


def _lines(texts: Iterable[bytes]) -> Iterator[str]:
    return (line for each in texts for line in each.decode(errors="replace").splitlines())


def _real(tree: Tree) -> Callable[[str], str]:
    """Packages name files as they were before /usr was merged. Directories are few, so each is followed once."""
    known: dict[str, str] = {}

    def real(path: str) -> str:
        directory, _, name = path.rpartition("/")
        if directory not in known:
            known[directory] = tree.resolve(directory) if directory else ""
        return f"{known[directory]}/{name}"

    return real


def _of_rpm(handle: Any, database: str, tree: Tree, asked: frozenset[str], scratch: Path) -> Packages:
    place = scratch / "rpmdb"
    place.mkdir()
    copy = place / Path(database).name
    handle.download(database, str(copy))
    command: list[str | Path] = ["rpm", "--dbpath", place, "--noplugins", "-qa", "--qf", _QUERY]
    if copy.name != "rpmdb.sqlite":
        command[1:1] = ["--define", f"_db_backend {'ndb' if copy.suffix else 'bdb_ro'}"]
    done = process.run(command, capture=True, check=False, env={"HOME": str(scratch)})
    if done.returncode or not done.stdout.strip():
        return Packages()
    return Packages(kind="rpm", owned=parse_rpm(done.stdout, asked, _real(tree)))


def _of_dpkg(handle: Any, tree: Tree, asked: frozenset[str], scratch: Path) -> Packages:
    packed = scratch / "dpkg.tar"
    handle.tar_out(DPKG, str(packed), excludes=list(_UNWANTED))
    lists: list[bytes] = []
    sums: list[bytes] = []
    with tarfile.open(packed) as archive, suppress(tarfile.TarError):
        for member in archive:
            wanted = lists if member.name.endswith(".list") else sums if member.name.endswith(".md5sums") else None
            body = archive.extractfile(member) if wanted is not None and member.isfile() else None
            if wanted is not None and body is not None:
                wanted.append(body.read())
    packed.unlink()
    return Packages(kind="dpkg", owned=parse_dpkg(lists, sums, asked, _real(tree)))
