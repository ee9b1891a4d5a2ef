"""What is done around libguestfs without launching it."""

import os
import subprocess
import sys
from pathlib import Path

from builder.host.appliance import sweep

HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print(flush=True)
    sys.stdin.read()
"""


def test_half_made_appliances_are_swept_unless_one_is_being_made(tmp_path: Path) -> None:
    place = tmp_path / f".guestfs-{os.geteuid()}"
    for name in ("appliance.d", "appliance.d.abc123"):
        (place / name).mkdir(parents=True)
    (place / "lock").touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, place / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as maker:
        assert maker.stdin is not None and maker.stdout is not None
        maker.stdout.readline()
        sweep(tmp_path)
        assert sorted(path.name for path in place.iterdir()) == ["appliance.d", "appliance.d.abc123", "lock"]
        maker.stdin.close()
    sweep(tmp_path)
    assert sorted(path.name for path in place.iterdir()) == ["appliance.d", "lock"]


def test_nothing_to_sweep(tmp_path: Path) -> None:
    sweep(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
