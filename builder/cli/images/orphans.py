"""images prune --orphans."""

from datetime import UTC, datetime, timedelta

import typer

from builder.catalog.dates import parse_days
from builder.catalog.regions import LOCAL_REGIONS
from builder.cli import output
from builder.cli.images.subject import factory, reach, regions
from builder.cloud.sts import account
from builder.errors import Exit, RecipeError, RegionError
from builder.host.directories import state_directory
from builder.images import prune
from builder.images.orphans import Kept, Orphan
from builder.images.reach import Reach, words
from builder.stages.snapshot.journal import unfinished
from builder.stages.snapshot.run import JOURNALS


def prune_all(
    orphans: bool,
    older_than: str,
    yes: bool,
    bucket: str,
    within: list[str],
    region: str,
    profile: str | None,
    endpoint_url: str | None,
    *,
    json: bool,
) -> None:
    if not orphans:
        raise RecipeError("what is to be removed?", hint="give --orphans: what the factory made and nobody refers to")
    before = _before(older_than)
    names = regions(within)
    reached = reach(factory(region, profile, endpoint_url))
    owner = account(reached.surroundings, reached.home)
    kept = _kept()
    # The local region's buckets are seen from all of its regions.
    wanted = names or reached.everywhere()
    buckets = {name: bucket or f"ami-factory-{owner}-{name}" for name in wanted}
    found, refusals = reached.each(wanted, lambda name: prune.look(reached, name, buckets[name], owner, kept, before))
    seen: set[str] = set()
    listed = []
    for name in wanted:
        for each in found.get(name, ()):
            if each.id + "".join(each.parts) not in seen or name not in LOCAL_REGIONS:
                seen.add(each.id + "".join(each.parts))
                listed.append((each, _removed(reached, buckets[name], owner, each) if yes else ""))
    _tell(listed, refusals, removed=yes, json=json)
    if refusals or any(outcome not in ("", "removed") for _, outcome in listed):
        raise typer.Exit(Exit.REGION)


def _before(older_than: str) -> datetime:
    if older_than == "0":
        return datetime.now(UTC)
    try:
        return datetime.now(UTC) - timedelta(days=parse_days(older_than))
    except ValueError as error:
        raise RecipeError(f"--older-than: {error}") from None


def _kept() -> Kept:
    """What the journals of this user say is begun."""
    begun = unfinished(state_directory() / JOURNALS)
    return Kept(
        snapshots=frozenset(each.snapshot_id for each in begun if each.snapshot_id),
        uploads=frozenset(each.upload[2] for each in begun if each.upload),
        keys=frozenset(each.begun.key for each in begun),
    )


def _removed(reached: Reach, bucket: str, owner: str, orphan: Orphan) -> str:
    try:
        prune.remove(reached, bucket, owner, orphan)
    except RegionError as error:
        return words(error)
    return "removed"


def _tell(listed: list[tuple[Orphan, str]], refusals: dict[str, RegionError], *, removed: bool, json: bool) -> None:
    if json:
        output.document(
            "images-prune",
            removed=removed,
            orphans=[
                {
                    "region": each.region,
                    "kind": each.kind,
                    "id": each.id,
                    "since": each.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "why": each.why,
                    "outcome": outcome,
                }
                for each, outcome in listed
            ],
            unreachable=[{"region": name, "reason": words(error)} for name, error in refusals.items()],
        )
        return
    rows = [
        (each.region, each.kind, f"{each.since:%Y-%m-%d}", each.id, f"{each.why}{f': {outcome}' if outcome else ''}")
        for each, outcome in listed
    ]
    if rows:
        output.result(output.table(rows))
    for name, error in refusals.items():
        output.warn(f"{name}: {words(error)}")
    if not rows:
        output.say("no orphans")
    elif not removed:
        output.say(f"{output.counted(len(rows), 'orphan')}; nothing was removed: --yes does it")
