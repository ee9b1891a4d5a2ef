"""Single files of an ext image that is not partitioned, read by debugfs: no mount, no right, no waiting."""

from pathlib import Path

from builder.errors import BuilderError
from builder.host import process


def read(image: Path, path: str, scratch: Path) -> bytes | None:
    """What a file holds; None when there is none. Links are followed within the image."""
    if not path.startswith("/") or any(each in path for each in ' "\\\n\t'):
        return None
    target = scratch / "debugfs.out"
    target.unlink(missing_ok=True)
    # debugfs has no quoting that would hold for any path: it runs where the output is, under a plain name.
    process.run(
        ["debugfs", "-R", f"dump {path} {target.name}", image.absolute()], cwd=scratch, capture=True, check=False
    )
    try:
        return target.read_bytes()
    except FileNotFoundError:
        return None
    finally:
        target.unlink(missing_ok=True)


def require(image: Path, path: str, scratch: Path) -> bytes:
    found = read(image, path, scratch)
    if found is None:
        raise BuilderError(f"{image} has no {path}", hint="is it an ext3 or ext4 file system without partitions?")
    return found
