"""Whose the secrets are that lie in an image's bytes: from a place on the disk to an inode, by e2fsprogs."""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from builder.host import process
from builder.host.ext_image import Place
from builder.stages.verify.secrets import Hit, scan

_MAGIC = b"\x53\xef"
_ROW = re.compile(r"^(\d+)\t(\d+|<block not found>)$", re.MULTILINE)
_LARGEST_BLOCK = 6
"""64 KiB, as a power of two KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Something secret, and the inode whose block it is in."""

    hit: Hit
    inode: int | None = None
    """None: of no file, or of one that is not known."""
    known: bool = True
    """False where the file system is of a kind for which nothing here tells whose a block is."""


def search(image: Path, offset: int, size: int) -> tuple[Located, ...]:
    """All that is secret in an image whose root file system is `size` bytes from `offset` on."""
    hits = scan(image)
    inside = [hit for hit in hits if offset <= hit.offset < offset + size]
    outside = tuple(Located(hit=hit) for hit in hits if hit not in inside)
    if not inside:
        return outside
    block_size = _block_size(image, offset)
    if not block_size:
        return outside + tuple(Located(hit=hit, known=False) for hit in inside)
    owners = _owners(Place(file=image, offset=offset), {(hit.offset - offset) // block_size for hit in inside})
    return outside + tuple(Located(hit=hit, inode=owners.get((hit.offset - offset) // block_size)) for hit in inside)


def parse_icheck(said: str) -> dict[int, int]:
    """Block to inode, as debugfs's icheck prints them; a block that no file has is left out."""
    return {int(block): int(inode) for block, inode in _ROW.findall(said) if inode.isdecimal()}


def _owners(place: Place, blocks: set[int]) -> dict[int, int]:
    asked = "icheck " + " ".join(map(str, sorted(blocks))) + "\n"
    done = process.run(["debugfs", "-f", "-", place.device], stdin=asked.encode(), capture=True, check=False)
    return parse_icheck(done.stdout.decode(errors="replace"))


def _block_size(image: Path, offset: int) -> int:
    """Of an ext file system, 0 for any other (fs/ext4/ext4.h: s_log_block_size, s_magic)."""
    with image.open("rb") as file:
        file.seek(offset + 1024)
        head = file.read(64)
    if len(head) < 64 or head[56:58] != _MAGIC:
        return 0
    (power,) = struct.unpack_from("<I", head, 24)
    return 1024 << power if power <= _LARGEST_BLOCK else 0
