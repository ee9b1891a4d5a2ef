"""The statement about an image: what it links, and that it holds no time."""

from pathlib import Path
from typing import Any

from builder.host.packages import required_packages
from builder.provenance.origin import Origin, recall, remember, tools
from builder.provenance.statement import statement
from builder.store.contract import Record


def record(stage: str, **fields: Any) -> Record:
    values = {
        "key": stage[0] * 64,
        "version": 1,
        "spec": {},
        "inputs": {},
        "result": {},
        "created": 1,
        "milliseconds": 2,
    }
    return Record(stage=stage, **{**values, **fields})


ORIGIN = Origin(
    recipe="web", recipe_sha256="1" * 64, lock_sha256="2" * 64, variant="web-x86_64", version="1", tools={"rpm": "4.18"}
)
RPM = {"name": "bash", "epoch": 1, "version": "5", "release": "2", "architecture": "x86_64", "payload_sha256": "3" * 64}
DEB = {"name": "less", "version": "1", "architecture": "amd64", "sha256": "4" * 64}


def test_what_is_linked() -> None:
    image = record("image", inputs={"packages": "p" * 64})
    made_of = [record("packages", spec={"packages": [RPM, RPM]}), record("repository", spec={"sources": [DEB]})]
    made_of.append(record("customise", spec={"files": [{"path": "/etc/motd", "sha256": "5" * 64}]}))
    bundle = record("bundle", result={"manifest": "web.manifest.xml", "digests": {"web.manifest.xml": "6" * 64}})
    ami = record("register", spec={"region": "local", "account": "1"}, result={"image_id": "ami-1"})
    made = statement("d" * 64, image, made_of, [bundle, ami], ORIGIN)
    assert made["subject"] == [
        {"name": "disk.raw", "digest": {"sha256": "d" * 64}},
        {"name": "web.manifest.xml", "digest": {"sha256": "6" * 64}},
    ]
    definition, details = made["predicate"]["buildDefinition"], made["predicate"]["runDetails"]
    assert definition["externalParameters"] == {
        "recipe": {"name": "web", "digest": {"sha256": "1" * 64}},
        "lock": {"digest": {"sha256": "2" * 64}},
        "variant": "web-x86_64",
    }
    assert definition["resolvedDependencies"] == [
        {"name": "bash-1:5-2.x86_64.rpm", "digest": {"sha256": "3" * 64}},
        {"name": "less_1_amd64.deb", "digest": {"sha256": "4" * 64}},
        {"name": "/etc/motd", "digest": {"sha256": "5" * 64}},
    ]
    assert [each["stage"] for each in definition["internalParameters"]["steps"]] == [
        "image", "packages", "repository", "customise", "bundle", "register",
    ]  # fmt: skip
    assert details == {
        "builder": {"id": "https://ami-factory.invalid/builder", "version": {"ami-factory": "1", "rpm": "4.18"}},
        "metadata": {"invocationId": "i" * 64},
        "byproducts": [{"name": "ami-1", "annotations": {"region": "local", "account": "1", "key": "r" * 64}}],
    }


def test_an_image_whose_recipe_nobody_remembers() -> None:
    made = statement("d" * 64, record("image"), [], [], None)
    assert made["predicate"]["buildDefinition"]["externalParameters"] == {}


def test_the_first_origin_is_kept(tmp_path: Path) -> None:
    assert recall(tmp_path, "k") is None
    remember(tmp_path, "k", ORIGIN)
    remember(tmp_path, "k", Origin(recipe="other", recipe_sha256="", lock_sha256="", variant=""))
    assert recall(tmp_path, "k") == ORIGIN
    (tmp_path / "origins/k.json").write_text("damaged")
    assert recall(tmp_path, "k") is None


def test_tools_are_packages_of_the_list() -> None:
    """None on a machine without dpkg."""
    known = {each.name for each in required_packages()}
    assert tools().keys() <= known
