"""Plans of the recipes that we ship, made from checked-in locks and fixed identities: compiling is pure.

Run as a module it prints the keys, so that a test can run it in another process, directory, locale and time zone.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from builder.factory import Factory, Options, Selection
from builder.lock import load_lock
from builder.plan.compile import compile_plan, variants
from builder.plan.request import Made, Target
from builder.plan.step import Plan
from builder.prepared import Prepared
from builder.recipe.model import Recipe

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"

MADE = Made(signing_key="5" * 64, definition="d" * 64, configure="c" * 64, configure_hvm="e" * 64, image="1" * 64)
TARGET = Target(
    region="local",
    partition="aws",
    endpoint="local-0123456789ab",
    account="123456789012",
    user_certificate="a" * 64,
    user_certificate_path="/state/certificate.pem",
    ec2_certificate="b" * 64,
    ec2_certificate_path="/region/certificate.pem",
)
US_EAST = replace(TARGET, region="us-east-1", endpoint="aws")

# What one golden plan holds: i386 runs on small types only.
PICKED = {
    "quickstart": (
        Selection(architectures=("x86_64",), instance_types=("m1.small", "m1.large", "m1.xlarge")),
        Selection(architectures=("i386",), instance_types=("m1.small",)),
        Selection(architectures=("x86_64",), instance_types=("t3.micro", "m5d.large"), virtualization=("hvm",)),
    ),
    "debian": (
        Selection(instance_types=("m1.small",)),
        Selection(instance_types=("t3.micro",), virtualization=("hvm",)),
    ),
    "ubuntu": (Selection(),),
    "fedora": (Selection(architectures=("x86_64",), instance_types=("m1.small", "m1.large", "m1.xlarge")),),
    "centos-stream-9": (Selection(),),
    "centos-stream-10": (Selection(),),
    "rocky-9": (Selection(),),
    "amazon-linux-2023": (Selection(),),
}


class Silent:
    """A listener for those who run nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def prepared(name: str) -> Prepared:
    """A recipe of ours with the lock of the golden tests; its own lock changes with the distribution."""
    factory = Factory(options=Options(store=Path("/nowhere")), listener=Silent(), say=lambda _: None)
    return replace(
        factory.prepare(ROOT / "recipes" / f"{name}.toml"), lock=load_lock(GOLDEN / "locks" / f"{name}.lock")
    )


def planned(
    ready: Prepared, *selections: Selection, recipe: Recipe | None = None, target: Target = TARGET, made: Made = MADE
) -> Plan:
    """The plan of a prepared recipe, or of `recipe` in its place; everything else is fixed."""
    recipe = recipe or ready.loaded.recipe
    wanted = [
        each
        for picked in selections or (Selection(),)
        for each in variants(
            recipe,
            target,
            architectures=picked.architectures,
            instance_types=picked.instance_types,
            virtualization=picked.virtualization,
        )
    ]
    assert ready.lock is not None
    return compile_plan(recipe, ready.loaded.kernel, ready.lock, ready.sources, made, target, tuple(wanted))


def keys(plan: Plan) -> str:
    """A line a variant and step: what moves in it is rebuilt for everybody."""
    lines = []
    for variant in plan.variants:
        lines.append(variant.name)
        lines += [f"  {each.label:<22} {each.key}" for each in plan.chain(variant.name)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(keys(planned(prepared("quickstart"), *PICKED["quickstart"])), end="")
