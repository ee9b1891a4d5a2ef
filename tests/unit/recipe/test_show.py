import tomllib
from pathlib import Path

import pytest

from builder.recipe.load import load_recipe
from builder.recipe.show import merged_text
from builder.recipe.starter import starter

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests/fixtures/recipes"
GOOD = sorted([*FIXTURES.glob("good-*.toml"), *(ROOT / "recipes").glob("*.toml")])


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_it_means_the_same(path: Path) -> None:
    layer = load_recipe(path).layer
    written = {name: value for name, value in layer.table.items() if name not in ("extends", "include")}
    assert tomllib.loads(merged_text(layer)) == written


def test_where_each_value_is_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.toml").write_text((FIXTURES / "good-small.toml").read_text() + '[register.tags]\n"a b" = "x"\n')
    (tmp_path / "part.toml").write_text('[distribution]\npackages = ["curl"]\n')
    path = tmp_path / "r.toml"
    path.write_text(
        'extends = "base.toml"\ninclude = ["part.toml"]\nname = "r"\n'
        '[[when]]\nif.virtualization = ["hvm"]\ntimezone = "Asia/Tokyo"\n'
    )
    loaded = load_recipe(path).variant(architecture="x86_64", virtualization="hvm", instance_type="t3.micro")
    lines = [" ".join(line.split()) for line in merged_text(loaded.layer).splitlines()]
    assert lines == [
        'name = "r" # r.toml:3',
        'kernel = "quickstart" # base.toml:2',
        'timezone = "Asia/Tokyo" # r.toml:6',
        "",
        "[distribution]",
        'release = "12" # base.toml:5',
        "packages = [",
        '"systemd", # base.toml:6',
        '"curl", # part.toml:2',
        "]",
        "",
        "[[distribution.repositories]] # base.toml:7",
        'id = "quickstart" # base.toml:8',
        'repack = "debian" # base.toml:9',
        "",
        "[register.tags]",
        '"a b" = "x" # base.toml:11',
    ]


def test_a_recipe_starts_on_top_of_another(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(starter("mine", extends="quickstart.toml", parts=("parts/web-server.toml",)))
    loaded = load_recipe(path)
    assert "lighttpd" in loaded.recipe.distribution.packages
    alone = tmp_path / "alone.toml"
    alone.write_text(starter("alone", parts=("parts/web-server.toml",)))
    assert "lighttpd" in load_recipe(alone).recipe.distribution.packages
