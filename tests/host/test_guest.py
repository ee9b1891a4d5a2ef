"""Packages by the image's own manager: a Debian of today, from the archive that this machine uses."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.stages.guest.spec import GuestResolveSpec, GuestSpec
from builder.stages.values import GuestPackage
from tests.support.images import taken

pytestmark = [pytest.mark.host, pytest.mark.slow]

SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Debian's essential packages and apt, as the layer `base`."""
    place = tmp_path_factory.mktemp("debian")
    place.chmod(0o755)
    sources = next(each for each in SOURCES if each.is_file())
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=apt", "bookworm", place / "tree.tar", sources], check=True, cwd="/"
    )
    found = taken(place / "tree.tar", place / "taken")
    return place / "taken/base/output", found


def test_what_the_lock_says_and_nothing_else(
    base: tuple[Path, dict[str, Any]], stage: Callable[..., Any], trees: Path
) -> None:
    path, said = base
    assert (said["os"], said["manager"], said["architecture"]) == ("debian", "apt", "x86_64")
    assert "apt" in dict(said["installed"])
    inputs = [("base", path, said)]
    asked = GuestResolveSpec(
        manager="apt",
        packages=("netcat-openbsd",),
        kernel_packages=("nano",),
        hvm_packages=(),
        source_epoch=said["source_epoch"],
    )
    answer = stage("guest.resolve", asked, place=trees / "resolve", inputs=inputs)
    assert [each["name"] for each in answer["kernel_packages"]][-1] == "nano"
    assert answer["hvm_packages"] == []
    packages = tuple(GuestPackage(**each) for each in answer["packages"])
    assert "netcat-openbsd" in [each.name for each in packages]

    spec = GuestSpec(manager="apt", packages=packages, source_epoch=said["source_epoch"])
    made = stage("guest.run", spec, place=trees / "run", inputs=inputs)
    listed = subprocess.run(
        ["tar", "-tf", trees / "run/output/layer.tar"], capture_output=True, text=True, check=True
    ).stdout
    assert "./bin/nc.openbsd" in listed or "bin/nc.openbsd" in listed
    for word in ("var/lib/apt/lists/", "var/log/", "policy-rc.d", "/archives/", "aux-cache"):
        assert not [line for line in listed.splitlines() if word in line and not line.endswith("/")], word
    again = stage("guest.run", spec, place=trees / "again", inputs=inputs)
    assert again["digest"] == made["digest"]


def test_a_version_that_is_gone(base: tuple[Path, dict[str, Any]], stage: Callable[..., Any], trees: Path) -> None:
    path, said = base
    gone = GuestPackage(name="nano", version="0.1-1", architecture="amd64")
    spec = GuestSpec(manager="apt", packages=(gone,), source_epoch=said["source_epoch"])
    with pytest.raises(BuilderError, match=r"the image's own apt refused: Version '0.1-1' for 'nano"):
        stage("guest.run", spec, place=trees / "gone", inputs=[("base", path, said)])
