"""Locks: what is written comes back, and what is no lock is refused with a way out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import RecipeError
from builder.lock import ArchitectureLock, Lock, asks, load_lock, lock_path, write_lock
from tests.support.plans import GOLDEN, prepared

LOCK = GOLDEN / "locks" / "quickstart.lock"


def test_round_trip(tmp_path: Path) -> None:
    lock = load_lock(LOCK)
    assert lock is not None
    write_lock(tmp_path / "r.lock", lock)
    assert (tmp_path / "r.lock").read_bytes() == LOCK.read_bytes()
    assert load_lock(tmp_path / "r.lock") == lock
    assert [each.name for each in tmp_path.iterdir()] == ["r.lock"]


def test_notes_and_emptiness_survive(tmp_path: Path) -> None:
    lock = Lock(
        recipe="r",
        asks="0" * 64,
        architectures={"x86_64": ArchitectureLock(sources=(), packages=(), kernel_packages=(), notes=("grüße",))},
    )
    write_lock(tmp_path / "r.lock", lock)
    assert load_lock(tmp_path / "r.lock") == lock
    assert lock.architectures["x86_64"].source_epoch == 0


def test_the_clock_is_the_newest_package_of_the_architecture() -> None:
    """Of no other one: an architecture more must not rebuild what is there."""
    lock = load_lock(LOCK)
    assert lock is not None
    mine = lock.architectures["x86_64"]
    newest = max((*mine.packages, *mine.kernel_packages), key=lambda each: each.build_time)
    later = replace(newest, name="later", build_time=newest.build_time + 1)
    assert mine.source_epoch == newest.build_time
    assert replace(mine, kernel_packages=(*mine.kernel_packages, later)).source_epoch == newest.build_time + 1


def test_no_lock_is_none(tmp_path: Path) -> None:
    assert load_lock(tmp_path / "r.lock") is None


def test_it_lies_beside_the_recipe() -> None:
    assert lock_path(Path("recipes/web.v2.toml")) == Path("recipes/web.v2.lock")


def table(**changes: Any) -> bytes:
    return json.dumps({**json.loads(LOCK.read_bytes()), **changes}).encode()


def with_package(**changes: Any) -> bytes:
    changed = json.loads(LOCK.read_bytes())
    changed["architectures"]["x86_64"]["packages"][0].update(changes)
    return json.dumps(changed).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "not a lock", id="empty"),
        pytest.param(b'{"format": 1, "rec', "not a lock", id="cut off"),
        pytest.param(b"\xff\xfe", "not a lock", id="not text"),
        pytest.param(b"[]", "damaged", id="a list"),
        pytest.param(b"3", "damaged", id="a number"),
        pytest.param(b"{}", "damaged", id="no format"),
        pytest.param(table(format=2), "made by another version", id="newer"),
        pytest.param(table(architectures=[]), "damaged", id="architectures of another kind"),
        pytest.param(table(architectures={"x86_64": {}}), "damaged", id="an architecture without packages"),
        pytest.param(
            table(architectures={"x86_64": {"sources": [], "packages": [{"name": "a"}], "kernel_packages": []}}),
            "damaged",
            id="a package without a version",
        ),
        pytest.param(
            table(architectures={"x86_64": {"sources": [], "packages": "abc", "kernel_packages": [], "notes": []}}),
            "damaged",
            id="packages of another kind",
        ),
        pytest.param(with_package(build_time="1"), "damaged: ", id="a time that is no number"),
        pytest.param(with_package(size=1.5), "damaged: ", id="half a byte"),
        pytest.param(with_package(epoch=True), "damaged: ", id="an epoch that is true"),
        pytest.param(with_package(name="--installroot=/"), "damaged: ", id="an option for a name"),
        pytest.param(with_package(name="../bash"), "damaged: ", id="a path for a name"),
        pytest.param(with_package(version=""), "damaged: ", id="no version"),
        pytest.param(with_package(name="bash\n"), "damaged: ", id="a line break"),
        pytest.param(b"[" * 100_000, "not a lock", id="deeper than Python goes"),
    ],
)
def test_what_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "r.lock"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_lock(path)
    assert caught.value.brief.startswith(f"{path}: {said}")
    assert caught.value.hint == f"make it anew: ami-factory lock --update {tmp_path}/r.toml"


def test_a_directory_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not a lock"):
        load_lock(tmp_path)


def test_a_directory_that_refuses(tmp_path: Path) -> None:
    lock = load_lock(LOCK)
    assert lock is not None
    with pytest.raises(RecipeError, match="cannot be written"):
        write_lock(tmp_path / "missing" / "r.lock", lock)


def test_a_lock_fits_as_long_as_the_same_is_asked() -> None:
    ready = prepared("quickstart")
    recipe, kernel, keys = ready.loaded.recipe, ready.loaded.kernel, ready.sources.keys
    now = asks(recipe, kernel, keys)

    unrelated = recipe.model_copy(update={"version": "2", "instance_types": ("m1.xlarge",), "timezone": "Asia/Tokyo"})
    assert asks(unrelated, kernel, keys) == now
    more = recipe.distribution.model_copy(update={"packages": (*recipe.distribution.packages, "vim")})
    assert asks(recipe.model_copy(update={"distribution": more}), kernel, keys) != now
    assert asks(recipe.model_copy(update={"architectures": ("x86_64", "i386")}), kernel, keys) != now
    other = kernel.model_copy(update={"packages": {"x86_64": ("linux-image-amd64",)}})
    assert asks(recipe, other, keys) != now
    assert asks(recipe, kernel, {"a.asc": "0" * 64}) != now


def test_a_recipe_says_when_its_lock_no_longer_fits(tmp_path: Path) -> None:
    from builder.factory import Factory, Options
    from builder.prepared import repacked
    from tests.support.plans import ROOT, Silent

    recipe = tmp_path / "web.toml"
    recipe.write_text((ROOT / "recipes/quickstart.toml").read_text())
    factory = Factory(options=Options(store=tmp_path / "store"), listener=Silent(), say=lambda _: None)
    first = factory.prepare(recipe)
    assert (first.lock, first.stale) == (None, False)

    lock = load_lock(LOCK)
    assert lock is not None
    fitting = replace(
        lock, asks=asks(first.loaded.recipe, first.loaded.kernel, first.sources.keys, repacked(first.loaded.recipe))
    )
    write_lock(first.lock_path, fitting)
    assert factory.prepare(recipe).lock == fitting

    first.lock_path.write_text("<<<<<<< a merge that nobody finished")
    with pytest.raises(RecipeError, match="not a lock"):
        factory.prepare(recipe)
    assert factory.prepare(recipe, anew=True).lock is None
    write_lock(first.lock_path, fitting)

    write_lock(first.lock_path, replace(fitting, architectures={}))
    assert factory.prepare(recipe).stale
    write_lock(first.lock_path, fitting)

    recipe.write_text(recipe.read_text().replace('"less",', '"less", "vim",'))
    later = factory.prepare(recipe)
    assert (later.lock, later.stale) == (None, True)
    with pytest.raises(RecipeError, match="its lock no longer fits it") as caught:
        factory.plan(later, _all())
    assert caught.value.hint == f"run: ami-factory lock {recipe}"


def _all() -> Any:
    from builder.factory import Selection

    return Selection()
