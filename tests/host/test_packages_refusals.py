"""Repositories that are damaged, changed, unsigned or out of reach: each refused in words that can be acted on."""

import functools
import http.server
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.stages.packages.spec import PackagesSpec, ResolveSpec
from builder.stages.values import LockedPackage, PackageSource
from tests.support import rpms

pytestmark = pytest.mark.host
MADE = PackageSource(id="tiny", input="repository.tiny", gpgcheck=False, repo_gpgcheck=True)
ASKED = ResolveSpec(
    architecture="x86_64", release="1", repositories=(MADE,), packages=("hello",), kernel_packages=(), excludes=()
)
Stage = Callable[..., Any]


@pytest.fixture(scope="session")
def signed(tiny: Path) -> Path:
    """The tiny distribution with its packages signed, its metadata not: a mirror as most are."""
    repository = rpms.copy(tiny / "repository", tiny / "signed")
    rpms.sign_rpms(repository / "packages", tiny / "key")
    (repository / "repodata" / "repomd.xml.asc").unlink()
    return rpms.index(repository)


@pytest.fixture
def locked(stage: Stage, tiny: Path, trees: Path) -> tuple[LockedPackage, ...]:
    """Header and payload digests are the same before and after signing."""
    answer = stage("packages.resolve", ASKED, place=trees / "lock", inputs=made(tiny / "repository"))
    return tuple(LockedPackage(**each) for each in answer["packages"])


def made(repository: Path) -> list[Any]:
    return [("repository.tiny", repository, {})]


def install_spec(packages: tuple[LockedPackage, ...], *sources: PackageSource) -> PackagesSpec:
    return PackagesSpec(
        architecture="x86_64", release="1", repositories=sources, packages=packages, source_epoch=1_700_000_000
    )


def mirror(address: str, *keys: Path, **other: Any) -> tuple[PackageSource, dict[str, str]]:
    """A repository of a recipe's author: by its address, with gpgcheck, and the key files."""
    sources = {rpms.sha256(key): str(key) for key in keys}
    return PackageSource(id="tiny", baseurl=address, keys=tuple(sources), **other), sources


def flip(path: Path, at: int = -20) -> None:
    """Change one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def hello(repository: Path) -> Path:
    return repository / "packages" / "hello-1.0-1.noarch.rpm"


def change_package(repository: Path) -> None:
    flip(hello(repository))


def change_metadata(repository: Path) -> None:
    document = repository / "repodata" / "repomd.xml"
    document.write_text(document.read_text().replace("<revision>1700000000", "<revision>1700000001"))


def drop_signature(repository: Path) -> None:
    (repository / "repodata" / "repomd.xml.asc").unlink()


def drop_metadata(repository: Path) -> None:
    (repository / "repodata" / "repomd.xml").unlink()


DAMAGES = [
    pytest.param(change_package, "hello-1.0-1.noarch is not what its repository says", "anew", id="tampered RPM"),
    pytest.param(change_metadata, "repository tiny: repomd.xml is not what its key signed", "stale", id="stale repomd"),
    pytest.param(drop_signature, "repository tiny: repomd.xml has no signature", "gpgcheck", id="no signature"),
    pytest.param(drop_metadata, "repository tiny cannot be reached", "address", id="no metadata"),
]


@pytest.mark.parametrize(("damage", "brief", "hint"), DAMAGES)
def test_a_damaged_repository_is_not_installed_from(
    stage: Stage, tiny: Path, trees: Path, locked: tuple[LockedPackage, ...],
    damage: Callable[[Path], None], brief: str, hint: str,
) -> None:  # fmt: skip
    repository = rpms.copy(tiny / "repository", trees / "repository")
    damage(repository)
    with pytest.raises(BuilderError) as error:
        stage("packages.run", install_spec(locked, MADE), place=trees / "run", inputs=made(repository))
    assert brief in error.value.brief
    assert hint in error.value.hint
    assert not (trees / "run/output/layer.tar").exists()


@pytest.mark.parametrize(("damage", "brief", "hint"), DAMAGES)
def test_a_damaged_repository_is_not_locked(
    stage: Stage, tiny: Path, trees: Path, damage: Callable[[Path], None], brief: str, hint: str
) -> None:
    repository = rpms.copy(tiny / "repository", trees / "repository")
    damage(repository)
    with pytest.raises(BuilderError) as error:
        stage("packages.resolve", ASKED, place=trees / "run", inputs=made(repository))
    assert brief in error.value.brief
    assert hint in error.value.hint


def test_metadata_signed_by_another_key(stage: Stage, tiny: Path, trees: Path) -> None:
    repository = rpms.copy(tiny / "repository", trees / "repository")
    public = (repository / "signing-key.asc").read_bytes()
    rpms.sign_index(repository, rpms.make_key(trees / "other", "other"))
    (repository / "signing-key.asc").write_bytes(public)
    with pytest.raises(BuilderError, match=r"repomd\.xml is not what its key signed"):
        stage("packages.resolve", ASKED, place=trees / "run", inputs=made(repository))


def test_a_mirror_with_signed_packages(
    stage: Stage, tiny: Path, trees: Path, signed: Path, locked: tuple[LockedPackage, ...]
) -> None:
    source, keys = mirror(f"file://{signed}", tiny / "key" / "public.asc")
    spec = install_spec(locked, source)
    first = stage("packages.run", spec, place=trees / "run", sources=keys)
    assert first == stage("packages.run", spec, place=trees / "again", sources=keys)


@pytest.fixture
def served(signed: Path) -> Iterator[str]:
    """The signed mirror over HTTP."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(signed))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_a_mirror_over_the_network(stage: Stage, tiny: Path, trees: Path, served: str) -> None:
    source, keys = mirror(served, tiny / "key" / "public.asc")
    asked = replace(ASKED, repositories=(source,))
    answer = stage("packages.resolve", asked, place=trees / "run", sources=keys)
    packages = tuple(LockedPackage(**each) for each in answer["packages"])
    assert [package.name for package in packages] == ["base", "hello"]
    result = stage("packages.run", install_spec(packages, source), place=trees / "install", sources=keys)
    assert result["packages"] == 2
    assert list((trees / "run/cache").rglob("hello-1.0-1.noarch.rpm"))


