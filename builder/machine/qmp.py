"""QEMU's monitor (QMP, docs/interop/qmp-spec.txt): commands, their answers, and waiting for an event."""

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

from builder.errors import BuilderError

Event = dict[str, Any]


class Closed(BuilderError):
    """QEMU has gone."""


class Monitor:
    """One connection. Commands may come from several threads; events are kept until somebody waits for them."""

    def __init__(self, connection: socket.socket, *, patience: float = 60.0) -> None:
        self._socket = connection
        self._patience = patience
        self._writing = threading.Lock()
        self._news = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[Event] = []
        self._closed = False
        self._greeted = False
        self._number = 0
        self._reader = threading.Thread(target=self._read, name="qmp", daemon=True)
        self._reader.start()

    def greet(self) -> None:
        """Leave negotiation mode. Closed if QEMU ends before it greets."""
        self._until(lambda: self._greeted or None)
        self.execute("qmp_capabilities")

    def execute(self, name: str, arguments: dict[str, Any] | None = None, *, descriptor: int | None = None) -> Any:
        """What a command returns. BuilderError with QEMU's own words if it refuses."""
        with self._writing:
            self._number += 1
            number = self._number
            line = json.dumps({"execute": name, "arguments": arguments or {}, "id": number}).encode() + b"\n"
            try:
                if descriptor is None:
                    self._socket.sendall(line)
                else:
                    socket.send_fds(self._socket, [line], [descriptor])
            except OSError:
                raise Closed("QEMU has ended") from None
        answer = self._until(lambda: self._answers.pop(number, None))
        if "error" in answer:
            raise BuilderError(f"QEMU refused {name}: {answer['error'].get('desc', '')}")
        return answer.get("return")

    def human(self, line: str) -> str:
        """What a command of the human monitor says (hostfwd_add has no other form)."""
        return str(self.execute("human-monitor-command", {"command-line": line})).strip()

    def wait_for(self, wanted: Callable[[Event], bool], *, patient: bool = False) -> Event:
        """The first event that is `wanted`, which is then forgotten. `patient`: as long as QEMU lives."""

        def look() -> Event | None:
            for event in self._events:
                if wanted(event):
                    self._events.remove(event)
                    return event
            return None

        found: Event = self._until(look, patient=patient)
        return found

    def unplug(self, device: str) -> None:
        """Take a device out, and wait until it has gone."""
        self.execute("device_del", {"id": device})
        self.wait_for(
            lambda event: bool(event["event"] == "DEVICE_DELETED" and event.get("data", {}).get("device") == device)
        )

    def _until(self, look: Callable[[], Any], *, patient: bool = False) -> Any:
        found: Any = None

        def done() -> bool:
            nonlocal found
            found = look()
            return found is not None or self._closed

        with self._news:
            if not self._news.wait_for(done, timeout=None if patient else self._patience):
                raise BuilderError(f"QEMU did not answer within {self._patience:.0f} s")
        if found is None:
            raise Closed("QEMU has ended")
        return found

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    self._take(json.loads(line))
        except (OSError, ValueError):
            pass
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        with self._news:
            if "QMP" in message:
                self._greeted = True
            elif "event" in message:
                self._events = [*self._events[-99:], message]
            elif "id" in message:
                self._answers[message["id"]] = message
            self._news.notify_all()
