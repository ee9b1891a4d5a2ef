"""Where the guests' connections to the metadata service arrive, each with the slot of the guest that made it."""

import os
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

Serve = Callable[[Any, socket.socket], None]
"""Answers one connection: (the guest, its connection). Closed by the caller."""
MOST = 32
"""Connections of one guest at a time; each is a process and a thread of the host's. More are closed unanswered."""


class MetadataSocket:
    """Listens in QEMU's directory, which is its user's alone."""

    def __init__(self, place: Path, serve: Callable[[int, socket.socket], None]) -> None:
        self._serve = serve
        self._lock = threading.Lock()
        self._present: Counter[int] = Counter()
        self._listener = socket.socket(socket.AF_UNIX)
        directory = os.open(place, os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # A socket's path has 107 bytes at most; a directory's may have more.
            self._listener.bind(f"/proc/self/fd/{directory}/metadata")
        finally:
            os.close(directory)
        self._listener.listen(64)
        threading.Thread(target=self._accept, name="metadata", daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), name="metadata", daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(60)
            slot = _line(connection)
            if slot.isdecimal():
                self._admit(int(slot), connection)

    def _admit(self, slot: int, connection: socket.socket) -> None:
        with self._lock:
            if self._present[slot] >= MOST:
                return
            self._present[slot] += 1
        try:
            self._serve(slot, connection)
        finally:
            with self._lock:
                self._present[slot] -= 1


def _line(connection: socket.socket) -> str:
    """What the relay says first. Byte by byte: what follows is the guest's."""
    said = b""
    while not said.endswith(b"\n") and len(said) < 16:
        byte = connection.recv(1)
        if not byte:
            break
        said += byte
    return said.decode("ascii", "replace").strip()
