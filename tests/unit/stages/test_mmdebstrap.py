"""What mmdebstrap and dpkg are told, and what is left of them."""

import os
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.stages import mmdebstrap
from builder.stages.values import LockedDeb

HELLO = LockedDeb(name="hello", version="2:1.0-1", architecture="amd64", sha256="0" * 64, size=1, build_time=1)
DATA = LockedDeb(name="hello-data", version="1", architecture="all", sha256="1" * 64, size=1, build_time=1)
STATUS = """\
Package: hello
Status: install ok installed
Architecture: amd64
Version: 2:1.0-1
Description: hello
 more of it

Package: hello-data
Status: install ok installed
Architecture: all
Version: 1
"""


def test_commands() -> None:
    command = mmdebstrap.mmdebstrap_command((HELLO, DATA), debian="amd64")
    assert command[-4:] == [
        "--include=hello=2:1.0-1,hello-data=1", "", "/factory/root", "deb [trusted=yes] copy:/factory/archive ./",
    ]  # fmt: skip
    assert mmdebstrap.dpkg_command((HELLO,))[-2:] == ["--install", "/run/ami-factory/archive/hello.deb"]


def test_what_is_installed_is_what_is_locked() -> None:
    mmdebstrap.check_installed(STATUS, (HELLO, DATA))
    mmdebstrap.check_installed(STATUS, (HELLO,), STATUS.partition("\n\n")[2])


@pytest.mark.parametrize(
    ("status", "why"),
    [
        pytest.param(STATUS.replace("1.0-1", "1.0-2"), "not in the lock: hello 2:1.0-2 amd64", id="another version"),
        pytest.param(STATUS.replace(": all", ": amd64"), "not in the lock: hello-data 1 amd64", id="architecture"),
        pytest.param(STATUS.partition("\n\n")[0], "not installed: hello-data 1 all", id="missing"),
        pytest.param(
            STATUS.replace("install ok installed", "install ok half-configured", 1),
            "not installed: hello 2:1.0-1 amd64",
            id="half configured",
        ),
    ],
)
def test_what_is_installed_otherwise(status: str, why: str) -> None:
    with pytest.raises(BuilderError, match=why):
        mmdebstrap.check_installed(status, (HELLO, DATA))


@pytest.mark.parametrize(
    ("said", "brief"),
    [
        pytest.param(
            "dpkg: error processing package web (--configure):\n"
            " installed web package post-installation script subprocess returned error exit status 3\n",
            "web: its post-installation script failed with exit code 3",
            id="script",
        ),
        pytest.param("tar: x: Cannot write: No space left on device", "no space for the packages", id="space"),
        pytest.param("E: what", "mmdebstrap could not install the packages", id="else"),
    ],
)
def test_refusals(said: str, brief: str) -> None:
    error = mmdebstrap.explain("mmdebstrap", said)
    assert error.brief == brief
    assert error.detail == said.strip()


def test_what_differs_between_runs_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fchown", lambda *_: None)
    gone = (
        "var/log/apt/term.log", "var/log/dpkg.log", "etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub",
        "var/cache/apt/archives/x.deb", "var/lib/apt/lists/lock", "etc/passwd-", "etc/hostname", "etc/resolv.conf",
    )  # fmt: skip
    kept = ("etc/ssh/sshd_config", "var/lib/dpkg/status", "etc/passwd", "etc/machine-id")
    for name in (*gone, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    mmdebstrap.remove_traces(tmp_path)
    left = {str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()}
    assert left == set(kept)
    assert (tmp_path / "etc/machine-id").read_bytes() == b""


def test_a_link_to_resolved_stays(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    mmdebstrap.remove_traces(tmp_path)
    assert os.path.islink(tmp_path / "etc/resolv.conf")  # noqa: PTH114
