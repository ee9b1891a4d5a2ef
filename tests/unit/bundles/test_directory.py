from pathlib import Path

import pytest

from builder.bundles.directory import read_manifest_file
from builder.errors import RecipeError
from builder.formats.bundle_manifest import SIZE_LIMIT, ManifestError
from builder.formats.manifest_reader import read_manifest


def test_of_a_hundred_megabytes_little_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.manifest.xml"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    data = read_manifest_file(path)
    assert len(data) == SIZE_LIMIT + 1
    with pytest.raises(ManifestError, match="more than"):
        read_manifest(data)


@pytest.mark.parametrize("name", ["gone.manifest.xml", "."])
def test_a_manifest_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=r"the manifest .* cannot be read: (No such file|Is a directory)"):
        read_manifest_file(tmp_path / name)
