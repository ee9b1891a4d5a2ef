"""A real BIND on loopback, with one zone that a TSIG key may change."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ZONE = "instances.test"
KEY = "hmac-sha256:boot:c2VjcmV0LW9mLXRoZS10ZXN0cy0wMTIzNDU2Nzg5YWI="

_CONFIGURATION = """\
options {{
    directory "{place}"; pid-file none; session-keyfile none;
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no;
}};
controls {{ }};
key "boot" {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "{zone}" {{ type primary; file "zone"; update-policy {{ grant boot zonesub A; }}; }};
"""
_RECORDS = """\
$TTL 60
@ IN SOA ns hostmaster 1 3600 600 86400 60
@ IN NS ns
ns IN A 127.0.0.1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameServer:
    port: int

    def lookup(self, name: str) -> list[str]:
        """The addresses of a name of the zone."""
        command = ["dig", "@127.0.0.1", "-p", str(self.port), "+short", "+tries=1", "+time=2", f"{name}.{ZONE}", "A"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


@contextmanager
def name_server(place: Path) -> Iterator[NameServer]:
    """Run BIND in a directory of its own until the end of the block."""
    server = NameServer(port=_free_port())
    (place / "zone").write_text(_RECORDS)
    text = _CONFIGURATION.format(place=place, port=server.port, zone=ZONE, secret=KEY.rpartition(":")[2])
    (place / "named.conf").write_text(text)
    with (place / "log").open("wb") as log:
        process = subprocess.Popen([_named(place), "-g", "-n", "1", "-c", place / "named.conf"], stderr=log)
        try:
            deadline = time.monotonic() + 20
            while server.lookup("ns") != ["127.0.0.1"]:
                assert process.poll() is None and time.monotonic() < deadline, (place / "log").read_text()
                time.sleep(0.05)
            yield server
        finally:
            process.terminate()
            process.wait(10)


def _named(place: Path) -> Path:
    """BIND's server, out of its package: Debian starts an installed one at once, on every address of the machine.

    Its libraries are there: bind9-dnsutils, which setup installs, has the same.
    """
    subprocess.run(["apt-get", "download", "--quiet", "bind9"], cwd=place, check=True, capture_output=True)
    (archive,) = place.glob("bind9_*.deb")
    subprocess.run(["dpkg-deb", "--extract", archive, place / "bind9"], check=True)
    return place / "bind9/usr/sbin/named"


def _free_port() -> int:
    """A port that nothing listens on, for UDP and TCP alike as far as one can know."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
