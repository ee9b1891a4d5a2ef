"""The publish stage as a build runs it, and what the next plan observes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.canonical import to_plain
from builder.observe import Region
from builder.stages.contract import Input, StageContext
from builder.stages.publish.run import run
from builder.stages.publish.spec import Destination, PublishSpec
from tests.support.published import ACCOUNT, Place, a_place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with a_place(tmp_path_factory.mktemp("images-stage")) as made:
        yield made


def test_run_then_observed(place: Place, tmp_path: Path) -> None:
    source = place.register()
    destinations = tuple(Destination(region=each, latest=(f"/{source.name}",)) for each in ("local", "local-2"))
    spec = PublishSpec(partition="aws", account=ACCOUNT, region="local", endpoint="x", destinations=destinations)
    region = Region(name="local", surroundings=place.surroundings)
    found, why = region.published(to_plain(spec), source.id)
    assert (found, why.split("; ")[0]) == (None, f"local: parameter /{source.name}: missing")

    heard: list[str] = []
    context = StageContext(
        key="k",
        inputs=(Input(name="register", path=tmp_path, result={"image_id": source.id}),),
        output=tmp_path,
        scratch=tmp_path,
        surroundings=place.surroundings,
        progress=lambda what, done, total, unit="bytes": heard.append(f"{what} {done}"),
    )
    result = run(spec, context)
    (copied,) = place.copies(source, "local-2")
    assert result["images"] == {"local": source.id, "local-2": copied["ImageId"]}
    assert heard[-1] == "copy to local-2: available 100"
    assert region.published(to_plain(spec), source.id) == (result, "")
