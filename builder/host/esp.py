"""An EFI system partition inside a disk's file: mtools writes it in place, so there is no mount and no root.

Equal bytes each time: the volume's serial number is given, and mtools takes every time from SOURCE_DATE_EPOCH
(mtools 4.0.32).
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from builder.host import process

_SECTOR = 512
_SMALLEST = 33 * 1024**2  # FAT32 has 65525 clusters or more, here of one sector each, beside its tables.


def format_command(image: Path, *, offset: int, size: int, serial: str, label: str) -> list[str | Path]:
    """FAT32 with a cluster a sector. 255 heads of 63 sectors is what every BIOS and firmware assumes."""
    return [
        "mformat", "-i", _drive(image, offset), "-F", "-T", str(size // _SECTOR), "-H", str(offset // _SECTOR),
        "-h", "255", "-s", "63", "-c", "1", "-N", serial, "-v", label, "::",
    ]  # fmt: skip


def make_esp(
    image: Path, files: Mapping[str, Path], *, offset: int, size: int, serial: str, label: str, epoch: int
) -> None:
    """Format `size` bytes of the image at `offset`, and copy files to their places, given without a leading slash.

    `serial`: eight hex digits, which Linux shows as the UUID XXXX-XXXX.
    """
    if size < _SMALLEST:
        raise ValueError(f"{size} bytes are too few for FAT32")
    process.require("mformat", "mtools")
    environment = {"SOURCE_DATE_EPOCH": str(epoch), "MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1"}
    drive = _drive(image, offset)

    def run(command: list[str | Path]) -> None:
        process.run(command, env=environment, cwd=image.parent, capture=True)

    run(format_command(image, offset=offset, size=size, serial=serial, label=label))
    directories = {str(parent) for place in files for parent in PurePosixPath(place).parents if parent.name}
    for directory in sorted(directories):
        run(["mmd", "-i", drive, f"::{directory}"])
    for place in sorted(files):
        run(["mcopy", "-i", drive, files[place], f"::{place}"])


def _drive(image: Path, offset: int) -> str:
    """mtools' name for it, seen from the image's directory: a path may hold what it would take for an option."""
    return f"{image.name}@@{offset}"
