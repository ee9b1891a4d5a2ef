"""The Xen host, prepared: hypervisor, dom0's kernel and its initramfs, made once and kept under a key.

Layout of `cache`: `apt/` and `debs/` are shared with the repository stage; `machine/DEFINITION.json` pins the packages
that were chosen when this definition was first prepared; `machine/KEY/` holds the files. All of it can be deleted at
any time.
"""

import fcntl
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from builder.canonical import digest_of, to_plain
from builder.host import apt
from builder.machine import debs, dom0, kept

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A directory with `xen`, `vmlinuz` and `dom0.cpio`."""

    key: str
    path: Path

    @property
    def xen(self) -> Path:
        return self.path / "xen"

    @property
    def kernel(self) -> Path:
        return self.path / "vmlinuz"

    @property
    def initramfs(self) -> Path:
        return self.path / "dom0.cpio"


def prepare(cache: Path, *, progress: apt.Progress, note: apt.Note) -> Prepared:
    """The host's files, made if they are not there. Safe for several processes at once; nothing half-made is seen.

    The first time it asks the archive and fetches some 90 MB; after that nothing is asked. HostError without a network
    the first time.
    """
    place = cache / "machine"
    place.mkdir(parents=True, exist_ok=True)
    defined = definition()
    found = _kept(place, _pinned(place, defined))
    if found is not None:
        return found
    with _held(place / "lock"):
        pinned = _pinned(place, defined)
        if pinned is None:
            pinned = debs.choose(cache / "apt", note)
            _write(place / f"{defined}.json", json.dumps(to_plain(pinned), indent=1).encode())
        return _kept(place, pinned) or _make(cache, pinned, progress)


def definition() -> str:
    """Digest of what is ours in it: scripts, lists, and the code that puts them together."""
    own = {name: hashlib.sha256(content).hexdigest() for name, content in dom0.definition()}
    return digest_of({"format": FORMAT, "files": own, "roots": debs.ROOTS})[:32]


def _pinned(place: Path, defined: str) -> tuple[apt.Deb, ...] | None:
    try:
        listed = json.loads((place / f"{defined}.json").read_text())
        return tuple(apt.Deb(**each) for each in listed)
    except (OSError, ValueError, TypeError):
        return None


def _kept(place: Path, pinned: tuple[apt.Deb, ...] | None) -> Prepared | None:
    if pinned is None:
        return None
    key = digest_of([definition(), debs.digest(pinned)])[:32]
    path = place / key
    return Prepared(key=key, path=path) if kept.found(path) else None


def _make(cache: Path, pinned: tuple[apt.Deb, ...], progress: apt.Progress) -> Prepared:
    place = cache / "machine"
    for left in place.glob(".making-*"):  # of one that was killed: the lock is held
        shutil.rmtree(left)
    archives = debs.fetch(pinned, state=cache / "apt", cache=cache / "debs", progress=progress)
    scratch = Path(mkdtemp(prefix=".making-", dir=place))
    try:
        tree, made = scratch / "tree", scratch / "made"
        made.mkdir()
        debs.unpack(archives, tree)
        # QEMU's multiboot loader wants the hypervisor unpacked.
        (made / "xen").write_bytes(gzip.decompress(debs.find(tree, "boot/xen-*-amd64.gz").read_bytes()))
        shutil.copyfile(debs.find(tree, "boot/vmlinuz-*"), made / "vmlinuz")
        (made / "dom0.cpio").write_bytes(dom0.initramfs(tree, dom0.loaders(tree, scratch)))
        key = digest_of([definition(), debs.digest(pinned)])[:32]
        made.rename(place / key)
        kept.prune(place)
        return Prepared(key=key, path=place / key)
    finally:
        shutil.rmtree(scratch)


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.rename(path)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
