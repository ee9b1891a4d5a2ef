"""What every verb says, word for word: stdout and stderr apart, and the exit code.

What is not the same at every desk (keys, times, sizes, places) is filtered, see tests/support/desk.py.
"""

import re
import shutil
from pathlib import Path

import pytest

from builder.plan.step import Plan
from tests.support.desk import Desk
from tests.support.golden import hold

HERE = Path(__file__).parent / "transcripts"

# (file, words); KEY stands for the key of the image of m1.small, REGISTER for that of its AMI.
AT_A_FULL_DESK = [
    ("help", ["--help"]),
    ("version", ["--version"]),
    ("check", ["check", "web.toml"]),
    ("check-json", ["check", "web.toml", "--json"]),
    ("check-quiet", ["check", "web.toml", "-q"]),
    ("lock", ["lock", "web.toml"]),
    ("lock-json", ["lock", "web.toml", "--json"]),
    ("plan", ["plan", "web.toml"]),
    ("plan-one", ["plan", "web.toml", "--instance-type", "m1.large", "--offline"]),
    ("plan-rebuild", ["plan", "web.toml", "--until", "image", "--rebuild", "configure"]),
    ("build-until", ["build", "web.toml", "--until", "bundle"]),
    ("build-until-json", ["build", "web.toml", "--until", "bundle", "--json", "--instance-type", "m1.small"]),
    ("build-quiet", ["build", "web.toml", "--until", "image", "-q"]),
    ("verify", ["verify", "bundle", "--region", "us-east-1", "--account", "1234-5678-9012"]),
    ("verify-errors", ["verify", "bundle/web.manifest.xml"]),
    ("verify-json", ["verify", "bundle/web.manifest.xml", "--region", "cn-north-1", "--json"]),
    ("explain", ["explain", "web.toml"]),
    ("explain-stage", ["explain", "web.toml", "image", "--json"]),
    ("explain-fstab", ["explain", "fstab", "--instance-type", "m1.xlarge", "--kernel", "fedora"]),
    ("explain-fstab-json", ["explain", "fstab", "--json"]),
    ("provenance-key", ["provenance", "KEY"]),
    ("provenance-ami", ["provenance", "ami-0123456789abcdef0", "--json"]),
    ("logs", ["logs", "KEY"]),
    ("shell", ["shell", "KEY"]),
    ("store-list", ["store", "list"]),
    ("store-list-json", ["store", "list", "--json"]),
    ("store-verify", ["store", "verify"]),
    ("store-verify-json", ["store", "verify", "--json"]),
    ("region-status", ["region", "status"]),
    ("region-status-json", ["region", "status", "--json"]),
    ("region-stop", ["region", "stop"]),
    ("region-reset", ["region", "reset"]),
    # What a user gets wrong.
    ("wrong-verify-path", ["verify", "./nothere.manifest.xml"]),
    ("wrong-verify-part", ["verify", "bundle/web.part.0"]),
    ("wrong-verify-file", ["verify", "web.toml"]),
    ("wrong-verify-directory", ["verify", "home"]),
    ("wrong-verify-stopped", ["verify", "s3://bucket/web.manifest.xml"]),
    ("wrong-verify-key", ["verify", "bundle", "--private-key", "web.toml"]),
    ("wrong-snapshot", ["snapshot", "download", "vol-0123456789abcdef0", "web.img"]),
    ("wrong-snapshot-place", ["snapshot", "download", "snap-0123456789abcdef0", "nowhere/web.img"]),
    ("wrong-snapshot-stopped", ["snapshot", "download", "snap-0123456789abcdef0", "web.img"]),
    ("wrong-verify-account", ["verify", "bundle", "--account", "12"]),
    ("wrong-nothing", []),
    ("wrong-group-nothing", ["store"]),
    ("wrong-verb", ["biuld", "web.toml"]),
    ("wrong-verb-of-group", ["store", "lst"]),
    ("wrong-option", ["build", "--untill", "image", "web.toml"]),
    ("wrong-option-json", ["plan", "web.toml", "--json", "--ofline"]),
    ("wrong-no-recipe", ["build"]),
    ("wrong-missing-recipe", ["plan", "nothere.toml"]),
    ("wrong-missing-recipe-json", ["plan", "nothere.toml", "--json"]),
    ("wrong-directory", ["check", "home"]),
    ("wrong-stage", ["build", "web.toml", "--until", "bundel"]),
    ("wrong-instance-type", ["plan", "web.toml", "--instance-type", "m1.lrge"]),
    ("wrong-arch", ["plan", "web.toml", "--arch", "i386"]),
    ("wrong-virtualization", ["plan", "web.toml", "--virtualization", "xen"]),
    ("wrong-region", ["plan", "web.toml", "--region", "us-esat-1"]),
    ("wrong-credentials", ["plan", "web.toml", "--region", "us-east-1"]),
    ("wrong-level", ["boot", "web.toml", "--level", "ful"]),
    ("wrong-boot", ["build", "web.toml", "--boot", "ful"]),
    ("wrong-image", ["boot", "nothere.img"]),
    ("wrong-ssh-nothing", ["ssh"]),
    ("wrong-ssh-key", ["ssh", "-i", "nothere.pem", "i-0123456789abcdef0"]),
    ("wrong-ssh-stopped", ["ssh", "i-0123456789abcdef0", "uname", "-m"]),
    ("wrong-store", ["store", "list", "--store", "web.toml"]),
    ("wrong-store-json", ["build", "web.toml", "--store", "web.toml", "--json"]),
    ("wrong-log", ["logs", "feedfeedfeed"]),
    ("wrong-ami", ["provenance", "ami-00000000"]),
    ("wrong-path", ["provenance", "web.toml"]),
    ("diff-equal", ["diff", "web.toml", "web.toml"]),
    ("wrong-diff", ["diff", "KEY", "nothere.img"]),
    ("wrong-diff-ami", ["diff", "KEY", "ami-0123456789abcdef0"]),
    ("fleet-plan", ["fleet", "plan", "fleet.toml", "--offline"]),
    ("wrong-fleet", ["fleet", "plan", "web.toml"]),
    ("wrong-kernel", ["explain", "fstab", "--kernel", "fedra"]),
    ("wrong-number", ["store", "gc", "--days", "many"]),
    ("wrong-new-name", ["recipe", "new", "web.txt"]),
    ("wrong-new-exists", ["recipe", "new", "web.toml"]),
]


