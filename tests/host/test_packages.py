"""The packages stage and its resolver with real dnf and rpm, on a tiny distribution."""

import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.stages.packages.spec import PackagesSpec, ResolveSpec
from builder.stages.values import LockedPackage, PackageSource

pytestmark = pytest.mark.host
EPOCH = 1_700_000_000
TINY = PackageSource(id="tiny", input="repository.tiny", gpgcheck=False, repo_gpgcheck=True)
ASKED = ResolveSpec(
    architecture="x86_64",
    release="1",
    repositories=(TINY,),
    packages=("hello",),
    kernel_packages=("linux",),
    excludes=(),
)


@pytest.fixture
def locked(stage: Callable[..., Any], tiny: Path, trees: Path) -> tuple[LockedPackage, ...]:
    answer = stage("packages.resolve", ASKED, place=trees / "resolve", inputs=made(tiny))
    return tuple(LockedPackage(**each) for each in answer["packages"])


def made(tiny: Path) -> list[Any]:
    return [("repository.tiny", tiny / "repository", {})]


def install_spec(packages: tuple[LockedPackage, ...]) -> PackagesSpec:
    return PackagesSpec(architecture="x86_64", release="1", repositories=(TINY,), packages=packages, source_epoch=EPOCH)


def test_the_lock_pins_what_the_headers_say(stage: Callable[..., Any], tiny: Path, trees: Path) -> None:
    answer = stage("packages.resolve", ASKED, place=trees, inputs=made(tiny))
    assert [each["name"] for each in answer["packages"]] == ["base", "hello"]
    assert [each["name"] for each in answer["kernel_packages"]] == ["hello-extra", "linux"]
    hello = answer["packages"][1]
    rpm = tiny / "repository" / "packages" / "hello-1.0-1.noarch.rpm"
    assert {key: value for key, value in hello.items() if not key.endswith("sha256")} == {
        "name": "hello", "epoch": 0, "version": "1.0", "release": "1", "architecture": "noarch", "repository": "tiny",
        "size": rpm.stat().st_size, "build_time": EPOCH,
    }  # fmt: skip
    assert len(hello["header_sha256"]) == len(hello["payload_sha256"]) == 64


def test_two_runs_write_the_same_bytes(
    stage: Callable[..., Any], tiny: Path, trees: Path, locked: tuple[LockedPackage, ...], other_user: str
) -> None:
    first = stage("packages.run", install_spec(locked), place=trees / "first", inputs=made(tiny))
    (trees / "elsewhere").mkdir(mode=0o777)
    (trees / "elsewhere").chmod(0o777)
    second = stage(
        "packages.run",
        install_spec(locked),
        place=trees / "elsewhere/in another place",
        inputs=made(tiny),
        user=other_user,
    )
    assert first == second
    assert first["packages"] == 2


def test_thirty_two_bits(stage: Callable[..., Any], tiny: Path, trees: Path) -> None:
    answer = stage("packages.resolve", replace(ASKED, architecture="i386"), place=trees / "resolve", inputs=made(tiny))
    packages = tuple(LockedPackage(**each) for each in answer["packages"])
    spec = replace(install_spec(packages), architecture="i386")
    assert stage("packages.run", spec, place=trees / "run", inputs=made(tiny))["packages"] == 2


