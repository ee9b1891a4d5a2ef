"""Files that stages ship are part of their keys."""

from dataclasses import replace
from pathlib import Path

import pytest

from builder import stages
from builder.stages import data
from tests.support.plans import MADE, planned, prepared

STAGES = Path(stages.__file__).parent


def test_every_data_file_counts_by_name_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "__file__", str(tmp_path / "data.py"))
    place = tmp_path / "configure"
    place.mkdir()

    def digest() -> str:
        data.data_digest.cache_clear()
        return data.data_digest("configure")

    seen = [digest()]
    for name, text in (("a.service", "one"), ("a.service", "two"), ("fetch.sh", "")):
        (place / name).write_text(text)
        seen.append(digest())
    (place / "fetch.sh").rename(place / "get.sh")
    seen.append(digest())
    assert len(set(seen)) == len(seen)
    (place / "run.py").write_text("code")
    (place / "__pycache__").mkdir()
    (place / ".a.service.swp").write_text("an editor's")
    assert digest() == seen[-1]
    data.data_digest.cache_clear()


@pytest.mark.parametrize("stage", ["configure", "image"])
def test_a_changed_file_moves_the_stage_and_what_is_made_from_it(stage: str) -> None:
    ready = prepared("quickstart")
    before, after = (planned(ready, made=made).steps for made in (MADE, replace(MADE, **{stage: "0" * 64})))
    moved = {old.stage for old, new in zip(before, after, strict=True) if old.key != new.key}
    assert moved == {"configure", "image", "verify", "boot", "bundle", "upload", "register"} - (
        {"configure"} if stage == "image" else set()
    )


def test_no_other_stage_ships_files() -> None:
    """Except `repository`, which has a digest of its own."""
    found = {path.parent.name for path in STAGES.glob("*/*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert found == {"configure", "image", "repository"}