@pytest.mark.parametrize(("name", "words"), [pytest.param(name, words, id=name) for name, words in AT_A_FULL_DESK])
def test_transcript(name: str, words: list[str], full_desk: tuple[Desk, Plan], rewrite_golden: bool) -> None:
    desk, plan = full_desk
    image = next(each for each in plan.steps if each.stage == "image")
    # What a build before this one, of another test, remembered of its recipe.
    shutil.rmtree(desk.store.root / "origins", ignore_errors=True)
    done = desk.run(*(image.key[:12] if word == "KEY" else word for word in words))
    hold(f"{name}.txt", desk.told(done, plan, *words), rewrite=rewrite_golden, base=HERE)


def test_every_verb_has_a_transcript(full_desk: tuple[Desk, Plan]) -> None:
    desk, _ = full_desk
    commands = desk.run("--help").stdout.partition("Commands:")[2]
    verbs = set(re.findall(r"^  ([a-z]+) ", commands, re.MULTILINE))
    # Elsewhere: doctor tells of the machine, see test_documents.py; images needs regions, see tests/region; recipe is
    # below.
    assert verbs - {words[0] for _, words in AT_A_FULL_DESK if words} == {"doctor", "images"}


@pytest.mark.parametrize(
    "verb",
    [
        "check", "lock", "plan", "build", "verify", "boot", "explain", "provenance", "diff", "ssh", "shell", "logs",
        "doctor",
        "recipe new", "recipe schema", "recipe show", "store list", "store gc", "store verify",
        "snapshot download", "fleet plan", "fleet build",
        "region start", "region stop", "region status", "region env", "region reset",
    ],
)  # fmt: skip
def test_help(verb: str, full_desk: tuple[Desk, Plan], rewrite_golden: bool) -> None:
    desk, plan = full_desk
    done = desk.run(*verb.split(), "--help")
    name = f"help-{verb.replace(' ', '-')}.txt"
    hold(name, desk.told(done, plan, verb, "--help"), rewrite=rewrite_golden, base=HERE)


