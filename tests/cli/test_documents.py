"""`--json`: one document on stdout, of a kind that has a schema, and that fits it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from builder.plan.step import Plan
from tests.support.desk import Desk, Done
from tests.support.plans import ROOT

SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "builder/cli/schemas").glob("*.json")}

# (kind, exit code, words); KEY stands for the key of an image.
CASES = [
    ("check", 0, ["check", "web.toml"]),
    ("check", 2, ["check", "web.toml", "nothere.toml"]),
    ("lock", 0, ["lock", "web.toml"]),
    ("plan", 0, ["plan", "web.toml"]),
    ("plan", 0, ["plan", "web.toml", "--offline", "--rebuild", "image"]),
    ("build", 0, ["build", "web.toml", "--until", "image"]),
    ("fleet-plan", 0, ["fleet", "plan", "fleet.toml", "--offline"]),
    ("verify", 0, ["verify", "bundle", "--region", "us-east-1"]),
    ("verify", 1, ["verify", "bundle/web.manifest.xml", "--deep"]),
    ("explain", 0, ["explain", "web.toml"]),
    ("explain-fstab", 0, ["explain", "fstab", "--instance-type", "m1.small", "--instance-type", "c3.large"]),
    ("provenance", 0, ["provenance", "KEY"]),
    ("diff", 0, ["diff", "web.toml", "web.toml"]),
    ("store-list", 0, ["store", "list"]),
    ("store-gc", 0, ["store", "gc", "--days", "100000"]),
    ("store-verify", 0, ["store", "verify"]),
    ("region", 4, ["region", "status"]),
    ("error", 1, ["build", "web.toml", "--rebuild", "image", "--require-cached", "image", "--until", "image"]),
    ("error", 2, ["build", "web.toml", "--until", "bundel"]),
    ("error", 2, ["plan", "--ofline", "web.toml"]),
    ("error", 3, ["plan", "web.toml", "--store", "web.toml"]),
    ("error", 4, ["plan", "web.toml", "--region", "us-east-1"]),
    ("error", 4, ["verify", "s3://bucket/web.manifest.xml"]),
]


def held(done: Done) -> dict[str, Any]:
    """The document, which fits the schema of its kind."""
    document = done.document
    jsonschema.validate(document, SCHEMAS[document["kind"]], jsonschema.Draft202012Validator)
    assert list(document)[:2] == ["format", "kind"]
    assert document["format"] == 1
    return document


@pytest.mark.parametrize(
    ("kind", "code", "words"), [pytest.param(*each, id=f"{each[0]} {each[1]}: {' '.join(each[2])}") for each in CASES]
)
def test_document(kind: str, code: int, words: list[str], full_desk: tuple[Desk, Plan]) -> None:
    desk, plan = full_desk
    image = next(each.key for each in plan.steps if each.stage == "image")
    done = desk.run(*(image if word == "KEY" else word for word in words), "--json")
    assert (held(done)["kind"], done.code) == (kind, code), done.stderr


def test_doctor(full_desk: tuple[Desk, Plan]) -> None:
    """What it finds is the machine's; that its document and its exit code agree is ours."""
    done = full_desk[0].run("doctor", "--json")
    findings = held(done)["findings"]
    assert done.code == (3 if any(each["severity"] == "error" for each in findings) else 0)
    assert all(each["remedy"] for each in findings if each["severity"] == "error")


def test_a_region_that_runs(tmp_path: Path) -> None:
    desk = Desk(path=tmp_path)
    desk.set_up()
    try:
        started = held(desk.run("region", "start", "--json"))
        assert (started["kind"], started["running"]) == ("region", True)
        assert held(desk.run("region", "status", "--json")) == started
        assert desk.run("region", "status").stdout == f"{started['endpoint_url']}\n"
        (planned,) = held(desk.run("plan", "web.toml", "--json"))["recipes"]
        assert (planned["region_asked"], planned["preflight"]) == (True, None)
        (planned,) = held(desk.run("plan", "web.toml", "--online", "--json"))["recipes"]
        assert {each["severity"] for each in planned["preflight"]} == {"ok"}
    finally:
        assert desk.run("region", "stop").code == 0
    assert held(desk.run("region", "status", "--json"))["running"] is False


def test_findings_and_an_error_are_one_document(tmp_path: Path) -> None:
    desk = Desk(path=tmp_path)
    desk.set_up()
    desk.run("plan", "web.toml", "--offline")
    plan = desk.plan()
    desk.fill(plan)
    record = desk.store.object_path(plan.steps[0].key) / "object.json"
    record.write_text(record.read_text().replace('"result": {', f'"result": {{"digests": {{"made": "{"0" * 64}"}}'))
    done = desk.run("store", "verify", "--json")
    assert (len(held(done)["damaged"]), done.code) == (1, 1)


def test_every_kind_has_a_case() -> None:
    # In tests/host/test_machine_proof.py, above, in tests/region/test_snapshot.py, and in its
    # test_images_*.py and test_fleet.py.
    elsewhere = {"boot", "doctor", "snapshot-download", "fleet-build"}
    elsewhere |= {f"images-{verb}" for verb in ("copy", "deprecate", "list", "promote", "prune", "share", "validate")}
    assert set(SCHEMAS) == {kind for kind, _, _ in CASES} | elsewhere


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_schemas_are_strict(kind: str) -> None:
    """Every object names all its fields; a field that is new is seen here, and in docs/JSON.md."""
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[kind])
    for each in objects(SCHEMAS[kind]):
        if "properties" in each:
            assert each["additionalProperties"] is False
            assert each["required"] == list(each["properties"])


def objects(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for each in node for found in objects(each)]
    if isinstance(node, dict):
        return [node, *(found for each in node.values() for found in objects(each))]
    return []


def test_the_page_names_every_kind() -> None:
    page = (ROOT / "docs/JSON.md").read_text()
    assert [kind for kind in sorted(SCHEMAS) if f"`{kind}`" not in page] == []
