"""dnf's configuration and command line, and what is compared with the lock."""

from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import BuilderError, HostError
from builder.stages.dnf import (
    at_mirrors,
    check_installed,
    dnf_configuration,
    dnf_environment,
    find_dnf,
    install_command,
    primary_fingerprints,
    remove_traces,
)
from builder.stages.values import LockedPackage, PackageSource

HELLO = LockedPackage(
    name="hello",
    epoch=1,
    version="2.0~rc1",
    release="3.fc41",
    architecture="x86_64",
    repository="tiny",
    header_sha256="a" * 64,
    payload_sha256="b" * 64,
    size=5,
    build_time=1,
)
BASE = replace(HELLO, name="base", epoch=0, version="1", release="1", architecture="noarch")
MAIN = """\
[main]
reposdir=/dev/null
varsdir=/dev/null
cachedir=/factory/cache
logdir=/factory/log
persistdir=/factory/persist
plugins=False
assumeyes=True
best=True
install_weak_deps=False
skip_if_unavailable=False
localpkg_gpgcheck=True
keepcache=True
deltarpm=False
zchunk=False
color=never
check_config_file_age=False
timeout=30
retries=3
"""


def test_a_repository_that_is_made_here() -> None:
    source = PackageSource(id="quickstart", input="repository.quickstart", gpgcheck=False, repo_gpgcheck=True)
    assert dnf_configuration([source], excludes=("vim", "emacs")) == (
        MAIN
        + """\
excludepkgs=vim,emacs

[quickstart]
name=quickstart
baseurl=file:///factory/repositories/quickstart
gpgcheck=0
repo_gpgcheck=1
gpgkey=file:///factory/repositories/quickstart/signing-key.asc
"""
    )


def test_mirrors() -> None:
    sources = [
        PackageSource(
            id="fedora", metalink="https://mirrors.example/metalink?repo=fedora-$releasever", keys=("c" * 64,)
        ),
        PackageSource(
            id="own", baseurl="https://own.example/$basearch/", keys=("d" * 64, "e" * 64), repo_gpgcheck=True
        ),
        PackageSource(id="list", mirrorlist="https://list.example/", keys=("f" * 64,)),
    ]
    assert dnf_configuration(sources) == (
        MAIN
        + f"""
[fedora]
name=fedora
metalink=https://mirrors.example/metalink?repo=fedora-$releasever
gpgcheck=1
repo_gpgcheck=0
gpgkey=file:///factory/keys/{"c" * 64}.asc

[own]
name=own
baseurl=https://own.example/$basearch/
gpgcheck=1
repo_gpgcheck=1
gpgkey=file:///factory/keys/{"d" * 64}.asc file:///factory/keys/{"e" * 64}.asc

[list]
name=list
mirrorlist=https://list.example/
gpgcheck=1
repo_gpgcheck=0
gpgkey=file:///factory/keys/{"f" * 64}.asc
"""
    )


def test_the_command_names_each_package_in_full() -> None:
    assert install_command([BASE, HELLO], architecture="i386", release="41") == [
        "dnf", "--config=/factory/home/dnf.conf", "--installroot=/factory/root", "--releasever=41", "--forcearch=i686",
        "--assumeyes", "--noplugins", "install", "base-0:1-1.noarch", "hello-1:2.0~rc1-3.fc41.x86_64",
    ]  # fmt: skip


def test_mirrors_take_the_place_of_every_address() -> None:
    found = at_mirrors(
        (
            PackageSource(id="list", mirrorlist="https://list.example/", keys=("f" * 64,)),
            PackageSource(id="link", metalink="https://link.example/"),
            PackageSource(id="made", input="repository.made"),
        ),
        {"list": "file:///srv/list/$basearch", "made": "https://nobody.example/", "other": "https://other.example/"},
    )
    assert found == (
        PackageSource(id="list", baseurl="file:///srv/list/$basearch", keys=("f" * 64,)),
        PackageSource(id="link", metalink="https://link.example/"),
        PackageSource(id="made", input="repository.made"),
    )


