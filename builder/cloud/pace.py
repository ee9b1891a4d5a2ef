"""How many requests may be on their way at once: as many as bring more, and fewer when the region says so."""

import threading
import time
from collections.abc import Callable

MOST = 64
"""With 0.1 s for a put this is 320 MiB/s of one snapshot; more threads than this have no work on the way."""
_START = 4
_WINDOW = 0.25
_GAIN = 1.1
_QUIET = 5.0
_PROBE = 4.0


class Pace:
    """Doubles the number of requests while that brings at least a tenth more of them a second; halves it, at most once
    in a round trip, when the region throttles. Where more brought nothing, it tries again after a while.

    Pure but for `clock` and the lock around it: whoever works asks for `limit`, and tells what came of it.
    """

    def __init__(self, *, start: int = _START, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = min(start, most)
        self.throttled = 0
        """How often the region has asked to slow down."""
        self._most, self._clock = most, clock
        self._lock = threading.Lock()
        self._began, self._done = clock(), 0
        self._before = (0, 0.0)
        """(limit, requests a second) of what was tried before this limit; 0 where nothing was."""
        self._rest_until = 0.0

    def succeeded(self) -> None:
        with self._lock:
            self._done += 1
            elapsed = self._clock() - self._began
            if elapsed >= _WINDOW and self._done >= 2 * self.limit:
                self._judge(self._done / elapsed)

    def slower(self) -> None:
        """The region throttles, or does not keep up."""
        with self._lock:
            self.throttled += 1
            now = self._clock()
            if now >= self._rest_until - _QUIET + _WINDOW:  # requests of one round trip are one message
                self.limit = max(1, self.limit // 2)
                self._rest_until = now + _QUIET
                self._restart(now, (0, 0.0))

    def _judge(self, rate: float) -> None:
        now = self._clock()
        limit, before = self._before
        if limit and limit < self.limit and rate < before * _GAIN:
            self.limit, self._rest_until = limit, now + _PROBE
            self._restart(now, (0, 0.0))
        elif now >= self._rest_until and self.limit < self._most:
            self._restart(now, (self.limit, rate))
            self.limit = min(self._most, 2 * self.limit)
        else:
            self._restart(now, (0, 0.0))

    def _restart(self, now: float, before: tuple[int, float]) -> None:
        self._began, self._done, self._before = now, 0, before
