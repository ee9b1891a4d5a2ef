"""Mirrors that lie, over HTTP: of sizes and digests, of what is old, without an end. Nothing of theirs is installed."""

import http.server
import re
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
Stage = Callable[..., Any]
PACKAGE = "hello-1.0-1.noarch.rpm"


class Liar(http.server.SimpleHTTPRequestHandler):
    """Serves a directory, and what `answers` has for a path instead: (body, length that is announced)."""

    answers: dict[str, tuple[bytes, int]]

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name not in self.answers:
            super().do_GET()
            return
        body, length = self.answers[name]
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def honest(tiny: Path) -> Path:
    """Packages signed, metadata not: what most mirrors are."""
    repository = rpms.copy(tiny / "repository", tiny / "honest")
    rpms.sign_rpms(repository / "packages", tiny / "key")
    (repository / "repodata" / "repomd.xml.asc").unlink()
    return rpms.index(repository)


class Mirror:
    """A copy of the honest repository that a test may spoil, its address, and how the stages see it."""

    def __init__(self, repository: Path, address: str, answers: dict[str, tuple[bytes, int]], key: Path) -> None:
        self.repository, self.answers = repository, answers
        self.keys = {rpms.sha256(key): str(key)}
        self.source = PackageSource(id="tiny", baseurl=address, keys=tuple(self.keys))

    def lock(self, stage: Stage, place: Path) -> tuple[LockedPackage, ...]:
        asked = ResolveSpec(
            architecture="x86_64", release="1", repositories=(self.source,), packages=("hello",), kernel_packages=(),
            excludes=(),
        )  # fmt: skip
        answer = stage("packages.resolve", asked, place=place, sources=self.keys)
        return tuple(LockedPackage(**each) for each in answer["packages"])

    def install(self, stage: Stage, place: Path, packages: tuple[LockedPackage, ...]) -> Any:
        spec = PackagesSpec(
            architecture="x86_64", release="1", repositories=(self.source,), packages=packages,
            source_epoch=1_700_000_000,
        )  # fmt: skip
        return stage("packages.run", spec, place=place, sources=self.keys)


@pytest.fixture
def mirror(honest: Path, tiny: Path, trees: Path) -> Iterator[Mirror]:
    repository = rpms.copy(honest, trees / "mirror")
    answers: dict[str, tuple[bytes, int]] = {}
    handler = type("Handler", (Liar,), {"answers": answers})

    def serve(*arguments: Any) -> Any:
        return handler(*arguments, directory=str(repository))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Mirror(repository, f"http://127.0.0.1:{server.server_address[1]}/", answers, tiny / "key/public.asc")
        server.shutdown()


def smaller_in_metadata(mirror: Mirror) -> None:
    rpms.rewrite_primary(mirror.repository, lambda text: re.sub(r'(<size package=")\d+', r"\g<1>64", text))


def other_digest_in_metadata(mirror: Mirror) -> None:
    rpms.rewrite_primary(
        mirror.repository,
        lambda text: re.sub(r'(<checksum type="sha256" pkgid="YES">)[^<]*', rf"\g<1>{'0' * 64}", text),
    )


def another_body_of_equal_size(mirror: Mirror) -> None:
    data = bytearray((mirror.repository / "packages" / PACKAGE).read_bytes())
    data[-20] ^= 0xFF
    mirror.answers[PACKAGE] = (bytes(data), len(data))


def more_than_was_said(mirror: Mirror) -> None:
    data = (mirror.repository / "packages" / PACKAGE).read_bytes() + b"\0" * 1_000_000
    mirror.answers[PACKAGE] = (data, len(data))


def less_than_was_announced(mirror: Mirror) -> None:
    data = (mirror.repository / "packages" / PACKAGE).read_bytes()
    mirror.answers[PACKAGE] = (data[:100], len(data))


def metadata_of_another_digest(mirror: Mirror) -> None:
    data = bytearray((mirror.repository / "repodata/primary.xml.gz").read_bytes())
    data[-20] ^= 0xFF
    mirror.answers["primary.xml.gz"] = (bytes(data), len(data))


def metadata_without_an_end(mirror: Mirror) -> None:
    data = (mirror.repository / "repodata/primary.xml.gz").read_bytes() + b"\0" * 5_000_000
    mirror.answers["primary.xml.gz"] = (data, len(data))


def metadata_that_are_none(mirror: Mirror) -> None:
    mirror.answers["repomd.xml"] = (b"<html>please log in</html>", 26)


SOME = r"(base|hello)-1\.0-1\.noarch\.rpm"
DIGEST = f"{SOME} is not what its repository says: its checksum differs"
LENGTH = rf"{SOME} is not what its repository says: \d+ bytes instead of \d+"


@pytest.mark.parametrize(
    ("lie", "brief"),
    [
        pytest.param(each, brief, id=each.__name__)
        for each, brief in (
            (smaller_in_metadata, LENGTH),
            (other_digest_in_metadata, DIGEST),
            (another_body_of_equal_size, DIGEST),
            (more_than_was_said, LENGTH),
            (less_than_was_announced, rf"(packages/)?{PACKAGE} cannot be downloaded from any mirror"),
        )
    ],
)
def test_a_package_that_is_not_what_was_said(
    stage: Stage, trees: Path, mirror: Mirror, lie: Callable[[Mirror], None], brief: str
) -> None:
    packages = mirror.lock(stage, trees / "lock")
    lie(mirror)
    with pytest.raises(BuilderError) as when_locked:
        mirror.lock(stage, trees / "again")
    with pytest.raises(BuilderError) as when_installed:
        mirror.install(stage, trees / "install", packages)
    for error in (when_locked.value, when_installed.value):
        # The library and the command line name a package each in its own way.
        assert re.fullmatch(brief.replace(r"\.rpm", ".rpm").replace(".rpm", r"(\.rpm)?"), error.brief)
        assert "AMI_FACTORY_MIRROR_" in error.hint
    assert not (trees / "install/output/layer.tar").exists()


@pytest.mark.parametrize(
    ("lie", "brief"),
    [
        pytest.param(each, brief, id=each.__name__)
        for each, brief in (
            (metadata_of_another_digest, "its metadata is not what its repomd.xml says"),
            (metadata_without_an_end, "its metadata is not what its repomd.xml says"),
            (metadata_that_are_none, "what is there is no repository"),
        )
    ],
)
def test_metadata_that_are_not_what_was_said(
    stage: Stage, trees: Path, mirror: Mirror, lie: Callable[[Mirror], None], brief: str
) -> None:
    lie(mirror)
    with pytest.raises(BuilderError) as error:
        mirror.lock(stage, trees / "lock")
    assert error.value.brief == f"repository tiny: {brief} ({mirror.source.baseurl})"
    assert "AMI_FACTORY_MIRROR_TINY" in error.value.hint


def test_old_metadata_that_are_played_again(stage: Stage, trees: Path, mirror: Mirror) -> None:
    """What the lock names is not there any more; the time of the metadata is in the resolver's answer."""
    packages = mirror.lock(stage, trees / "lock")
    newer = tuple(replace(each, version="1.1") if each.name == "hello" else each for each in packages)
    with pytest.raises(BuilderError) as error:
        mirror.install(stage, trees / "install", newer)
    assert error.value.brief == "hello-0:1.1-1.noarch is in the lock, but no longer in the repositories"
    assert "behind" in error.value.hint
