"""images share, promote and deprecate: shown as they are changed, or only shown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from builder.catalog.dates import parse_date, parse_days, stamp
from builder.cli import output
from builder.cli.images.subject import (
    Subject,
    factory,
    is_ami,
    one_ami,
    reach,
    regions,
    subjects,
    where,
    with_regions,
)
from builder.cloud import amis
from builder.cloud.amis import REPLACED_TAG, Ami
from builder.errors import BuilderError, RecipeError
from builder.images import promote, share
from builder.images.compare import Seen, differences
from builder.images.copying import Outcome
from builder.images.lifetime import LifeChange, life_change, refuse
from builder.images.promotion import Write, plan_promotion, require_all
from builder.images.publish import apply_life
from builder.images.reach import Reach
from builder.images.sharing import Change, grant_words, grants_of
from builder.images.validate import look
from builder.recipe.aws import Publish
from builder.stages.publish.spec import Audience, PublishSpec


def _everywhere(reached: Reach, subject: Subject, names: tuple[str, ...]) -> Iterator[tuple[str, Ami]]:
    """The AMI and its copies that can be used. RegionError for a region that does not answer."""
    wanted = where(reached, subject, names)
    spec = with_regions(subject.spec, wanted)
    for name, seen in look(reached, subject.source, spec).items():
        if name not in wanted and names:
            continue
        if seen.unreachable:
            raise BuilderError(f"{name}: {seen.unreachable}", hint="name the regions that you mean with --in")
        if seen.image is not None and seen.image.state == "available":
            yield name, seen.image


def share_all(
    what: str,
    accounts: list[str],
    organizations: list[str],
    units: list[str],
    public: bool,
    exact: bool,
    within: list[str],
    dry_run: bool,
    region: str,
    profile: str | None,
    endpoint_url: str | None,
    store: Path | None,
    *,
    json: bool,
) -> None:
    made = factory(region, profile, endpoint_url, store)
    given = _audience(accounts, organizations, units, public=public)
    named = given != Audience()
    if is_ami(what) and not (named or exact):
        raise RecipeError("whom is it to be shared with?", hint="give --account, --organization, --unit or --public")
    names = regions(within)
    reached = reach(made)
    planned: list[tuple[str, tuple[Change, ...]]] = []
    for subject in subjects(made, reached, what):
        wanted = grants_of(given if named or exact else subject.spec.audience)
        only = exact or not (named or is_ami(what))
        for name, image in _everywhere(reached, subject, names):
            planned.append((name, share.plan(reached.ec2(name), image, wanted, exact=only)))
    if not dry_run:
        for name, changes in planned:
            share.change(reached.ec2(name), changes)
    _tell_sharing(planned, dry_run=dry_run, json=json)


def _tell_sharing(planned: Sequence[tuple[str, tuple[Change, ...]]], *, dry_run: bool, json: bool) -> None:
    changes = [(name, each) for name, several in planned for each in several]
    if json:
        told = [
            {
                "region": name,
                "resource": each.resource,
                "add": [grant_words(grant) for grant in sorted(each.add)],
                "remove": [grant_words(grant) for grant in sorted(each.remove)],
            }
            for name, each in changes
        ]
        output.document("images-share", dry_run=dry_run, changes=told)
        return
    for name, each in changes:
        for sign, grants in (("+", each.add), ("-", each.remove)):
            for grant in sorted(grants):
                output.result(f"{sign} {name}  {each.resource}  {grant_words(grant)}")
    _close(len(changes), dry_run=dry_run)


def _audience(accounts: list[str], organizations: list[str], units: list[str], *, public: bool) -> Audience:
    """What the options name, held against the rules of the recipe's table. RecipeError for what is none."""
    from pydantic import ValidationError

    try:
        asked = Publish(
            accounts=tuple(each.replace("-", "") for each in accounts),
            organizations=tuple(organizations),
            units=tuple(units),
            public=public,
        )
    except ValidationError as error:
        first = error.errors()[0]
        option, hint = {
            "accounts": ("--account", "write its twelve digits"),
            "organizations": ("--organization", "write its ARN: arn:aws:organizations::ACCOUNT:organization/o-..."),
            "units": ("--unit", "write its ARN: arn:aws:organizations::ACCOUNT:ou/o-.../ou-..."),
        }[str(first["loc"][0])]
        raise RecipeError(f'{option}: "{str(first["input"])[:100]}" is not one', hint=hint) from None
    return Audience(accounts=asked.accounts, organizations=asked.organizations, units=asked.units, public=asked.public)


