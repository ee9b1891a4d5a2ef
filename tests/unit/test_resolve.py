"""Locking, with the effects given by the test."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError, RecipeError
from builder.lock import BaseLock, Lock, asks
from builder.plan.step import Step
from builder.prepared import prepare
from builder.recipe.model import Base
from builder.resolve import ImageResolver, Resolver, resolve
from builder.stages.guest.spec import GuestResolveSpec
from builder.stages.packages.spec import ResolveSpec
from tests.support.plans import MADE, prepared

KERNEL = ("linux-image-cloud-amd64", "initramfs-tools")
LOADER = ("grub-common", "grub-pc-bin", "grub-efi-amd64-bin")


class Effects:
    """Answers from a lock, and notes what was asked."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.asked: list[Any] = []
        self.answer: dict[str, Any] = {}

    def sources(self, architecture: str, roots: tuple[str, ...]) -> Any:
        self.asked.append(("sources", architecture, roots))
        return self.lock.architectures[architecture].sources, (f"note of {architecture}",)

    def make(self, steps: Iterable[Step]) -> None:
        self.asked.append(("make", [each.label for each in steps]))

    def resolve(
        self, spec: ResolveSpec, inputs: tuple[tuple[str, Step], ...], keys: Mapping[str, str]
    ) -> Mapping[str, Any]:
        self.asked.append(("resolve", spec, [name for name, _ in inputs], dict(keys)))
        known = self.lock.architectures[spec.architecture]
        return {
            "packages": [asdict(each) for each in known.packages],
            "kernel_packages": [asdict(each) for each in known.kernel_packages],
            "hvm_packages": [asdict(each) for each in known.hvm_packages],
            **self.answer,
        }

    @property
    def resolver(self) -> Resolver:
        return Resolver(
            sources=self.sources,
            make=self.make,
            resolve=self.resolve,
            signing_key=lambda: MADE.signing_key,
            definition=lambda: MADE.definition,
        )


def test_a_repacked_distribution_is_made_before_dnf_is_asked() -> None:
    ready = prepared("quickstart")
    assert ready.lock is not None
    recipe = ready.loaded.recipe.model_copy(update={"architectures": ("x86_64", "i386")})
    kernel = ready.loaded.kernel
    effects = Effects(ready.lock)
    made = resolve(recipe, kernel, ready.key_files, ready.sources.keys, effects.resolver)

    assert [each[0] for each in effects.asked] == ["sources", "make", "resolve"] * 2
    assert effects.asked[0] == (
        "sources",
        "x86_64",
        (*recipe.distribution.packages, *KERNEL, *LOADER),
    )
    assert effects.asked[1] == ("make", ["repository.quickstart"])
    asked = effects.asked[2]
    assert asked[1].packages == recipe.distribution.packages
    assert asked[1].kernel_packages == KERNEL
    assert asked[1].hvm_packages == LOADER
    assert asked[2:] == (["repository.quickstart"], {})
    assert made == Lock(
        recipe="quickstart",
        asks=asks(recipe, kernel, ready.sources.keys),
        architectures={
            name: replace(each, notes=(f"note of {name}",)) for name, each in ready.lock.architectures.items()
        },
    )


def test_a_distribution_with_mirrors_needs_nothing_made() -> None:
    ready = prepared("fedora")
    assert ready.lock is not None
    effects = Effects(ready.lock)
    made = resolve(ready.loaded.recipe, ready.loaded.kernel, ready.key_files, ready.sources.keys, effects.resolver)
    assert made.architectures == ready.lock.architectures
    ((kind, spec, inputs, keys),) = effects.asked
    assert (kind, inputs) == ("resolve", [])
    assert spec.excludes == ("plymouth", "linux-firmware")
    digest = ready.sources.keys["RPM-GPG-KEY-fedora-43-primary"]
    assert [each.keys for each in spec.repositories] == [(digest,)] * 2
    assert {each: Path(path).name for each, path in keys.items()} == {digest: "RPM-GPG-KEY-fedora-43-primary"}


