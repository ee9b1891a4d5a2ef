"""Writing a file so that runs of zeros become holes, wherever they came from."""

import os

GRAIN = 4096
"""The least that becomes a hole: a block of the usual file systems."""

_ZEROS = bytes(1 << 20)
_WRITTEN_BACK = 16 << 20
"""How much is written before the disk begins on it, so that little is left to wait for when the file is synced."""


class SparseWriter:
    """Writes a new, empty file, in any pieces, each byte at most once; what is never written is a hole.

    The pieces need no alignment: a block of which only some pieces hold data reads as zeros where none was written.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = 0

    def write(self, offset: int, data: memoryview) -> None:
        """`data` may be as long as it likes and is not kept."""
        for start, stop in _extents(offset, data):
            view = data[start:stop]
            at = offset + start
            while view:
                written = os.pwrite(self._descriptor, view, at)
                at += written
                view = view[written:]
        end = offset + len(data)
        if end - self._begun >= _WRITTEN_BACK:
            # Linux starts to write what is dirty there and does not wait; being dirty, it also stays in memory.
            os.posix_fadvise(self._descriptor, self._begun, end - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = end

    def finish(self, size: int) -> None:
        """Give the file its size, the hole at its end included."""
        os.ftruncate(self._descriptor, size)


def _extents(offset: int, data: memoryview) -> list[tuple[int, int]]:
    """Where `data` has to be written: (start, stop) within it, apart by grains of the file that are zero."""
    found: list[tuple[int, int]] = []
    for at in range(0, len(data), len(_ZEROS)):
        piece = data[at : at + len(_ZEROS)]
        if _ZEROS.startswith(piece):
            continue
        start = at
        while start < at + len(piece):
            stop = min(start + GRAIN - (offset + start) % GRAIN, at + len(piece))
            if not _ZEROS.startswith(data[start:stop]):
                if found and found[-1][1] == start:
                    found[-1] = (found[-1][0], stop)
                else:
                    found.append((start, stop))
            start = stop
    return found
