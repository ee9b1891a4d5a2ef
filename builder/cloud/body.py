"""A body of bytes in memory, as a file that is read once and again."""

import io
from collections.abc import Callable


class Abandoned(BaseException):
    """The body is not wanted any more. No Exception: botocore would try again with those."""


class Body(io.RawIOBase):
    """Bytes for botocore, not copied.

    Given as bytes they would go to the socket in one call, whose timeout is for all of them: 10 MiB in 10 seconds, or
    the connection is given up. Of a file it sends 16 KiB at a time, and asks first whether to go on (100-continue).
    So it can be ended in the middle too: a read raises Abandoned when it is `stopped`. S3 keeps nothing then.
    """

    def __init__(self, data: bytes | bytearray | memoryview, stopped: Callable[[], bool] = lambda: False) -> None:
        self._data = memoryview(data)
        self._stopped = stopped
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, room: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        if self._stopped():
            raise Abandoned
        piece = self._data[self._at : self._at + len(room)]
        room[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        self._data.release()
        super().close()
