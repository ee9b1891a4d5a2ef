"""An OCI image, as a layout in a directory or as an archive of one, into a tree."""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError
from builder.formats import oci
from builder.formats.file_tree import FileTree, TreeError, parts
from builder.formats.layer_tar import CHUNK
from builder.stages.base import tars
from builder.stages.base.tars import LeftOut, Member

_DEPTH = 4  # of indexes that lead to indexes


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """An image's blobs, by name; every one is held against its digest before it is used."""

    what: str
    get: Callable[[str], Path | None]
    """The path of a file of the layout; None if there is none."""

    def document(self, blob: oci.Blob) -> bytes:
        if blob.size > oci.LARGEST_DOCUMENT:
            raise oci.OciError(f"a document of {blob.size} bytes")
        return self.checked(blob).read_bytes()

    def plain(self, name: str) -> bytes:
        """A file that is no blob."""
        path = self.get(name)
        if path is None:
            raise oci.OciError(f"it has no {name}")
        if path.stat().st_size > oci.LARGEST_DOCUMENT:
            raise oci.OciError(f"{name} has {path.stat().st_size} bytes")
        return path.read_bytes()

    def checked(self, blob: oci.Blob) -> Path:
        path = self.get(blob.path)
        if path is None:
            raise oci.OciError(f"{blob.path} is not there")
        size = path.stat().st_size
        if size != blob.size:
            raise oci.OciError(f"{blob.path} has {size} bytes, and its descriptor says {blob.size}")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != blob.sha256:
            raise oci.OciError(f"{blob.path} is not what its name says: its SHA-256 is {found}")
        return path


def is_layout(directory: Path) -> bool:
    return (directory / "oci-layout").is_file() and (directory / "index.json").is_file()


def is_archive(path: Path) -> bool:
    """Whether a tar has a layout in it; of a file that is no tar, no."""
    with suppress(tarfile.TarError, OSError, ValueError), tarfile.open(path, mode="r:") as tar:
        for number, member in enumerate(tar):
            if member.name.removeprefix("./") == "oci-layout":
                return True
            if number >= 2000:
                break
    return False


def opened(path: Path, scratch: Path) -> Layout:
    """A layout, or an archive of one, whose files are taken out of it first."""
    if path.is_dir():
        return Layout(what=str(path), get=lambda name: _regular(path / name))
    place = scratch / "oci"
    place.mkdir()
    with tars.refusing(str(path)):
        names = _taken_out(path, place)
    return Layout(what=str(path), get=lambda name: names.get(name))


def manifest_digest(layout: Layout, architecture: str) -> str:
    """Of the one image for an architecture: it pins all that is in it."""
    with _saying(layout):
        return _manifest(layout, architecture).sha256


def read_oci(layout: Layout, architecture: str, pin: str, tree: FileTree, left_out: LeftOut, *, scratch: Path) -> None:
    """Lay the layers of an image over one another."""
    with _saying(layout):
        manifest = _manifest(layout, architecture)
        if manifest.sha256 != pin:
            raise oci.OciError(f"its manifest is sha256:{manifest.sha256} now, and the lock says sha256:{pin}")
        for blob in oci.layers(oci.document(layout.document(manifest), "the manifest")):
            with tars.refusing(f"{layout.what}: layer {blob.sha256[:12]}"):
                _lay_over(tree, layout.checked(blob), left_out, scratch)


def _manifest(layout: Layout, architecture: str) -> oci.Blob:
    oci.check_layout(layout.plain("oci-layout"))
    found = oci.choose(oci.document(layout.plain("index.json"), "index.json"), architecture)
    for _ in range(_DEPTH):
        if not found.index:
            return found
        found = oci.choose(oci.document(layout.document(found), "an index"), architecture)
    raise oci.OciError("indexes lead to indexes without an end")


def _lay_over(tree: FileTree, packed: Path, left_out: LeftOut, scratch: Path) -> None:
    """A layer over a tree. What it hides is of the layers below, wherever in it that is said (layer.md)."""
    added: list[Member] = []
    for member in tars.members(tars.plain(packed, scratch), left_out):
        try:
            hidden = oci.whiteout(member.path)
        except oci.OciError as error:
            raise TreeError(str(error)) from None
        if hidden is None:
            added.append(member)
            continue
        path, opaque = hidden
        parts(path)
        if opaque:
            directory = tree.find(path)
            if directory is not None:
                directory.children.clear()
        else:
            tree.remove(path)
    for member in added:
        tars.add(tree, member)


def _taken_out(path: Path, place: Path) -> dict[str, Path]:
    """The regular files of an archive, as numbered files: their names decide no path here."""
    names: dict[str, Path] = {}
    for number, member in enumerate(tars.members(tars.plain(path, place), LeftOut())):
        name = "/".join(each.decode(errors="replace") for each in parts(member.path))
        if member.node is None or member.node.copy is None or not (name.startswith("blobs/") or "/" not in name):
            continue
        target = place / f"{number}"
        with target.open("wb", buffering=CHUNK) as file:
            member.node.copy(file)
        names[name] = target
    return names


def _regular(path: Path) -> Path | None:
    """No link: it could lead to any file of this machine."""
    return path if path.is_file() and not path.is_symlink() else None


@contextmanager
def _saying(layout: Layout) -> Iterator[None]:
    """Whatever is wrong with an image, as one error that names it."""
    try:
        yield
    except oci.OciError as error:
        raise BuilderError(
            f"{layout.what}: {error}", hint="copy the image anew, for one architecture, as an OCI layout"
        ) from None