def test_an_empty_desk(tmp_path: Path, rewrite_golden: bool) -> None:
    """From no recipe to a plan, and what is said on the way."""
    desk = Desk(path=tmp_path)
    desk.set_up()
    (tmp_path / "web.lock").rename(tmp_path / "later.lock")
    told = ""
    for words in (
        ["plan", "web.toml"],
        ["check", "web.toml"],
        ["store", "list"],
        ["recipe", "new", "mine.toml"],
        ["check", "mine.toml"],
    ):
        told += desk.told(desk.run(*words), Plan(variants=(), steps=(), goals=()), *words)
    (tmp_path / "later.lock").rename(tmp_path / "web.lock")
    desk.run("plan", "web.toml", "--offline")  # makes the identities that keys hold
    plan = desk.plan()
    words = ["plan", "web.toml"]
    told += desk.told(desk.run(*words), plan, *words)
    recipe = tmp_path / "web.toml"
    recipe.write_text(recipe.read_text().replace('"less",', '"less", "vim-minimal",'))
    for words in (["check", "web.toml"], ["plan", "web.toml"]):
        told += desk.told(desk.run(*words), plan, *words)
    hold("from-nothing.txt", told, rewrite=rewrite_golden, base=HERE)


def test_what_changed_is_said(tmp_path: Path, rewrite_golden: bool) -> None:
    """A key more and another script: plan and explain name them."""
    desk = Desk(path=tmp_path)
    desk.set_up()
    desk.run("plan", "web.toml", "--offline")
    desk.fill(desk.plan())
    recipe = tmp_path / "web.toml"
    recipe.write_text(
        recipe.read_text().replace(
            "authorized_keys = []",
            'authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJu1Zt6uDpUnUSrkyzBFuPWDdBrQyEs9KTfLKXYrNBqB me"]',
        )
    )
    plan = desk.plan()
    told = ""
    for words in (
        ["plan", "web.toml", "--offline"],
        ["explain", "web.toml", "configure"],
        ["build", "web.toml", "--until", "bundle", "--require-cached", "configure"],
    ):
        told += desk.told(desk.run(*words), plan, *words)
    told = re.sub(r"\b[0-9a-f]{12}\b", "<before>", told)
    hold("changed.txt", told, rewrite=rewrite_golden, base=HERE)


def test_a_damaged_store(tmp_path: Path, rewrite_golden: bool) -> None:
    desk = Desk(path=tmp_path)
    desk.set_up()
    desk.run("plan", "web.toml", "--offline")
    plan = desk.plan()
    desk.fill(plan)
    for step in plan.steps:
        if step.stage == "bundle" and step.variants[0].endswith("m1.small"):
            record = desk.store.object_path(step.key) / "object.json"
            record.write_text(
                record.read_text().replace('"result": {', f'"result": {{"digests": {{"made": "{"0" * 64}"}},')
            )
    first = next(each for each in plan.steps if each.stage == "packages")
    told = ""
    for words in (["store", "verify"], ["store", "gc", "--all"], ["store", "list"], ["provenance", first.key[:12]]):
        told += desk.told(desk.run(*words), plan, *words)
    told = re.sub(r"\b[0-9a-f]{12}\.\.\.", "<digest>...", told)
    hold(
        "damaged.txt",
        re.sub(r"( \S*objects/xx/\S+: .*\n)+", " <the damaged>\n", told),
        rewrite=rewrite_golden,
        base=HERE,
    )