def test_what_is_in_the_layer(
    stage: Callable[..., Any], tiny: Path, trees: Path, locked: tuple[LockedPackage, ...]
) -> None:
    stage("packages.run", install_spec(locked), place=trees / "run", inputs=made(tiny))
    with tarfile.open(trees / "run/output/layer.tar") as layer:
        members = {member.name: member for member in layer.getmembers()}
    assert sorted(members) == [
        ".", "bin", "dev", "etc", "etc/group", "etc/gshadow", "etc/hello.conf", "etc/machine-id", "etc/passwd",
        "etc/shadow", "etc/skel", "etc/skel/.profile", "home", "proc", "root", "run", "sys", "tmp", "usr", "usr/bin",
        "usr/bin/chage", "usr/bin/hello", "usr/lib", "usr/lib/sysimage", "usr/lib/sysimage/rpm",
        "usr/lib/sysimage/rpm/rpmdb.sqlite", "var", "var/log",
    ]  # fmt: skip
    assert members["etc/machine-id"].size == 0
    chage = members["usr/bin/chage"]
    assert (chage.mode, chage.uid, chage.gid) == (0o2755, 0, 42)
    assert {member.mtime for member in members.values() if member.isdir()} == {EPOCH}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"header_sha256": "0" * 64}, "not as locked: hello-0:1.0-1.noarch", id="another header"),
        pytest.param({"payload_sha256": "0" * 64}, "not as locked: hello-0:1.0-1.noarch", id="another payload"),
        pytest.param({"version": "9.9"}, "hello-0:9.9-1.noarch is in the lock, but no longer", id="another version"),
    ],
)
def test_only_what_is_locked_is_installed(
    stage: Callable[..., Any],
    tiny: Path,
    trees: Path,
    locked: tuple[LockedPackage, ...],
    change: dict[str, str],
    why: str,
) -> None:
    packages = tuple(replace(each, **change) if each.name == "hello" else each for each in locked)
    with pytest.raises(BuilderError) as error:
        stage("packages.run", install_spec(packages), place=trees / "run", inputs=made(tiny))
    assert why in error.value.brief
    assert "lock RECIPE --update" in error.value.hint
    assert not (trees / "run/output/layer.tar").exists()


def test_a_lock_that_lacks_what_is_required(
    stage: Callable[..., Any], tiny: Path, trees: Path, locked: tuple[LockedPackage, ...]
) -> None:
    with pytest.raises(BuilderError, match=r"not in the lock: base-0:1\.0-1\.noarch"):
        stage("packages.run", install_spec(locked[1:]), place=trees / "run", inputs=made(tiny))


@pytest.mark.parametrize(
    ("change", "brief", "hint"),
    [
        pytest.param(
            {"packages": ("helo", "hello")},
            'distribution.packages: no repository has "helo"',
            "did you mean hello",
            id="unknown package",
        ),
        pytest.param(
            {"kernel_packages": ("linus",)},
            'the kernel\'s packages: no repository has "linus"',
            "did you mean linux",
            id="unknown kernel package",
        ),
        pytest.param({"packages": ("zzzzzz",)}, 'no repository has "zzzzzz"', "which names", id="nothing near"),
        pytest.param({"excludes": ("hello",)}, "it is in distribution.excludes", "", id="excluded"),
        pytest.param(
            {"packages": ("broken",)}, "cannot be installed together", "change distribution.packages", id="unmet"
        ),
        pytest.param({"packages": ("hello", "quarrel")}, "cannot be installed together", "", id="conflict"),
        pytest.param(
            {"packages": ("hello-extra",), "excludes": ("base",)},
            "cannot be installed together",
            "",
            id="excluded requirement",
        ),
    ],
)
def test_what_cannot_be_resolved(
    stage: Callable[..., Any], tiny: Path, trees: Path, change: dict[str, Any], brief: str, hint: str
) -> None:
    with pytest.raises(BuilderError) as error:
        stage("packages.resolve", replace(ASKED, **change), place=trees, inputs=made(tiny))
    assert brief in error.value.brief
    assert hint in error.value.hint
    assert error.value.exit == 2


def test_the_solver_gives_its_reasons(stage: Callable[..., Any], tiny: Path, trees: Path) -> None:
    with pytest.raises(BuilderError) as error:
        stage("packages.resolve", replace(ASKED, packages=("broken",)), place=trees, inputs=made(tiny))
    assert "nothing provides nothing-has-this needed by broken" in error.value.detail


@pytest.mark.parametrize(
    ("name", "brief"),
    [
        pytest.param("stranger", "group nobody-knows does not exist", id="unknown group"),
        pytest.param("unlucky", "out of luck", id="failing scriptlet"),
    ],
)
def test_what_rpm_only_warns_of(stage: Callable[..., Any], tiny: Path, trees: Path, name: str, brief: str) -> None:
    asked = replace(ASKED, packages=(name,), kernel_packages=())
    answer = stage("packages.resolve", asked, place=trees / "resolve", inputs=made(tiny))
    packages = tuple(LockedPackage(**each) for each in answer["packages"])
    with pytest.raises(BuilderError) as error:
        stage("packages.run", install_spec(packages), place=trees / "run", inputs=made(tiny))
    assert brief in error.value.brief
    assert not (trees / "run/output/layer.tar").exists()
