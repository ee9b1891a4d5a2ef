"""Single files of an image of ext, alone or as its first partition, read by debugfs: no mount, no right, no waiting."""

from pathlib import Path

from builder.errors import BuilderError
from builder.formats import mbr
from builder.host import process
from builder.host.ext_image import Place


def read(image: Path, path: str, scratch: Path) -> bytes | None:
    """What a file holds; None when there is none. Links are followed within the image."""
    if not path.startswith("/") or any(each in path for each in ' "\\\n\t'):
        return None
    target = scratch / "debugfs.out"
    target.unlink(missing_ok=True)
    # debugfs has no quoting that would hold for any path: it runs where the output is, under a plain name.
    process.run(
        ["debugfs", "-R", f"dump {path} {target.name}", place_of_root(image).device],
        cwd=scratch,
        capture=True,
        check=False,
    )
    try:
        return target.read_bytes()
    except FileNotFoundError:
        return None
    finally:
        target.unlink(missing_ok=True)


def place_of_root(image: Path) -> Place:
    """The file system that a paravirtual guest boots from: the whole image, or its first partition."""
    with image.open("rb") as file:
        start = file.read(mbr.SECTOR)
    try:
        root = mbr.parse_mbr(start, image.stat().st_size // mbr.SECTOR)[0]
    except ValueError:
        return Place(file=image.absolute())
    return Place(file=image.absolute(), offset=root.offset, size=root.size)


def require(image: Path, path: str, scratch: Path) -> bytes:
    found = read(image, path, scratch)
    if found is None:
        raise BuilderError(f"{image} has no {path}", hint="is it an ext3 or ext4 file system without partitions?")
    return found
