"""What conditions change in a plan, and what stays shared: keys of a recipe with and without them."""

from pathlib import Path

from builder.factory import Factory, Options
from builder.lock import asks, load_lock
from builder.plan.compile import compile_plan, variants
from builder.plan.step import Plan
from builder.prepared import Prepared, conditional
from tests.support.plans import GOLDEN, MADE, TARGET, Silent

HEAD = 'extends = "quickstart.toml"\nname = "x"\n'
BASE = HEAD + 'virtualization = ["pv", "hvm"]\n'


def planned(path: Path, text: str) -> Plan:
    path.write_text(BASE + text)
    ready = prepare(path)
    recipe = ready.loaded.recipe
    wanted = variants(recipe, TARGET)
    lock = load_lock(GOLDEN / "locks/quickstart.lock")
    assert lock is not None
    own = conditional(ready, wanted)
    kernel = ready.loaded.kernel
    return compile_plan(recipe, kernel, lock, ready.sources, MADE, TARGET, wanted, conditional=own)


def prepare(path: Path) -> Prepared:
    return Factory(options=Options(store=Path("/nowhere")), listener=Silent(), say=lambda _: None).prepare(path)


def shared(plan: Plan) -> list[str]:
    return [each.label for each in plan.steps if len(each.variants) == 2]


def test_pv_and_hvm_share_what_no_condition_changes(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    file = '[[files]]\ndestination = "/etc/a"\ncontent = "a"\n'
    plain = planned(path, file)
    assert shared(plain) == ["repository.quickstart", "packages", "customise.files"]
    late = planned(path, file + '[[when]]\nif.virtualization = ["hvm"]\nservices.enable = ["x.service"]\n')
    assert shared(late) == shared(plain)
    pv, hvm = plain.variants
    assert [each.key for each in late.chain(pv.name)] == [each.key for each in plain.chain(pv.name)]
    before, after = tuple(plain.chain(hvm.name)), tuple(late.chain(hvm.name))
    moved = [new.label for old, new in zip(before, after, strict=True) if old.key != new.key]
    assert moved == ["configure", "image", "verify", "boot", "snapshot", "register"]
    (configure,) = [each for each in after if each.label == "configure"]
    assert configure.spec["services"]["enable"] == ["x.service"]


def test_files_of_one_kind_part_the_ways_where_they_come_in(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    plan = planned(
        path, '[[when]]\nif.virtualization = ["hvm"]\n[[when.files]]\ndestination = "/etc/b"\ncontent = "b"\n'
    )
    assert shared(plan) == ["repository.quickstart", "packages"]
    pv, hvm = plan.variants
    assert [each.label for each in plan.chain(pv.name)][2:4] == ["kernel", "configure"]
    assert [each.label for each in plan.chain(hvm.name)][2:4] == ["customise.files", "kernel"]


def test_packages_of_one_architecture_are_asked_for_by_its_lock_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    both = 'architectures = ["x86_64", "i386"]\nvirtualization = ["pv"]\n'
    path.write_text(HEAD + both)
    plain = prepare(path)
    path.write_text(HEAD + both + '[[when]]\nif.architecture = ["i386"]\ndistribution.packages = ["nano"]\n')
    ready = prepare(path)
    assert {name: each.distribution.packages[-1] for name, each in ready.by_architecture.items()} == {"i386": "nano"}
    assert asked(ready) != asked(plain)
    assert plain.by_architecture == {}


def asked(ready: Prepared) -> str:
    return asks(ready.loaded.recipe, ready.loaded.kernel, ready.sources.keys, "", ready.by_architecture)
