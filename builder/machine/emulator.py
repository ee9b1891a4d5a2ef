"""A running QEMU, tied to its owner: its monitor, its control channel, its directory, and its end."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from builder.errors import BuilderError
from builder.host import process
from builder.machine import qemu, watch, workplace
from builder.machine.qmp import Closed, Event, Monitor

Options = Callable[[Path], Sequence[str]]
_END_SECONDS = 10.0


class Emulator:
    """QEMU, started by a watcher that outlives neither this process nor `close`."""

    def __init__(self, *, scratch: Path, log: Path, options: Options, patience: float) -> None:
        """`options` are asked for with QEMU's directory, which is private to it and ends with it."""
        self.place, lock = workplace.make(scratch)
        self.log = log
        ours, theirs = zip(*(socket.socketpair() for _ in range(2)), strict=True)
        inherit = [each.fileno() for each in theirs]
        try:
            provide_relay(self.place)
            command = [
                qemu.program(),
                *qemu.socket_options(monitor=inherit[0], control=inherit[1]),
                *options(self.place),
            ]
            self._watcher = process.start(
                watch.command_line(self.place, log, command, inherit),
                log=log,
                env={"PYTHONPATH": os.pathsep.join(sys.path)},
                inherit=[lock, *inherit],
            )
        except BaseException:
            shutil.rmtree(self.place, ignore_errors=True)
            for each in ours:
                each.close()
            raise
        finally:
            os.close(lock)
            for each in theirs:
                each.close()
        self.control = ours[1]
        self._monitor_socket = ours[0]
        self.monitor = Monitor(ours[0], patience=patience)

    def greet(self) -> None:
        """Wait for QEMU to answer. BuilderError with what it said if it ended instead."""
        try:
            self.monitor.greet()
        except Closed:
            self.close()
            raise BuilderError("QEMU did not start", detail=self.said()) from None

    def said(self) -> str:
        """The end of what QEMU wrote to stderr."""
        try:
            return self.log.read_text(errors="replace")[-2000:].strip()
        except OSError:
            return ""

    def quit(self) -> None:
        """Let QEMU end by itself, with all that it holds back written to its files."""
        self.monitor.execute("quit")
        with suppress(Closed):
            self.monitor.wait_for(_never)

    def close(self) -> None:
        """End QEMU and wait until nothing of it is left."""
        for pipe in (self._watcher.stdin, self._watcher.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._watcher.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._watcher.kill()  # the kernel kills QEMU with it
            self._watcher.wait()
            shutil.rmtree(self.place, ignore_errors=True)
        for each in (self._monitor_socket, self.control):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _never(event: Event) -> bool:
    del event
    return False


def provide_relay(place: Path) -> None:
    """What QEMU runs for a guest's connection, in QEMU's own directory: a name without spaces or commas."""
    (place / "relay.py").write_bytes(files(__package__).joinpath("relay.py").read_bytes())
    (place / "python").symlink_to(Path(sys.executable).resolve())
