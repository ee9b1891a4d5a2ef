"""What a verb of `images` is about: an AMI by its id, or the AMIs of a recipe, with what the recipe wants of them."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from builder.canonical import from_plain
from builder.catalog.regions import region as known_region
from builder.cli import options as o
from builder.cloud.amis import Ami, ami, made_by_key
from builder.errors import RecipeError, RegionError
from builder.factory import Factory, Selection
from builder.images.compare import Wanted, wanted_as, wanted_by_recipe
from builder.images.reach import Reach
from builder.plan.step import Plan, Step
from builder.stages.publish.spec import Destination, PublishSpec
from builder.stages.register.spec import RegisterSpec

_AMI = re.compile(r"ami-[0-9a-f]{8,17}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One AMI in its home region, and what should become of it."""

    source: Ami
    spec: PublishSpec
    wanted: Wanted
    gates: tuple[str, ...] = ()
    """Labels of gates that its build has not been through, as far as this store knows."""


def is_ami(what: str) -> bool:
    return _AMI.fullmatch(what) is not None


def reach(factory: Factory) -> Reach:
    """The regions, from the home region on. RegionError when the local one is not running."""
    found = factory.region(start=False)
    if found is None:
        raise RegionError(
            "the local region is not running",
            hint="start it: ami-factory region start; or name another region with --region",
        )
    return Reach(found.surroundings, found.name)


def subjects(factory: Factory, reached: Reach, what: str, selection: Selection | None = None) -> tuple[Subject, ...]:
    """The AMI, or those of the recipe. RecipeError for neither; RegionError when one is not in its home region."""
    if is_ami(what):
        return (_of_ami(factory, reached, what),)
    if what.startswith("ami-"):
        raise RecipeError(f'"{what}" is no id of an AMI', hint="write one such as ami-0123456789abcdef0")
    return _of_recipe(factory, reached, Path(what), selection or Selection())


def one_ami(reached: Reach, image_id: str) -> Ami:
    """An AMI of the home region by its id."""
    if not is_ami(image_id):
        raise RecipeError(f'"{image_id}" is no id of an AMI', hint="write one such as ami-0123456789abcdef0")
    found = ami(reached.ec2(reached.home), reached.home, image_id)
    if found is None:
        raise RegionError(f"there is no AMI {image_id} in {reached.home}", hint="look at the id and --region")
    return found


def regions(names: list[str]) -> tuple[str, ...]:
    """Regions of the command line, once each. RecipeError for what is none."""
    return tuple(dict.fromkeys(known_region(each).name for each in names))


def _of_ami(factory: Factory, reached: Reach, image_id: str) -> Subject:
    source = one_ami(reached, image_id)
    spec = PublishSpec(
        partition="aws",
        account="",
        region=reached.home,
        endpoint="",
        destinations=(Destination(region=reached.home),),
        exact=False,
        promote=False,
    )
    return Subject(source=source, spec=spec, wanted=wanted_as(source))


def _of_recipe(factory: Factory, reached: Reach, path: Path, selection: Selection) -> tuple[Subject, ...]:
    prepared = factory.prepare(path)
    plan = factory.plan(prepared, selection)
    registers = [each for each in plan.steps if each.stage == "register"]
    images = made_by_key(reached.ec2(reached.home), reached.home, (each.key for each in registers))
    absent = [each for each in registers if each.key not in images]
    if absent:
        raise RegionError(
            f"{path}: {absent[0].spec['name']} is not in {reached.home}",
            hint=f"build it first: ami-factory build {path}",
        )
    encrypted = prepared.loaded.recipe.volume.encrypted
    return tuple(_subject(factory, plan, each, images[each.key], reached, encrypted) for each in registers)


def _subject(factory: Factory, plan: Plan, register: Step, source: Ami, reached: Reach, encrypted: bool) -> Subject:
    spec: RegisterSpec = from_plain(RegisterSpec, dict(register.spec))
    gates = [plan.by_key[key] for key in register.after]
    return Subject(
        source=source,
        spec=_publish_spec(plan, register, reached.home),
        wanted=wanted_by_recipe(spec, register.key, encrypted=encrypted if spec.volume else None),
        gates=tuple(each.label for each in gates if not factory.store.has(each.key)),
    )


def _publish_spec(plan: Plan, register: Step, home: str) -> PublishSpec:
    for each in plan.steps:
        if each.stage == "publish" and ("register", register.key) in each.inputs:
            found: PublishSpec = from_plain(PublishSpec, dict(each.spec))
            return found
    named = {name: register.spec[name] for name in ("partition", "account", "region", "endpoint")}
    alone: PublishSpec = from_plain(PublishSpec, {**named, "destinations": ({"region": home},)})
    return alone


def with_regions(spec: PublishSpec, names: tuple[str, ...]) -> PublishSpec:
    """The spec with these regions beside its home, each as the recipe has it, or required. No names: as it is."""
    if not names:
        return spec
    known = {each.region: each for each in spec.destinations}
    wanted = dict.fromkeys((spec.region, *names))
    return replace(spec, destinations=tuple(known.get(name, Destination(region=name)) for name in wanted))


def where(reached: Reach, subject: Subject, names: tuple[str, ...]) -> tuple[str, ...]:
    """Regions to look in: those that were named; else those of the recipe; of an AMI alone, all of the account's."""
    if names:
        return names
    listed = tuple(each.region for each in subject.spec.destinations)
    return listed if len(listed) > 1 else reached.everywhere()


def factory(region: str, profile: str | None, endpoint_url: str | None, store: Path | None = None) -> Factory:
    """The factory that the options of a verb describe. RecipeError for a region that is none."""
    known_region(region)
    return o.factory(region=region, profile=profile, endpoint_url=endpoint_url, store=store)
