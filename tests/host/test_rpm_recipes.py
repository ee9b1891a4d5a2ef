"""Every RPM recipe with real dnf, from a repository that looks like its release: the command line, a mirror, a lock."""

import json
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest

from builder.catalog.mirrors import mirror_variable
from tests.support.plans import ROOT, prepared
from tests.support.releases import RELEASES, make_release
from tests.support.tiny import Bench

pytestmark = pytest.mark.host
DATABASES = {"amazon-linux-2023": "var/lib/rpm", "centos-stream-9": "var/lib/rpm", "rocky-9": "var/lib/rpm"}


@pytest.mark.parametrize("name", sorted(RELEASES))
def test_a_recipe_is_locked_and_installed(name: str, tiny: Path, trees: Path) -> None:
    recipe, kernel = prepared(name).loaded.recipe, prepared(name).loaded.kernel
    place = trees / "release"
    place.mkdir(mode=0o755)
    mirrors = make_release(name, recipe, kernel, tiny, place)
    environment = {mirror_variable(each): f"file://{path}" for each, path in mirrors.items()}
    bench = Bench(path=trees / "bench", name=name)
    shutil.copytree(ROOT / "kernels", bench.path / "kernels")
    (bench.path / "recipes" / name).mkdir(parents=True)
    shutil.copy(ROOT / f"recipes/{name}.toml", bench.path / "recipes")
    for key in {key for each in recipe.distribution.repositories for key in each.keys}:
        # The distribution's own key cannot have signed these.
        shutil.copy(tiny / "key/public.asc", bench.path / "recipes" / name / key)

    locked = bench.run("lock", bench.recipe, **environment)
    assert locked.returncode == 0
    assert [line for line in locked.stderr.splitlines() if line.startswith("mirror: ")] == [
        f"mirror: {each} is taken from file://{path} ({mirror_variable(each)})" for each, path in mirrors.items()
    ]
    architecture = json.loads(bench.recipe.with_suffix(".lock").read_text())["architectures"]["x86_64"]
    installed = {each["name"] for each in architecture["packages"]}
    assert installed >= {each for each in recipe.distribution.packages if not each.startswith("@")}
    assert not installed & set(recipe.distribution.excludes)
    assert {each["name"] for each in architecture["kernel_packages"]} >= set(kernel.packages["x86_64"]) - installed
    loader = set(kernel.packages_for("hvm", "x86_64")) - installed
    assert {each["name"] for each in architecture["hvm_packages"]} == loader
    assert {each["repository"] for each in architecture["packages"]} == set(mirrors)
    assert {each for each, _ in architecture["metadata"]} == set(mirrors)

    built = bench.run("build", bench.recipe, "--until", "packages", **environment)
    assert built.returncode == 0
    database = DATABASES.get(name, "usr/lib/sysimage/rpm")
    with tarfile.open(Path(built.stdout.strip()) / "layer.tar") as layer:
        files = {each.name for each in layer.getmembers() if each.isfile()}
        assert {each for each in files if "rpmdb" in each} == {f"{database}/rpmdb.sqlite"}
        said = layer.extractfile("usr/lib/os-release")
        assert said is not None
        assert said.read().decode().startswith(f'ID="{RELEASES[name].identity}"\n')
        written = layer.extractfile(f"{database}/rpmdb.sqlite")
        assert written is not None
        (trees / "rpmdb.sqlite").write_bytes(written.read())
    with sqlite3.connect(trees / "rpmdb.sqlite") as opened:
        # rpm's index of names; the imported key is a package as well.
        assert installed <= {each for (each,) in opened.execute("select key from Name")}

    again = bench.run("build", bench.recipe, "--until", "packages")
    assert again.returncode == 0
    assert "nothing to do" in again.stderr  # where packages came from is in no key