def promote_all(
    what: str,
    other: str,
    parameters: list[str],
    within: list[str],
    without_gates: bool,
    dry_run: bool,
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
    written: list[Write] = []
    planned: list[Write] = []
    for subject in _promoted(subjects(made, reached, what), reached, what, other, parameters):
        spec = with_regions(subject.spec, names)
        if parameters:
            destinations = tuple(replace(each, latest=tuple(parameters), parameters=()) for each in spec.destinations)
            spec = replace(spec, destinations=destinations)
        if not any((*each.parameters, *each.latest) for each in spec.destinations):
            raise RecipeError(
                f"{what}: no SSM parameter to write",
                hint="name some in [publish] of the recipe: parameters and latest; or give --parameter",
            )
        seen = look(reached, subject.source, spec)
        if not without_gates and not other:
            _require_gates(subject)
        require_all(subject.source.id, [_outcome(spec, name, each) for name, each in seen.items()])
        if not (other or is_ami(what)):
            _require_right(subject, spec, seen)
        images = {name: each.image.id for name, each in seen.items() if each.image and each.image.state == "available"}
        there = promote.look(reached, [each for each in spec.destinations if each.region in images])
        planned += plan_promotion(spec.destinations, images, there, versioned=not other)
    if not dry_run:
        promote.write(reached, sorted(planned, key=lambda each: each.latest), written.append)
    _tell_promotion(planned, dry_run=dry_run, json=json)


def _promoted(
    found: tuple[Subject, ...], reached: Reach, what: str, other: str, parameters: list[str]
) -> tuple[Subject, ...]:
    if other and len(found) > 1:
        raise RecipeError(
            f"{what} makes {len(found)} AMIs, and --ami is one",
            hint="give --parameter with the AMI instead of a recipe",
        )
    if is_ami(what) and (other or not parameters):
        raise RecipeError(
            "which SSM parameter is to name it?", hint="give --parameter NAME with an AMI, or --ami with a recipe"
        )
    if not other:
        return found
    return tuple(replace(each, source=one_ami(reached, other)) for each in found)


def _outcome(spec: PublishSpec, name: str, seen: Seen) -> Outcome:
    required = next(each.required for each in spec.destinations if each.region == name)
    if seen.image is not None and seen.image.state == "available":
        return Outcome(region=name, required=required, image_id=seen.image.id, how="found")
    state = f"{seen.image.id} is {seen.image.state}" if seen.image else seen.unreachable or "no copy is there"
    return Outcome(region=name, required=required, how="failed", reason=state)


def _require_gates(subject: Subject) -> None:
    if subject.gates:
        raise BuilderError(
            f"{subject.source.id} is not promoted: this store does not know that it was let through by "
            f"{', '.join(subject.gates)}",
            hint="build the recipe here, which asks the gates; or promote it --without-gates",
        )


def _require_right(subject: Subject, spec: PublishSpec, seen: Mapping[str, Seen]) -> None:
    """BuilderError while a required region has it otherwise than the recipe says, but for what promoting changes."""
    wrong = [
        each
        for each in differences(subject.wanted, spec, seen)
        if each.required and each.mended and each.what != "parameter"
    ]
    if wrong:
        raise BuilderError(
            f"{subject.source.id} is not promoted: {wrong[0].region} does not have it as the recipe says",
            detail="\n".join(
                f"{each.region}: {each.what} {each.resource}: {each.found}, not {each.wanted}" for each in wrong
            ),
            hint="put it right first: ami-factory build, or images copy and images share",
        )


def _tell_promotion(planned: Sequence[Write], *, dry_run: bool, json: bool) -> None:
    if json:
        told = [
            {
                "region": each.region,
                "name": each.name,
                "image_id": each.image_id,
                "before": each.before.value if each.before else "",
                "latest": each.latest,
            }
            for each in planned
        ]
        output.document("images-promote", dry_run=dry_run, parameters=told)
        return
    for each in sorted(planned, key=lambda one: one.latest):
        before = each.before.value if each.before else "new"
        output.result(f"{each.region}  {each.name}  {before} -> {each.image_id}")
    _close(len(planned), dry_run=dry_run)


def deprecate_all(
    what: str,
    on: str,
    after: str,
    cancel: bool,
    replaced_by: str,
    protect: bool | None,
    within: list[str],
    dry_run: bool,
    region: str,
    profile: str | None,
    endpoint_url: str | None,
    store: Path | None,
    *,
    json: bool,
) -> None:
    now = datetime.now(UTC)
    made = factory(region, profile, endpoint_url, store)
    when = _when(on, after, cancel, now)
    if when is None and protect is None and not replaced_by:
        raise RecipeError("nothing to change", hint="give --on, --after, --cancel, --replaced-by or --protect")
    names = regions(within)
    reached = reach(made)
    instead = one_ami(reached, replaced_by) if replaced_by else None
    planned: list[tuple[str, LifeChange, str]] = []
    for subject in subjects(made, reached, what):
        for name, image in _everywhere(reached, subject, names):
            keep = None if protect is None else "on" if protect else ""
            change = life_change(image, deprecate=when, protect=keep)
            refuse(image, change, now)
            successor = _successor(reached, name, instead) if instead else ""
            successor = "" if image.tags.get(REPLACED_TAG) == successor else successor
            if not change.empty or successor:
                planned.append((name, change, successor))
    if not dry_run:
        for name, change, successor in planned:
            apply_life(reached, name, change.image_id, change.deprecate, change.protect)
            if successor:
                amis.tag(reached.ec2(name), [change.image_id], {REPLACED_TAG: successor})
    _tell_lives(planned, dry_run=dry_run, json=json)


def _when(on: str, after: str, cancel: bool, now: datetime) -> str | None:
    """The date that the options give; "" for none any more, None to leave it. RecipeError for what is no date."""
    if sum(map(bool, (on, after, cancel))) > 1:
        raise RecipeError("--on, --after and --cancel: give one of them")
    try:
        if on:
            return parse_date(on)
        if after:
            return stamp(now + timedelta(days=parse_days(after)))
    except ValueError as error:
        raise RecipeError(f"{'--on' if on else '--after'}: {error}") from None
    return "" if cancel else None


def _successor(reached: Reach, region: str, instead: Ami) -> str:
    """The id, in a region, of the AMI to use instead: of its copy there; else REGION/AMI of where it is."""
    if region == instead.region:
        return instead.id
    copies = amis.copies_of(reached.ec2(region), region, instead.origin)
    return next((each.id for each in copies if each.state == "available"), f"{instead.region}/{instead.id}")


def _tell_lives(planned: Sequence[tuple[str, LifeChange, str]], *, dry_run: bool, json: bool) -> None:
    if json:
        told = [
            {
                "region": name,
                "image_id": each.image_id,
                "deprecate": each.deprecate,
                "protect": each.protect,
                "replaced_by": successor or None,
            }
            for name, each, successor in planned
        ]
        output.document("images-deprecate", dry_run=dry_run, changes=told)
        return
    for name, each, successor in planned:
        said = []
        if each.deprecate is not None:
            said.append(f"deprecated on {each.deprecate}" if each.deprecate else "not deprecated")
        if each.protect is not None:
            said.append("protected" if each.protect else "not protected")
        if successor:
            said.append(f"replaced by {successor}")
        output.result(f"{name}  {each.image_id}  {', '.join(said)}")
    _close(len(planned), dry_run=dry_run)


def _close(count: int, *, dry_run: bool) -> None:
    if not count:
        output.say("nothing to change")
    elif dry_run:
        output.say(f"{output.counted(count, 'change')} not made: --dry-run")
    else:
        output.say(f"{output.counted(count, 'change')} made")
