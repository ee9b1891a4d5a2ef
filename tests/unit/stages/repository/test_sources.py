"""apt's private configuration, and what its words mean."""

import hashlib
from pathlib import Path

import pytest

from builder.errors import HostError, RecipeError
from builder.stages.repository import sources
from builder.stages.values import SourcePackage


def test_configuration() -> None:
    text = sources.format_configuration("i386", Path("/a b/i386"))
    assert 'APT::Architecture "i386";\n#clear APT::Architectures;\nAPT::Architectures { "i386"; };' in text
    assert 'Dir::State::status "/a b/i386/status";' in text
    assert "http" not in text


def test_architectures() -> None:
    assert [sources.debian_architecture(each) for each in ("x86_64", "i386")] == ["amd64", "i386"]
    with pytest.raises(RecipeError, match="arm64 is not an architecture of the quickstart distribution"):
        sources.debian_architecture("arm64")


def test_quotation_mark(tmp_path: Path) -> None:
    with (
        pytest.raises(HostError, match="apt cannot use a path with a quotation mark"),
        sources.private_apt("amd64", tmp_path / 'a"b'),
    ):
        pass


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
