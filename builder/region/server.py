"""The region's daemon: `python -m builder.region.server --directory D [--port N]`.

It puts itself in the background, and the command ends when the region answers: exit code 0, or 1 with the reason on
stderr. It holds the lock on its directory while it runs, so that there is never a second one over the same state.
"""

import argparse
import errno
import fcntl
import functools
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from builder.region import wishes
from builder.region.daemon import READY, launch
from builder.region.layout import Layout, write
from builder.region.wishes import Wishes

if TYPE_CHECKING:
    from builder.region.application import Application
    from builder.region.ec2.region import Region
    from builder.region.http import Server
    from builder.region.identity import RegionIdentity
    from builder.region.machines import HostMachines
    from builder.region.state import State

# Who looks whether a daemon holds the directory (control._holder) holds it for an instant itself.
_PROBED = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m builder.region.server", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where the region's state is")
    wishes.add_arguments(parser)
    arguments = parser.parse_args()
    layout = Layout(arguments.directory.absolute())
    return launch(layout, lambda ready: serve(layout, wishes.parsed(arguments), ready))


def serve(layout: Layout, wanted: Wishes, ready: IO[str]) -> int:
    """Serve until SIGTERM. `ready` is told "ready", or what went wrong, and closed."""
    try:
        lock = _lock(layout)
        server, machines, load = _server(layout, wanted)
    except Exception as error:
        traceback.print_exc()
        ready.write(str(error) or type(error).__name__)
        return 1
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    threading.Thread(target=server.serve_forever, name="accept", daemon=True).start()
    _say(f"serving {layout.directory} on 127.0.0.1:{server.server_port}")
    ready.write(READY)
    ready.close()
    threading.Thread(target=load, name="load", daemon=True).start()
    stopping.wait()
    _say("stopping")
    layout.daemon.unlink(missing_ok=True)
    server.server_close()
    machines.close()
    lock.close()
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{_now()} {text}\n")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _application(region: "Callable[[], Region]") -> "Callable[[], Application]":
    """The services, loaded by the first call: moto and botocore's models take half a second that a start can do
    without, since its caller has as much to load."""

    @functools.cache
    def load() -> "Application":
        from builder.region import protocol
        from builder.region.application import Application

        for name in ("s3", "ec2"):
            protocol.service(name)
        return Application(region())

    return load


def _lock(layout: Layout) -> IO[str]:
    """The directory is this process's as long as the file is open. It holds the pid, for `stop`."""
    file = layout.lock.open("a+")
    deadline = time.monotonic() + _PROBED
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise RuntimeError(f"another daemon serves {layout.directory}") from None
            time.sleep(0.01)
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _server(layout: Layout, wanted: Wishes) -> "tuple[Server, HostMachines, Callable[[], Application]]":
    """The region over its state, listening, its whereabouts written down; its machines; and what loads its services."""
    from builder.region.ec2.instances import states
    from builder.region.identity import identity
    from builder.region.state import State

    own = identity(layout.directory)
    state = State(layout.state)
    states.terminate_all(state, "Internal error: the local region was stopped")
    since = _now()

    def health() -> dict[str, object]:
        settled = {"guest_memory_mib": wanted.guest_memory_mib, "client": wanted.client}
        return {"id": own.id, "account": own.account, "pid": os.getpid(), "since": since, **settled, **state.usage()}

    server = _listen(wanted.port or _last_port(layout), fixed=wanted.port != 0)
    server.health = health
    region, machines = _region(layout, state, own, wanted, server.server_port)
    load = _application(lambda: region)
    server.application = lambda *request: load()(*request)
    write(layout.port, str(server.server_port))
    write(layout.daemon, json.dumps({"port": server.server_port, "pid": os.getpid(), "since": since}))
    return server, machines, load


def _region(
    layout: Layout, state: "State", own: "RegionIdentity", wanted: Wishes, port: int
) -> "tuple[Region, HostMachines]":
    from builder.host.directories import cache_directory
    from builder.region.ec2.region import Region
    from builder.region.machines import HostMachines, Settings

    settings = Settings(
        cache=wanted.cache or cache_directory(),
        account=own.account,
        guest_memory_mib=wanted.guest_memory_mib,
        client=wanted.client,
        services=(port,),
    )
    machines = HostMachines(
        state=state, private_key=lambda: region.private_key, place=layout.instances, settings=settings
    )
    region = Region(state=state, identity=own, machines=machines, host=f"127.0.0.1:{port}")
    return region, machines


def _last_port(layout: Layout) -> int:
    """The port that clients know this region by; 0 before the first start."""
    try:
        port = int(layout.port.read_text())
    except (OSError, ValueError):
        return 0
    return port if 0 < port < 65536 else 0


def _listen(port: int, *, fixed: bool) -> "Server":
    from builder.region.http import Server

    try:
        return Server(port)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        if fixed:
            raise RuntimeError(f"port {port} of 127.0.0.1 cannot be had: {error.strerror}") from error
        return Server(0)


if __name__ == "__main__":
    sys.exit(main())
