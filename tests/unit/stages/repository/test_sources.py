"""What a repository is made of, and from where."""

import hashlib
from pathlib import Path

import pytest

from builder.errors import RecipeError
from builder.stages.repository import sources
from builder.stages.values import SourcePackage


def test_architectures() -> None:
    assert [sources.debian_architecture(each) for each in ("x86_64", "i386")] == ["amd64", "i386"]
    with pytest.raises(RecipeError, match="arm64 is not an architecture of the quickstart distribution"):
        sources.debian_architecture("arm64")


def test_nothing_is_asked_of_apt_when_all_is_kept(tmp_path: Path) -> None:
    content = b"not really a package"
    sha256 = hashlib.sha256(content).hexdigest()
    kept = tmp_path / "debs" / f"{sha256}.deb"
    kept.parent.mkdir()
    kept.write_bytes(content)
    source = SourcePackage(name="a", version="1", architecture="amd64", sha256=sha256, size=len(content))

    def progress(what: str, done: int, total: int, unit: str = "bytes") -> None:
        raise AssertionError("nothing is to be fetched")

    found = sources.fetch([source], state=tmp_path / "apt", cache=kept.parent, progress=progress)
    assert (found, (tmp_path / "apt").exists()) == ({"a": kept}, False)
