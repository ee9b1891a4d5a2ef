"""images validate."""

from pathlib import Path
from typing import Any

import typer

from builder.cli import output
from builder.cli.images.subject import Subject, factory, reach, regions, subjects, where, with_regions
from builder.errors import Exit
from builder.images.compare import Difference, differences
from builder.images.reach import Reach
from builder.images.validate import look
from builder.stages.publish.spec import PublishSpec


def validate_all(
    what: str,
    within: list[str],
    region: str,
    profile: str | None,
    endpoint_url: str | None,
    store: Path | None,
    *,
    json: bool,
) -> None:
    made = factory(region, profile, endpoint_url, store)
    names = regions(within)
    reached = reach(made)
    found = [(each, _differences(reached, each, names)) for each in subjects(made, reached, what)]
    if json:
        output.document(
            "images-validate",
            images=[
                {
                    "image_id": subject.source.id,
                    "name": subject.source.name,
                    "differences": [_plain(each) for each in differing],
                }
                for subject, differing in found
            ],
        )
    else:
        for subject, differing in found:
            _show(subject, differing)
    if any(differing for _, differing in found):
        raise typer.Exit(Exit.BUILD)


def _differences(reached: Reach, subject: Subject, names: tuple[str, ...]) -> tuple[Difference, ...]:
    spec = _looked_in(reached, subject, names)
    return differences(subject.wanted, spec, look(reached, subject.source, spec))


def _looked_in(reached: Reach, subject: Subject, names: tuple[str, ...]) -> PublishSpec:
    """Of an AMI alone the regions that have a copy of it, unless some are named: nobody said that others should."""
    if names or len(subject.spec.destinations) > 1 or subject.spec.promote:
        return with_regions(subject.spec, names)
    everywhere = with_regions(subject.spec, where(reached, subject, ()))
    seen = look(reached, subject.source, everywhere)
    return with_regions(subject.spec, tuple(name for name, each in seen.items() if each.image or each.unreachable))


def _plain(each: Difference) -> dict[str, Any]:
    return {
        "region": each.region,
        "required": each.required,
        "resource": each.resource,
        "what": each.what,
        "wanted": each.wanted,
        "found": each.found,
    }


def _show(subject: Subject, differing: tuple[Difference, ...]) -> None:
    output.say(f"{subject.source.id}  {subject.source.name}")
    if not differing:
        output.say("  all is as it should be")
        return
    rows = [("REGION", "RESOURCE", "WHAT", "SHOULD BE", "IS")]
    rows += [(each.region, each.resource or "-", each.what, each.wanted, each.found) for each in differing]
    output.result(output.table(rows))
    if any(each.mended for each in differing):
        output.say("  what can be put right: ami-factory build, or images copy, share, promote")