def test_an_architecture_that_the_kernel_does_not_have() -> None:
    ready = prepared("fedora")
    assert ready.lock is not None
    recipe = ready.loaded.recipe.model_copy(update={"architectures": ("i386",)})
    with pytest.raises(RecipeError, match="kernel fedora has no packages for i386"):
        resolve(recipe, ready.loaded.kernel, ready.key_files, ready.sources.keys, Effects(ready.lock).resolver)


@pytest.mark.parametrize(
    "answer", [{"packages": [{"name": "bash"}]}, {"kernel_packages": [{"name": "linux", "colour": "red"}]}]
)
def test_an_answer_that_is_none(answer: dict[str, Any]) -> None:
    ready = prepared("fedora")
    assert ready.lock is not None
    effects = Effects(ready.lock)
    effects.answer = answer
    with pytest.raises(BuilderError, match="the package resolver's answer"):
        resolve(ready.loaded.recipe, ready.loaded.kernel, ready.key_files, ready.sources.keys, effects.resolver)


def test_an_existing_image(tmp_path: Path) -> None:
    """Pinned, read, and asked for what its own package manager would add."""
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nkernel = "inside"\n[base]\nimage = "/web.tar"\npackages = ["nginx"]\n')
    ready = prepare(path)
    pinned = {"kind": "tar", "format": "", "pin": "a" * 64, "region": "", "location": ""}
    said = {
        "architecture": "x86_64",
        "os": "debian",
        "release": "12",
        "manager": "apt",
        "source_epoch": 7,
        "installed": [["base-files", "12"]],
    }
    nginx = {"name": "nginx", "version": "1.22", "architecture": "amd64"}
    asked: list[GuestResolveSpec] = []

    def pin(base: Base, architecture: str) -> dict[str, str]:
        assert (base.image, architecture) == ("/web.tar", "x86_64")
        return pinned

    def guest(base: BaseLock, architecture: str, spec: GuestResolveSpec) -> dict[str, Any]:
        asked.append(spec)
        return {"packages": [nginx], "kernel_packages": [], "hvm_packages": []}

    image = ImageResolver(pin=pin, made=lambda base, architecture: said, guest=guest)
    effects = Effects(Lock(recipe="mine", asks="", architectures={}))
    resolver = replace(effects.resolver, image=image)
    locked = resolve(ready.loaded.recipe, ready.loaded.kernel, {}, {}, resolver).architectures["x86_64"]
    assert asked[0].packages == ("nginx",)
    assert locked.base is not None
    assert [each.name for each in locked.base.packages] == ["nginx"]
    assert (locked.source_epoch, locked.installed) == (7, (("base-files", "12"), ("nginx", "1.22")))
    assert locked.notes[0].startswith("packages by the image's own apt: the lock pins their versions, not their bytes")

    said["architecture"] = "i386"
    with pytest.raises(RecipeError, match=r"/web\.tar is a system for i386"):
        resolve(ready.loaded.recipe, ready.loaded.kernel, {}, {}, resolver)


def test_metadata_that_is_played_again_is_refused() -> None:
    """Of the lock that answers the same questions: another release may well be older."""
    ready = prepared("fedora")
    assert ready.lock is not None
    effects = Effects(ready.lock)

    def locked(before: Lock | None, **metadata: int) -> Lock:
        effects.answer = {"metadata": metadata}
        recipe, kernel = ready.loaded.recipe, ready.loaded.kernel
        return resolve(recipe, kernel, ready.key_files, ready.sources.keys, effects.resolver, before=before)

    first = locked(None, updates=1_700_000_000, fedora=1_600_000_000)
    assert first.architectures["x86_64"].metadata == (("fedora", 1_600_000_000), ("updates", 1_700_000_000))
    assert locked(first, updates=1_700_000_001, fedora=1_600_000_000, more=1) is not None
    with pytest.raises(RecipeError) as error:
        locked(first, updates=1_699_999_999, fedora=1_600_000_000)
    assert error.value.brief == (
        "repository updates: its metadata is of 2023-11-14 22:13 UTC, older than what the lock was made of "
        "(2023-11-14 22:13 UTC): the mirror is behind, or somebody plays old metadata again"
    )
    assert "AMI_FACTORY_MIRROR_UPDATES" in error.value.hint
