"""One gzip member out of blocks that were deflated apart from each other, in any order, on any core.

Every block is raw deflate that ends on a byte, so put side by side they are one deflate stream. The zeros of a block
count the same whether they were read or are a hole.

Equal blocks at an equal level give equal bytes, however many threads there are, in every process. What the bytes depend
on is the release of the library that deflates, and for `fast` one thing of the processor:

- `small` is libdeflate's (package deflate), which gives the same bytes on every machine.
- `fast` is igzip's (package isal, ISA-L 2.32.1) on x86-64 processors with SSE 4.2, which is all since 2008; ISA-L has
  other code, with other results, for older ones and for other architectures. Its level 3 is not used: it gives other
  bytes with AVX2 and with AVX-512 than without.

igzip's levels 1 and 2 make the first hash of a stream from a register that holds the address of the stream's state, not
from the data (igzip_icf_body_h1_gr_bt.asm, at .write_first_byte), so that one of some 10 000 blocks came out different
by the whim of the allocator. A stream that starts with a dictionary does not go that way: every block here has one, the
end of the block before it, and the few that have no block before them are libdeflate's.
"""

import functools
import struct
from dataclasses import dataclass
from typing import Literal

import deflate as libdeflate
import isal
from isal import isal_zlib

from builder.formats import deflate_join

Level = Literal["fast", "small"]
"""`fast` keeps up with the other work on a bundle; `small` takes eight times its time for an eighth fewer bytes."""

# Method 8, no flags, no time, no extra flags, operating system unknown: nothing that varies.
HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
PRIMER = 4096
"""How much of the block before `fast` looks at. Looking back 32 KiB saves a thousandth, and costs a fiftieth more."""

_FAST = 1
"""igzip's level. On binaries of a Linux system: 1 and 2 near 450 MB/s a core, 2 for 1.5 % less."""
_SMALL = 7
"""libdeflate's level. On the same: 66 MB/s for 1.5 % less than zlib's 6 at 27 MB/s; 8 is 40 MB/s for another 0.2 %."""
_LAST_BLOCK = b"\x03\x00"  # an empty block with the final bit


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflated:
    """A deflated block: its bytes, and what the trailer has to know of the plain ones."""

    data: bytes
    crc: int
    length: int


def deflate(data: bytes | bytearray, level: Level, before: bytes) -> Deflated:
    """Deflate one block, which follows after `before` in the stream; of that the last PRIMER bytes count.

    Nearly all of it is work of C libraries, without the interpreter's lock.
    """
    packed = _fast(data, before[-PRIMER:]) if level == "fast" and before else _small(data)
    return Deflated(data=packed, crc=isal_zlib.crc32(data), length=len(data))


@functools.lru_cache(maxsize=8)
def deflate_zeros(length: int) -> Deflated:
    """Zeros, worked out once a length: they do not refer to the block before them, and are the same at every level."""
    data = bytes(length)
    return Deflated(data=_small(data), crc=isal_zlib.crc32(data), length=length)


def deflated_by(level: Level) -> str:
    """The releases that the bytes depend on."""
    small = f"deflate {libdeflate.__version__}"
    return small if level == "small" else f"isal {isal.__version__}, {small}"


def _fast(data: bytes | bytearray, primer: bytes) -> bytes:
    stream = isal_zlib.compressobj(_FAST, isal_zlib.DEFLATED, -15, zdict=primer)
    return stream.compress(data) + stream.flush(isal_zlib.Z_SYNC_FLUSH)


def _small(data: bytes | bytearray) -> bytes:
    return deflate_join.open_ended(libdeflate.deflate_compress(data, _SMALL), len(data))


class Trailer:
    """Adds up the blocks in the order of the stream."""

    def __init__(self) -> None:
        self._crc = 0
        self._length = 0

    def add(self, block: Deflated) -> None:
        self._crc = isal_zlib.crc32_combine(self._crc, block.crc, block.length)
        self._length += block.length

    def finish(self) -> bytes:
        """The bytes that end the stream after its last block."""
        return _LAST_BLOCK + struct.pack("<II", self._crc, self._length & 0xFFFFFFFF)
