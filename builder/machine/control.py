"""The channel into dom0: requests, replies and events of the agent there (builder/machine/dom0/agent.sh)."""

import base64
import itertools
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from builder.errors import BuilderError
from builder.machine.qmp import Closed

Listener = Callable[[tuple[str, ...]], None]


class Control:
    """Requests may come from several threads. `listener` hears every event, in the reading thread; () is the end."""

    def __init__(self, connection: socket.socket, listener: Listener) -> None:
        self._socket = connection
        self._listener = listener
        self._numbers = itertools.count(1)
        self._writing = threading.Lock()
        self._news = threading.Condition()
        self._replies: dict[str, tuple[str, str]] = {}
        self._closed = False
        self._reader = threading.Thread(target=self._read, name="dom0", daemon=True)
        self._reader.start()

    def ask(self, *words: str | int, patience: float = 60.0) -> str:
        """The text of the reply. BuilderError with what the agent said when it failed, or kept silent."""
        number = str(next(self._numbers))
        line = " ".join([number, *(str(word) for word in words)]).encode("ascii") + b"\n"
        with self._writing, suppress(OSError):  # one that is closed is told by the reader
            self._socket.sendall(line)
        with self._news:
            if not self._news.wait_for(lambda: number in self._replies or self._closed, timeout=patience):
                raise BuilderError(f"dom0 did not answer `{words[0]}` within {patience:.0f} s")
            if number not in self._replies:
                raise Closed(f"QEMU has ended while dom0 was asked to {words[0]}")
            outcome, text = self._replies.pop(number)
        if outcome != "ok":
            raise BuilderError(f"dom0 could not {words[0]}", detail=decoded(text))
        return text.strip()

    def put(self, path: str, content: bytes) -> None:
        """Write a file in dom0."""
        self.ask("put", path, base64.b64encode(content).decode() or "=")

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    self._take(line.decode("ascii", "replace").split(maxsplit=2))
        except OSError:
            pass
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._listener(())

    def _take(self, words: list[str]) -> None:
        if words[:1] == ["event"]:
            self._listener(tuple(words[1:2] + " ".join(words[2:]).split()))
        elif len(words) >= 2:
            with self._news:
                self._replies[words[0]] = (words[1], words[2] if len(words) > 2 else "")
                self._news.notify_all()


def decoded(text: str) -> str:
    """What the agent encoded, as text; anything else is taken as it is."""
    try:
        return base64.b64decode(text.strip(), validate=True).decode(errors="replace")
    except ValueError:
        return text
