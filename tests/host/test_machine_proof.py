"""The boot proof, on the quickstart's own image: minutes, and the host's Debian archive."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.support.plans import ROOT
from tests.support.shipped import DOWNLOADED, SAVED_HOST, shipped
from tests.support.tiny import Bench

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.xdist_group("qemu")]

SCHEMA = json.loads((ROOT / "builder/cli/schemas/boot.json").read_text())
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFPxcVXR7Hk6sVGXaEhMBd9h9sWKz1LXKmVtjB0hWjTL author@desk"
COMMON = [
    "multi-user", "units", "architecture", "dhcp", "mount /", "mount /mnt", "swap /dev/xvda3", "host-keys",
    "metadata-key", "key author@desk", "wrong-key", "password", "console", "power-off",
]  # fmt: skip
HVM = [
    "multi-user", "units", "architecture", "dhcp", "mount /", "mount /boot/efi", "mount /mnt", "root-size", "disks",
    "host-keys", "metadata-key", "key author@desk", "wrong-key", "password", "console", "power-off",
]  # fmt: skip


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    # A build, and three boots on a busy machine.
    with shipped("quickstart", room="boot", patience=1800.0, caches=(*DOWNLOADED, SAVED_HOST)) as made:
        made.recipe.write_text(made.recipe.read_text().replace("authorized_keys = []", f'authorized_keys = ["{KEY}"]'))
        yield made


def proved(bench: Bench, what: Path, level: str, *more: str) -> tuple[dict[str, Any], int]:
    """The one proof of a document that fits its schema, and the exit code."""
    done = bench.run("boot", what, "--level", level, "--json", *more)
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    (proof,) = document["proofs"]
    return proof, done.returncode


@pytest.mark.parametrize(
    ("level", "more"),
    [
        pytest.param("direct", [], id="direct"),
        pytest.param("login", ["hypervisor"], id="login"),
        pytest.param("full", ["hypervisor", "restart", "without sda2"], id="full"),
    ],
)
def test_the_quickstart_holds(bench: Bench, level: str, more: list[str]) -> None:
    proof, code = proved(bench, bench.recipe, level)
    assert (proof["reasons"], proof["holds"], code) == ([], True, 0)
    assert sorted(each["id"] for each in proof["checks"]) == sorted([*COMMON, *more])
    assert list((bench.path / "cache/ami-factory/machine/run").iterdir()) == []


def test_a_paravirtual_image_with_partitions(bench: Bench) -> None:
    """Through the hd00 loader, and in plain QEMU; its ephemeral disks are beside the root's. An image tells by its
    table what it is. `--logs` is meant from here, and QEMU runs elsewhere."""
    text = bench.recipe.read_text().replace('name = "quickstart"', 'name = "partitioned"', 1)
    own = bench.recipe.with_name("partitioned.toml")
    own.write_text(text.replace("[distribution]", "[image]\npartitioned = true\n\n[distribution]", 1))
    image = Path(bench.run("build", own, "--until", "image").stdout.strip()) / "disk.raw"
    for what, level, more in ((own, "login", {"hypervisor", "key author@desk"}), (image, "direct", set[str]())):
        proof, code = proved(bench, what, level, "--logs", "logs")
        assert (proof["reasons"], proof["holds"], code) == ([], True, 0)
        expected = {*COMMON, "swap /dev/xvdc"} - {"swap /dev/xvda3", "key author@desk"}
        assert {each["id"] for each in proof["checks"]} == expected | more
    assert sorted(each.name for each in (bench.path / "logs").iterdir()) == [
        "disk-m1.small-x86_64", "partitioned-x86_64-pv-m1.small"
    ]  # fmt: skip


def test_an_hvm_image_holds_with_either_firmware(bench: Bench) -> None:
    """On a type with a disk of the instance store, which the guest makes a file system on."""
    chosen = ("--virtualization", "hvm", "--instance-type", "m5d.large")
    proof, code = proved(bench, bench.recipe, "login", *chosen)
    assert (proof["reasons"], proof["holds"], code) == ([], True, 0)
    expected = [f"{firmware} {each}" for firmware in ("uefi", "bios") for each in HVM]
    assert sorted(each["id"] for each in proof["checks"]) == sorted(expected)


def test_an_image_that_does_not_come_up(bench: Bench, tmp_path: Path) -> None:
    """Its fstab asks for a disk that no instance has: the cause is told, with the lines that say so."""
    found = bench.run("build", bench.recipe, "--until", "image").stdout.strip()
    image, fstab = tmp_path / "broken.img", tmp_path / "fstab"
    subprocess.run(["cp", "--sparse=always", f"{found}/disk.raw", image], check=True)
    fstab.write_text("/dev/xvda1 / ext4 defaults 0 1\n/dev/xvdz /data ext4 defaults,x-systemd.device-timeout=5 0 2\n")
    script = tmp_path / "script"
    script.write_text(f"cd /etc\nrm fstab\nwrite {fstab} fstab\n")
    subprocess.run(["debugfs", "-w", "-f", script, image], check=True, capture_output=True)
    proof, code = proved(bench, image, "login")
    assert (proof["holds"], code) == (False, 1)
    assert "/etc/fstab" in proof["reasons"][0]
    assert any("emergency" in line for line in proof["lines"])
