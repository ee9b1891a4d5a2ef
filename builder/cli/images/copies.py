"""images list and images copy."""

import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import typer

from builder.cli import output
from builder.cli.images.subject import factory, reach, regions, subjects, with_regions
from builder.cloud.amis import REPLACED_TAG, Ami, ours
from builder.errors import Exit, RecipeError
from builder.images.copies import Copier, Standing, missing
from builder.images.copying import Outcome
from builder.images.reach import words
from builder.stages.publish.spec import PublishSpec


def show_list(within: list[str], region: str, profile: str | None, endpoint_url: str | None, *, json: bool) -> None:
    reached = reach(factory(region, profile, endpoint_url))
    names = regions(within) or reached.everywhere()
    found, refusals = reached.each(names, lambda name: ours(reached.ec2(name), name))
    images = [each for name in names if name in found for each in found[name]]
    if json:
        output.document(
            "images-list",
            images=[_listed(each) for each in images],
            unreachable=[{"region": name, "reason": words(error)} for name, error in refusals.items()],
        )
    else:
        rows = [(each.region, each.id, each.state, each.created[:10], each.name, _remarks(each)) for each in images]
        if rows:
            output.result(output.table(rows))
        for name, error in refusals.items():
            output.warn(f"{name}: {words(error)}")
        output.say(f"{output.counted(len(images), 'AMI')} in {output.counted(len(found), 'region')}")
    if refusals:
        raise typer.Exit(Exit.REGION)


def _listed(image: Ami) -> dict[str, Any]:
    return {
        "region": image.region,
        "image_id": image.id,
        "name": image.name,
        "state": image.state,
        "created": image.created,
        "recipe": image.tags.get("ami-factory:recipe", ""),
        "source": image.source,
        "public": image.public,
        "deprecated": image.deprecated,
        "protection": image.protection,
        "replaced_by": image.tags.get(REPLACED_TAG, ""),
    }


def _remarks(image: Ami) -> str:
    told = [f"copy of {image.source}"] if image.source else []
    told += ["public"] if image.public else []
    told += [f"deprecated {image.deprecated[:10]}"] if image.deprecated else []
    told += ["protected"] if image.protection else []
    told += [f"replaced by {image.tags[REPLACED_TAG]}"] if REPLACED_TAG in image.tags else []
    return ", ".join(told)


def copy_all(
    what: str,
    to: list[str],
    best_effort: list[str],
    kms_keys: list[str],
    minutes: int,
    region: str,
    profile: str | None,
    endpoint_url: str | None,
    store: Path | None,
    *,
    json: bool,
) -> None:
    made = factory(region, profile, endpoint_url, store)
    must, may = regions(to), regions(best_effort)
    keys = _keys(kms_keys)
    reached = reach(made)
    copier = Copier(reach=reached, heard=_Teller(quiet=json), minutes=minutes)
    told = []
    for subject in subjects(made, reached, what):
        spec = _with(with_regions(subject.spec, (*must, *may)), may, keys)
        if len(spec.destinations) < 2:
            raise RecipeError(f"{what}: no region to copy it to", hint="give one with --to, or [publish] in the recipe")
        told.append((subject.source, copier.copy(subject.source, spec.destinations)))
    if json:
        output.document(
            "images-copy",
            copies=[
                {"image_id": source.id, "region": source.region, "results": [asdict(each) for each in outcomes]}
                for source, outcomes in told
            ],
        )
    else:
        for source, outcomes in told:
            _show(source, outcomes)
    if any(missing(outcomes) for _, outcomes in told):
        raise typer.Exit(Exit.REGION)


def _with(spec: PublishSpec, best_effort: tuple[str, ...], keys: dict[str, str]) -> PublishSpec:
    """With what the command line says of a region instead of what the recipe does."""
    for name in keys:
        if name not in {each.region for each in spec.destinations} - {spec.region}:
            raise RecipeError(f"--kms-key {name}=...: no copy goes there")
    destinations = [
        replace(
            each,
            required=each.required and each.region not in best_effort,
            kms_key=keys.get(each.region, each.kms_key),
        )
        for each in spec.destinations
    ]
    return replace(spec, destinations=tuple(destinations))


def _keys(given: list[str]) -> dict[str, str]:
    found = {}
    for each in given:
        name, equals, key = each.partition("=")
        if not (name and equals and key):
            raise RecipeError(f'--kms-key "{each}" is not REGION=ARN', hint="such as eu-west-1=default")
        if key != "default" and (key.split(":")[:1] != ["arn"] or key.split(":")[3:4] != [name]):
            raise RecipeError(f'--kms-key {each}: a copy needs the ARN of a key in its own region, or "default"')
        found[name] = key
    return found


def _show(source: Ami, outcomes: tuple[Outcome, ...]) -> None:
    for each in outcomes:
        if each.good:
            output.result(f"{each.region}  {each.image_id}")
    rows = [
        (
            each.region,
            "required" if each.required else "best effort",
            each.image_id or "-",
            each.how,
            f"{each.seconds} s" if each.how == "copied" else "",
            each.reason,
        )
        for each in outcomes
    ]
    output.say(f"{source.id}  {source.name}")
    output.say(output.table(rows, indent="  "))


class _Teller:
    """A line when a copy's state changes, and for each further tenth of it."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet, self._last = quiet, dict[str, tuple[str, int, float]]()
        self._lock = threading.Lock()

    def __call__(self, standing: Standing) -> None:
        with self._lock:
            state, tenth, told = self._last.get(standing.region, ("", -1, 0.0))
            now = time.monotonic()
            if self._quiet or ((state, tenth) == (standing.state, standing.percent // 10) and now - told < 60):
                return
            self._last[standing.region] = (standing.state, standing.percent // 10, now)
        reason = f": {standing.reason}" if standing.reason else ""
        output.say(f"{standing.region:<14} {standing.image_id:<21} {standing.state} {standing.percent:>3}%{reason}")
