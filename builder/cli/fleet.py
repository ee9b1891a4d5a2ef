"""The verbs fleet plan and fleet build."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.catalog.regions import LOCAL
from builder.cli import options as o
from builder.cli import output, preflight, progress
from builder.cli.usage import NoVerbIsHelp
from builder.errors import Exit
from builder.factory import Factory

if TYPE_CHECKING:  # imported when a verb runs
    from builder.fleet.night import Night, Outcome

app = typer.Typer(cls=NoVerbIsHelp, help="Many recipes as one: what a night builds.")

FleetFile = Annotated[Path, typer.Argument(metavar="FLEET", help="The fleet file.", show_default=False)]
KeepLocks = Annotated[bool, typer.Option("--keep-locks", help="Resolve no packages anew: build what is locked.")]


@app.command()
def plan(
    fleet: FleetFile,
    boot: o.Boot = "",
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the region: take receipts at their word.")
    ] = False,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Show every step of all recipes, as they are locked: reuse or run, and why. Builds nothing.

    Exit code 11 when a recipe cannot be planned, 1 when none can.

    \b
    Example:
      ami-factory fleet plan recipes/fleets/nightly.toml
    """
    from builder.cli.build import plan_text, steps_document
    from builder.fleet.model import load_fleet
    from builder.fleet.night import plan_night

    factory = o.factory(region=region, profile=profile, endpoint_url=endpoint_url, store=store)
    loaded = load_fleet(fleet)
    planned = plan_night(
        factory,
        loaded,
        None if offline else factory.region(start=False),
        resolve=False,
        boot=o.boot_level(boot),
    )
    if json:
        output.document(
            "fleet-plan",
            fleet=loaded.fleet.name,
            steps=steps_document(planned.actions),
            failed=[_failure(each) for each in planned.failed],
        )
    else:
        _show_failed(planned.failed)
        output.result(plan_text(planned.plan, planned.actions))
    if planned.failed:
        raise typer.Exit(Exit.PARTLY if planned.ready else Exit.BUILD)


@app.command()
def build(
    fleet: FleetFile,
    keep_locks: KeepLocks = False,
    boot: o.Boot = "",
    jobs: o.Jobs = 0,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
    quiet: o.QuietFlag = False,
    verbose: o.Verbose = False,
) -> None:
    """Build every recipe of a fleet: packages resolved anew, equal steps once, and only what changed.

    Stdout: one AMI id a line, in the order of the fleet file. A recipe that fails stops only itself. Exit codes: 0
    something was built; 10 nothing had changed; 11 some recipes failed; 1 all of them did.

    \b
    Examples:
      ami-factory fleet build recipes/fleets/nightly.toml
      ami-factory fleet build recipes/fleets/nightly.toml --region us-east-1 --json >night.json
    """
    from builder.fleet.model import load_fleet
    from builder.fleet.night import build_night, plan_night
    from builder.fleet.turn import turn
    from builder.host.directories import state_directory

    loaded = load_fleet(fleet)
    kept = o.factory(store=store).store
    with (
        turn(state_directory(), loaded.fleet.name),
        progress.listener(quiet or json, kept if verbose else None) as hears,
    ):
        factory = o.factory(
            region=region, profile=profile, endpoint_url=endpoint_url, store=store, jobs=jobs, listener=hears
        )
        asked = factory.region(start=True)
        if not quiet:
            output.say(f"region: {factory.region_words()}")
        planned = plan_night(
            factory,
            loaded,
            asked,
            resolve=not keep_locks,
            boot=o.boot_level(boot),
            refusing=lambda prepared, one, actions: preflight.of_build(
                factory, prepared, one, actions, (), quiet=quiet
            ),
        )
        _show_failed(planned.failed)
        night = build_night(factory, planned)
    reports = [_report(each, night, factory) for each in night.outcomes]
    if json:
        output.document("fleet-build", fleet=loaded.fleet.name, outcome=_WORDS[night.exit], recipes=reports)
    else:
        _show_failed(each for each in night.outcomes if each not in planned.failed)
        if not quiet:
            _show_night(loaded.fleet.name, reports)
        for report in reports:
            for image in report["images"]:
                output.result(image["image_id"])
    if night.exit:
        raise typer.Exit(night.exit)


_WORDS = {Exit.DONE: "built", Exit.UNCHANGED: "unchanged", Exit.PARTLY: "partly failed", Exit.BUILD: "failed"}


def _show_failed(outcomes: "Iterable[Outcome]") -> None:
    for each in outcomes:
        if each.error is not None:
            output.show_error(each.error)


def _failure(outcome: "Outcome") -> dict[str, Any]:
    error = outcome.error
    assert error is not None
    return {"recipe": str(outcome.path), "brief": error.brief, "detail": error.detail, "hint": error.hint}


def _report(outcome: "Outcome", night: "Night", factory: Factory) -> dict[str, Any]:
    """A recipe as the report has it: the document of `build --json`, and how it fared."""
    from builder.cli.summary import build_report

    told: dict[str, Any] = {"images": [], "steps": []}
    if outcome.plan is not None:
        told = build_report(outcome.path, outcome.plan, outcome.actions, night.done, night.observed, factory.store, "")
    return {
        "recipe": str(outcome.path),
        "state": outcome.state.value,
        "error": None if outcome.error is None else _failure(outcome),
        "images": told["images"],
        "steps": told["steps"],
    }


def _show_night(fleet: str, reports: list[dict[str, Any]]) -> None:
    rows = [
        (
            report["recipe"],
            report["state"],
            " ".join(image["image_id"] for image in report["images"]),
            output.seconds(spent) if (spent := sum(each["milliseconds"] for each in report["steps"])) else "",
        )
        for report in reports
    ]
    output.say()
    output.say(f"fleet {fleet}:")
    output.say(output.table(rows, indent="  "))