@pytest.mark.parametrize(
    ("programs", "found"),
    [
        pytest.param({"dnf": "dnf-3"}, "dnf", id="dnf 4"),
        pytest.param({"dnf": "dnf5"}, "dnf5", id="dnf 5, called dnf"),
        pytest.param({"dnf5": ""}, "dnf5", id="dnf 5 alone"),
        pytest.param({"dnf": "dnf-3", "dnf5": ""}, "dnf", id="both"),
    ],
)
def test_which_dnf_there_is(
    programs: dict[str, str], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, target in programs.items():
        real = tmp_path / (target or name)
        real.write_text("#!/bin/sh\n")
        real.chmod(0o755)
        if target:
            (tmp_path / name).symlink_to(target)
    monkeypatch.setattr("builder.host.packages.search_path", lambda: str(tmp_path))
    assert find_dnf() == found


def test_no_dnf_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.host.packages.search_path", lambda: str(tmp_path))
    with pytest.raises(HostError, match="dnf"):
        find_dnf()


def test_what_dnf_leaves_beside_the_database_of_an_older_rpm(tmp_path: Path) -> None:
    place = tmp_path / "var/lib/rpm"
    place.mkdir(parents=True)
    for name in ("rpmdb.sqlite", "rpmdb.sqlite-shm", "rpmdb.sqlite-wal", ".rpm.lock"):
        (place / name).touch()
    remove_traces(tmp_path, "/var/lib/rpm")
    assert [each.name for each in place.iterdir()] == ["rpmdb.sqlite"]


def test_the_environment_has_a_clock_and_a_home_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("SECRET", "never passed on")
    assert dnf_environment(5) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/factory/home",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "https_proxy": "http://proxy.example:3128",
        "SOURCE_DATE_EPOCH": "5",
    }


def listing(*packages: LockedPackage) -> str:
    lines = [
        f"{p.name} {p.epoch} {p.version} {p.release} {p.architecture} {p.header_sha256} {p.payload_sha256}\n"
        for p in packages
    ]
    return "".join([*lines, "gpg-pubkey 0 1be82b91 5e0be100 (none) (none) (none)\n"])


def test_equal_sets_are_equal_in_any_order() -> None:
    check_installed(listing(HELLO, BASE), [BASE, HELLO])


@pytest.mark.parametrize(
    ("there", "detail"),
    [
        pytest.param([BASE], "not installed: hello-1:2.0~rc1-3.fc41.x86_64", id="missing"),
        pytest.param([BASE, HELLO, replace(BASE, name="more")], "not in the lock: more-0:1-1.noarch", id="more"),
        pytest.param(
            [BASE, replace(HELLO, header_sha256="0" * 64)], "not as locked: hello-1:2.0~rc1-3.fc41.x86_64", id="header"
        ),
        pytest.param(
            [BASE, replace(HELLO, payload_sha256="0" * 64)],
            "not as locked: hello-1:2.0~rc1-3.fc41.x86_64",
            id="payload",
        ),
        pytest.param(
            [BASE, replace(HELLO, version="3")],
            "not in the lock: hello-1:3-3.fc41.x86_64\nnot installed: hello-1:2.0~rc1-3.fc41.x86_64",
            id="another version",
        ),
    ],
)
def test_any_difference_is_an_error(there: list[LockedPackage], detail: str) -> None:
    with pytest.raises(BuilderError) as error:
        check_installed(listing(*there), [BASE, HELLO])
    assert error.value.detail == detail


def test_fingerprints_of_primary_keys_only() -> None:
    shown = (
        "tru::1:1:0:3:1:5\n"
        f"pub:-:3072:1:AAAA:1577836800:::-:::scSC::::::23::0:\nfpr:::::::::{'A' * 40}:\nuid:-::::1::X::tiny:::::::0:\n"
        f"sub:-:3072:1:BBBB:1577836800::::::e::::::23:\nfpr:::::::::{'B' * 40}:\n"
        f"pub:-:255:22:CCCC:1577836800:::-:::scSC::::::23::0:\nfpr:::::::::{'C' * 40}:\n"
    )
    assert primary_fingerprints(shown) == ("A" * 40, "C" * 40)
    assert primary_fingerprints("") == ()
