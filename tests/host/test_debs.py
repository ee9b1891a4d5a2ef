"""What a lock of .deb files pins, with real apt and dpkg-deb, from a tiny archive that is signed."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError, Exit
from builder.stages.packages.spec import PackagesSpec, ResolveSpec
from builder.stages.values import DebArchive, LockedDeb
from tests.support import debs

pytestmark = pytest.mark.host


class Place:
    """An archive, its key, and what is asked of it."""

    def __init__(self, base: Path) -> None:
        self.archive = debs.build_archive(base)
        self.key = base / "key.asc"
        self.key.write_text(debs.sign_archive(self.archive, base / "gpg", "tiny"))
        self.digest = hashlib.sha256(self.key.read_bytes()).hexdigest()

    @property
    def sources(self) -> dict[str, str]:
        return {self.digest: str(self.key)}

    @property
    def asked(self) -> ResolveSpec:
        where = DebArchive(
            id="tiny",
            suites=(debs.SUITE,),
            components=("main",),
            baseurl=f"file://{self.archive}",
            keys=(self.digest,),
        )
        return ResolveSpec(
            architecture="x86_64",
            release="tiny",
            repositories=(),
            packages=("hello",),
            kernel_packages=("linux",),
            excludes=(),
            archives=(where,),
        )


@pytest.fixture
def place(trees: Path) -> Place:
    return Place(trees)


def test_the_lock_pins_what_the_archive_has(stage: Callable[..., Any], place: Place, trees: Path) -> None:
    answer = stage("packages.resolve", place.asked, place=trees / "resolve", sources=place.sources)
    names = {group: [each["name"] for each in found] for group, found in answer.items()}
    assert names == {
        "packages": ["base", "hello", "hello-data", "usr-is-merged"],
        "kernel_packages": ["initrd", "linux"],
        "hvm_packages": [],
    }
    data = (place.archive / "pool/hello.deb").read_bytes()
    assert answer["packages"][1] == {
        "name": "hello",
        "version": "2:1.0-1",
        "architecture": "all",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "build_time": debs.EPOCH,
    }


@pytest.mark.parametrize(
    ("change", "brief"),
    [
        pytest.param({"packages": ("helo",)}, "no archive of the recipe has helo", id="unknown package"),
        pytest.param({"kernel_packages": ("linus",)}, "no archive of the recipe has linus", id="unknown kernel"),
        pytest.param({"excludes": ("hello",)}, "hello is in distribution.excludes", id="excluded"),
        pytest.param({"packages": ("broken",)}, "apt cannot choose packages for broken", id="unmet"),
    ],
)
def test_what_cannot_be_resolved(
    stage: Callable[..., Any], place: Place, trees: Path, change: dict[str, Any], brief: str
) -> None:
    with pytest.raises(BuilderError) as error:
        stage("packages.resolve", replace(place.asked, **change), place=trees / "resolve", sources=place.sources)
    assert brief in error.value.brief


def test_a_suite_that_is_not_there(stage: Callable[..., Any], place: Place, trees: Path) -> None:
    (where,) = place.asked.archives
    asked = replace(place.asked, archives=(replace(where, suites=("huge",)),))
    with pytest.raises(BuilderError) as error:
        stage("packages.resolve", asked, place=trees / "resolve", sources=place.sources)
    assert "there is no suite huge" in error.value.brief
    assert error.value.exit == Exit.USAGE


def test_signed_by_another_key(stage: Callable[..., Any], place: Place, trees: Path) -> None:
    debs.sign_archive(place.archive, trees / "other", "other")
    with pytest.raises(BuilderError, match="is not signed by one of its keys"):
        stage("packages.resolve", place.asked, place=trees / "resolve", sources=place.sources)


def test_a_version_that_the_archive_no_longer_has(stage: Callable[..., Any], place: Place, trees: Path) -> None:
    gone = LockedDeb(name="hello", version="0.9", architecture="all", sha256="0" * 64, size=1, build_time=1)
    spec = PackagesSpec(
        architecture="x86_64",
        release="tiny",
        repositories=(),
        packages=(),
        source_epoch=1,
        debs=(gone,),
        archives=place.asked.archives,
    )
    with pytest.raises(BuilderError) as error:
        stage("packages.run", spec, place=trees / "run", sources=place.sources)
    assert error.value.brief == "the archive no longer has hello 0.9 as it is locked"
    assert error.value.hint == "run: ami-factory lock RECIPE --update"


def test_an_archive_that_this_machine_does_not_know(stage: Callable[..., Any], place: Place, trees: Path) -> None:
    (where,) = place.asked.archives
    asked = replace(place.asked, archives=(replace(where, baseurl="", archive="Nowhere"),))
    with pytest.raises(BuilderError) as error:
        stage("packages.resolve", asked, place=trees / "resolve", sources=place.sources)
    assert error.value.brief == 'distribution.repositories tiny: this machine\'s apt knows no archive "Nowhere"'
    assert "AMI_FACTORY_MIRROR_TINY=ADDRESS" in error.value.hint
    assert error.value.exit == Exit.HOST