@pytest.mark.parametrize(
    ("key", "sign", "brief", "hint"),
    [
        pytest.param("other", True, "hello-1.0-1.noarch", "distribution.repositories.keys", id="wrong key"),
        pytest.param("key", False, "base-1.0-1.noarch.rpm is not signed", "signed packages", id="not signed"),
    ],
)
def test_packages_without_the_right_signature(
    stage: Stage, tiny: Path, trees: Path, signed: Path, locked: tuple[LockedPackage, ...],
    key: str, sign: bool, brief: str, hint: str,
) -> None:  # fmt: skip
    home = rpms.make_key(trees / "other", "other") if key == "other" else tiny / "key"
    repository = signed if sign else tiny / "repository"
    source, keys = mirror(f"file://{repository}", home / "public.asc")
    with pytest.raises(BuilderError) as error:
        stage("packages.run", install_spec(locked, source), place=trees / "run", sources=keys)
    assert re.search(brief.replace("hello", "(hello|base)").replace("base-1", "(hello|base)-1"), error.value.brief)
    assert hint in error.value.hint


def test_a_package_changed_together_with_its_metadata(
    stage: Stage, tiny: Path, trees: Path, signed: Path, locked: tuple[LockedPackage, ...]
) -> None:
    repository = rpms.copy(signed, trees / "repository")
    flip(hello(repository))
    rpms.index(repository)
    source, keys = mirror(f"file://{repository}", tiny / "key" / "public.asc")
    with pytest.raises(BuilderError, match=r"hello-1\.0-1\.noarch\.rpm is damaged or was changed"):
        stage("packages.run", install_spec(locked, source), place=trees / "run", sources=keys)


def test_a_mirror_that_is_out_of_reach(stage: Stage, tiny: Path, trees: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/fedora"
        source, keys = mirror(address, tiny / "key" / "public.asc")
        with pytest.raises(BuilderError) as error:
            stage("packages.resolve", replace(ASKED, repositories=(source,)), place=trees / "run", sources=keys)
    assert error.value.brief == f"repository tiny cannot be reached ({address})"
    assert "https_proxy" in error.value.hint
    assert "Connection refused" in error.value.detail or "Couldn't connect" in error.value.detail


def test_a_directory_that_is_not_there(stage: Stage, tiny: Path, trees: Path) -> None:
    source, keys = mirror("file:///nowhere/fedora/$releasever", tiny / "key" / "public.asc")
    with pytest.raises(BuilderError, match="/nowhere/fedora is not a directory"):
        stage("packages.resolve", replace(ASKED, repositories=(source,)), place=trees / "run", sources=keys)


def test_a_key_file_that_changed(stage: Stage, tiny: Path, trees: Path, signed: Path) -> None:
    key = trees / "key.asc"
    key.write_bytes((tiny / "key" / "public.asc").read_bytes())
    source, keys = mirror(f"file://{signed}", key)
    key.write_bytes(b"another")
    with pytest.raises(BuilderError, match=r"key\.asc changed"):
        stage("packages.resolve", replace(ASKED, repositories=(source,)), place=trees / "run", sources=keys)


def test_a_key_that_is_not_the_pinned_one(stage: Stage, tiny: Path, trees: Path, signed: Path) -> None:
    source, keys = mirror(f"file://{signed}", tiny / "key" / "public.asc", fingerprints=("0" * 40,))
    with pytest.raises(BuilderError, match="is not the key that was pinned"):
        stage("packages.resolve", replace(ASKED, repositories=(source,)), place=trees / "run", sources=keys)
