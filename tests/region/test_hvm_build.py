"""The quickstart as a pv and as an HVM AMI of one build, and the night after: minutes, and Debian's archive."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from builder.region import control
from tests.support.regions import client
from tests.support.shipped import shipped
from tests.support.tiny import Bench

pytestmark = [pytest.mark.host, pytest.mark.slow]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFPxcVXR7Hk6sVGXaEhMBd9h9sWKz1LXKmVtjB0hWjTL author@desk"
BOTH = ("--virtualization", "pv", "--virtualization", "hvm")


@pytest.fixture
def bench() -> Iterator[Bench]:
    with shipped("quickstart", room="hvm", patience=1200.0) as made:
        yield made


def test_both_from_the_same_layers_and_then_only_what_changed(bench: Bench) -> None:
    first = built(bench)
    assert virtualizations(bench, first) == ["paravirtual", "hvm"]
    ran = [each["label"] for each in first["steps"] if each["action"] == "run"]
    shared = ["packages"]  # and the repository, which locking made
    of_each = ["kernel", "configure", "image", "verify"]
    assert sorted(ran) == sorted([*shared, *of_each, *of_each, "bundle", "upload", "register", "snapshot", "register"])

    again = built(bench)
    assert {each["action"] for each in again["steps"]} <= {"reuse", "skip"}
    assert again["results"] == first["results"]

    text = bench.recipe.read_text()
    bench.recipe.write_text(text.replace("authorized_keys = []", f'authorized_keys = ["{KEY}"]'))
    next_night = built(bench, "--virtualization", "hvm")
    key = next(each["key"] for each in next_night["steps"] if each["label"] == "snapshot")
    sent = json.loads((bench.store / "objects" / key[:2] / key / "object.json").read_text())["result"]
    assert sent["parent"] == first["images"][1]["snapshot_id"]
    assert 0 < sent["blocks_sent"] <= sent["blocks_total"] // 25  # 7 of 613 when this was written

    # What was put together of two snapshots is the disk that was built.
    back = bench.path / "back.raw"
    assert bench.run("snapshot", "download", next_night["results"][0], back).returncode == 0
    image = next(each["key"] for each in next_night["steps"] if each["label"] == "image")
    subprocess.run(["cmp", bench.store / "objects" / image[:2] / image / "disk.raw", back], check=True)


def built(bench: Bench, *more: str) -> dict[str, Any]:
    done = bench.run("build", bench.recipe, *(more or BOTH), "--json")
    assert done.returncode == 0
    (recipe,) = json.loads(done.stdout)["recipes"]
    return dict(recipe)


def virtualizations(bench: Bench, report: dict[str, Any]) -> list[str]:
    status = control.start(bench.path / "state/ami-factory/region")
    ec2 = client("ec2", status.endpoint_url)
    images = ec2.describe_images(ImageIds=report["results"])["Images"]
    by_id = {each["ImageId"]: each for each in images}
    return [by_id[name]["VirtualizationType"] for name in report["results"]]
