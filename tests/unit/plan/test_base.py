"""A recipe that starts from an existing image: its steps, its lock, and what is wrong with one."""

from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import RecipeError
from builder.lock import ArchitectureLock, BaseLock, Lock, asks, load_lock, write_lock
from builder.plan.compile import compile_plan, variants
from builder.plan.step import Plan
from builder.prepared import Prepared, prepare
from builder.stages.values import GuestPackage, Installed
from tests.support.plans import MADE, TARGET

RECIPE = """\
name = "mine"
kernel = "inside"
[base]
image = "/images/web.qcow2"
[[files]]
destination = "/etc/motd"
content = "mine"
"""
NGINX = GuestPackage(name="nginx", version="1.22.1-9", architecture="amd64")
BASE = BaseLock(
    kind="disk",
    format="qcow2",
    pin="a" * 64,
    region="",
    location="",
    os="debian",
    release="12",
    manager="apt",
    source_epoch=1_700_000_000,
    installed=(Installed(name="base-files", version="12.4"), Installed(name="systemd", version="252")),
    packages=(),
    kernel_packages=(),
    hvm_packages=(),
)


def prepared(place: Path, text: str = RECIPE) -> Prepared:
    path = place / "mine.toml"
    path.write_text(text)
    return prepare(path)


def planned(ready: Prepared, base: BaseLock = BASE) -> Plan:
    recipe, kernel = ready.loaded.recipe, ready.loaded.kernel
    locked = ArchitectureLock(sources=(), packages=(), kernel_packages=(), base=base)
    lock = Lock(recipe="mine", asks="", architectures={"x86_64": locked})
    return compile_plan(recipe, kernel, lock, ready.sources, MADE, TARGET, variants(recipe, TARGET))


def test_its_steps(tmp_path: Path) -> None:
    plan = planned(prepared(tmp_path))
    assert [each.label for each in plan.steps][:5] == ["base", "customise.files", "kernel", "configure", "image"]
    base, files, kernel, configure, _ = plan.steps[:5]
    assert (base.inputs, base.sources) == ((), (("a" * 64, "/images/web.qcow2"),))
    assert base.spec == {"kind": "disk", "format": "qcow2", "pin": "a" * 64, "architecture": "x86_64"}
    assert [name for name, _ in kernel.inputs] == ["base", "customise.files"]
    assert kernel.spec["initrd"] == "inside"
    assert files.spec["source_epoch"] == 1_700_000_000
    assert configure.spec["network"]["renderer"] == "networkd"  # by what is installed in the image


def test_where_the_image_lies_is_in_no_key(tmp_path: Path) -> None:
    first = planned(prepared(tmp_path))
    moved = planned(prepared(tmp_path, RECIPE.replace("/images/", "/elsewhere/")))
    assert [each.key for each in moved.steps] == [each.key for each in first.steps]
    other = planned(prepared(tmp_path), replace(BASE, pin="b" * 64))
    assert other.steps[0].key != first.steps[0].key


def test_packages_of_the_images_own_manager(tmp_path: Path) -> None:
    grub = GuestPackage(name="grub-common", version="2.06-13", architecture="amd64")
    base = replace(BASE, packages=(NGINX,), kernel_packages=(NGINX,), hvm_packages=(grub,))
    text = RECIPE.replace('kernel = "inside"', 'kernel = "inside"\nvirtualization = ["pv", "hvm"]')
    text = text.replace("[base]", 'instance_types = ["m1.small", "t3.micro"]\n[base]')
    plan = planned(prepared(tmp_path, text), base)
    assert [each.label for each in plan.steps][:3] == ["base", "guest", "customise.files"]
    assert plan.steps[1].spec["packages"] == [{"name": "nginx", "version": "1.22.1-9", "architecture": "amd64"}]
    pv, hvm = (each for each in plan.steps if each.stage == "kernel")
    assert [each["name"] for each in pv.spec["guest"]] == ["nginx"]
    assert [each["name"] for each in hvm.spec["guest"]] == ["nginx", "grub-common"]
    assert hvm.spec["manager"] == "apt"


def test_what_is_in_the_region_is_where_the_lock_says(tmp_path: Path) -> None:
    text = RECIPE.replace("/images/web.qcow2", "ami-0123456789abcdef0")
    snapshot = "snap-0123456789abcdef0"
    base = replace(BASE, kind="snapshot", format="raw", pin=snapshot, region="local", location=snapshot)
    plan = planned(prepared(tmp_path, text), base)
    assert plan.steps[0].sources == ((snapshot, snapshot),)
    assert plan.steps[0].spec["region"] == "local"


def test_a_lock_comes_back(tmp_path: Path) -> None:
    locked = ArchitectureLock(
        sources=(), packages=(), kernel_packages=(), base=replace(BASE, packages=(NGINX,), location="s3://b/k")
    )
    lock = Lock(recipe="mine", asks="x", architectures={"x86_64": locked})
    write_lock(tmp_path / "mine.lock", lock)
    assert load_lock(tmp_path / "mine.lock") == lock


@pytest.mark.parametrize(
    ("old", "new"),
    [('"name": "nginx"', '"name": "--config=/etc"'), ('"source_epoch": 1700000000', '"source_epoch": "x"')],
)
def test_a_lock_that_somebody_wrote(tmp_path: Path, old: str, new: str) -> None:
    """Names become arguments of package managers."""
    test_a_lock_comes_back(tmp_path)
    text = (tmp_path / "mine.lock").read_text()
    assert old in text
    (tmp_path / "mine.lock").write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match="damaged"):
        load_lock(tmp_path / "mine.lock")


def test_another_image_makes_a_lock_stale(tmp_path: Path) -> None:
    one, other = prepared(tmp_path), prepared(tmp_path, RECIPE.replace("web.qcow2", "web.raw"))
    asked = [asks(each.loaded.recipe, each.loaded.kernel, {}) for each in (one, other)]
    assert asked[0] != asked[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{RECIPE}[distribution]\nrelease = '1'\n", "give [base] or [distribution], not both"),
        (RECIPE.replace('"inside"', '"inside"\narchitectures = ["x86_64", "i386"]'), "an image is of one architecture"),
        (RECIPE.replace("/images/web.qcow2", "https://host/web.qcow2"), "images are fetched from S3 alone"),
        (RECIPE.replace("/images/web.qcow2", "../web.qcow2"), "must be a path below the recipe's own directory"),
        (RECIPE.replace("/images/web.qcow2", "ami-1"), '"ami-1" is no id of an AMI'),
        (RECIPE.replace("[base]", '[base]\nsha256 = "12"'), "64 lower case hex digits"),
        (RECIPE.replace("[base]", '[base]\npackages = ["--config=/x"]'), "the name of a package"),
        (
            (
                'name = "mine"\nkernel = "inside"\n[distribution]\nrelease = "1"\npackages = ["a"]\n'
                '[[distribution.repositories]]\nid = "q"\nrepack = "debian"\n'
            ),
            "it goes with [base]",
        ),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        prepared(tmp_path, text)
    assert message in f"{raised.value.brief}\n{raised.value.detail}"
