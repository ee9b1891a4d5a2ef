"""The verbs of images about a recipe: what it says is what they hold the regions against."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from builder.canonical import from_plain
from builder.factory import Factory, Options, Selection
from builder.lock import asks, load_lock, write_lock
from builder.prepared import repacked
from builder.stages.register.run import request
from builder.stages.register.spec import RegisterSpec
from tests.support.plans import GOLDEN, ROOT, Silent
from tests.support.published import FRIEND, Place, a_place
from tests.support.snapshots import block, snapshot

DAY = f"{datetime.now(UTC) + timedelta(days=100):%Y-%m-%d}"
TABLE = f"""
[publish]
regions = ["local-2"]
accounts = ["{FRIEND}"]
parameters = ["/images/{{{{ name }}}}/{{{{ version }}}}"]
latest = ["/images/{{{{ name }}}}/latest"]
deprecate_on = "{DAY}"
"""


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with a_place(tmp_path_factory.mktemp("images-recipe")) as made:
        yield made


def test_from_copy_to_promotion(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    recipe = place.path / "quickstart.toml"
    text = (ROOT / "recipes/quickstart.toml").read_text()
    recipe.write_text(text.replace('virtualization = ["pv"]', 'virtualization = ["hvm"]') + TABLE)
    factory = Factory(options=Options(), listener=Silent(), say=lambda _: None)
    ready = factory.prepare(recipe)
    lock = load_lock(GOLDEN / "locks/quickstart.lock")
    assert lock is not None
    wants = asks(ready.loaded.recipe, ready.loaded.kernel, ready.sources.keys, repacked(ready.loaded.recipe))
    write_lock(ready.lock_path, replace(lock, asks=wants))

    done = place.run("images", "validate", str(recipe))
    assert (done.returncode, "build it first: ami-factory build" in done.stderr) == (4, True), done.stderr

    (register,) = (
        each for each in factory.plan(factory.prepare(recipe), Selection()).steps if each.stage == "register"
    )
    spec: RegisterSpec = from_plain(RegisterSpec, dict(register.spec))
    made = snapshot(place.client("ebs"), {0: block(1)})
    image_id = place.client("ec2").register_image(**request(spec, register.key, snapshot=made))["ImageId"]

    found = place.document("images", "validate", str(recipe), code=1)["images"][0]
    whats = [(each["region"], each["what"]) for each in found["differences"]]
    assert set(whats) == {
        ("local", "deprecation"), ("local", "sharing"), ("local", "parameter"), ("local-2", "image")
    }  # fmt: skip

    refused = place.run("images", "promote", str(recipe))
    assert (refused.returncode, "is not promoted" in refused.stderr) == (1, True), refused.stderr
    (copies,) = place.document("images", "copy", str(recipe))["copies"]
    assert [each["how"] for each in copies["results"]] == ["source", "copied"]
    place.document("images", "share", str(recipe))
    early = place.run("images", "promote", str(recipe), "--without-gates")
    assert (early.returncode, "deprecation" in early.stderr) == (1, True), early.stderr
    place.document("images", "deprecate", str(recipe), "--on", DAY)
    told = place.document("images", "promote", str(recipe), "--without-gates")
    assert [(each["region"], each["name"], each["latest"]) for each in told["parameters"]] == [
        ("local", "/images/quickstart/1", False),
        ("local-2", "/images/quickstart/1", False),
        ("local", "/images/quickstart/latest", True),
        ("local-2", "/images/quickstart/latest", True),
    ]
    assert place.document("images", "validate", str(recipe))["images"] == [
        {"image_id": image_id, "name": spec.name, "differences": []}
    ]
    planned = place.document("plan", str(recipe))["recipes"][0]["steps"]
    assert [(each["action"], each["reason"]) for each in planned if each["label"] == "publish"] == [
        ("reuse", "all is as it should be in local, local-2")
    ]
