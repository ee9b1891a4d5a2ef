"""The verbs check, lock, plan, build."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.catalog.regions import LOCAL
from builder.cli import options as o
from builder.cli import output, preflight, progress
from builder.errors import RecipeError
from builder.factory import Factory, Selection
from builder.plan.decide import Action, Do, check_stage, require_cached
from builder.plan.step import Plan
from builder.prepared import Prepared
from builder.recipe.limits import parse_limits

if TYPE_CHECKING:
    from builder.preflight.finding import Finding

Until = Annotated[
    str,
    typer.Option(
        "--until", metavar="STAGE", help="Stop after this stage; stdout: its output's path.", show_default=False
    ),
]
Rebuild = Annotated[
    str,
    typer.Option(
        "--rebuild",
        metavar="STAGE",
        help="Run this stage again, and the local ones behind it.",
        show_default=False,
    ),
]
RequireCached = Annotated[
    str,
    typer.Option("--require-cached", metavar="STAGE", help="Fail if this stage would have to run.", show_default=False),
]
Offline = Annotated[bool, typer.Option("--offline", help="Do not ask the region: take receipts at their word.")]
Online = Annotated[
    bool, typer.Option("--online", help="Ask the region, too, what would keep the build from being done there.")
]
Twice = Annotated[
    bool,
    typer.Option("--verify-reproducible", help="Build the images twice, and fail if they differ."),
]
Update = Annotated[bool, typer.Option("--update", help="Resolve the packages anew.")]


def check(recipes: o.Recipes, json: o.Json = False, quiet: o.QuietFlag = False) -> None:
    """Validate recipes: every error at once, with its position.

    \b
    Example:
      ami-factory check recipes/*.toml
    """
    factory = o.factory()
    problems: list[str] = []
    good: list[str] = []
    for path in recipes:
        try:
            prepared = factory.prepare(path)
            good.append(str(path))
            if not (json or quiet):
                output.say(f"{path}: good{_lock_state(prepared)}")
        except RecipeError as error:
            problems += [error.brief, *error.detail.splitlines()]
            if not json:
                output.show_error(error)
    if json:
        output.document("check", good=good, errors=problems)
    if problems:
        raise typer.Exit(2)


def _lock_state(prepared: Prepared) -> str:
    if prepared.stale:
        return "; its lock no longer fits and will be made anew"
    return "" if prepared.lock else "; not locked yet"


def lock(
    recipes: o.Recipes,
    update: Update = False,
    store: o.StorePath = None,
    jobs: o.Jobs = 0,
    json: o.Json = False,
    quiet: o.QuietFlag = False,
    verbose: o.Verbose = False,
) -> None:
    """Pin every package of a recipe in NAME.lock, beside it.

    Stdout: the lock's path. Without --update a lock that still fits the recipe is left as it is. A distribution that
    is repacked here gets its repository made first.

    \b
    Example:
      ami-factory lock --update recipes/quickstart.toml
    """
    done: list[dict[str, Any]] = []
    kept = o.factory(store=store).store
    with progress.listener(quiet or json, kept if verbose else None) as listener:
        factory = o.factory(store=store, jobs=jobs, listener=listener)
        for path in recipes:
            before = factory.prepare(path, anew=update)
            if not (quiet or json):
                say_mirrors(factory, before)
            after = factory.lock(before, update=update)
            assert after.lock is not None
            done.append(
                {
                    "recipe": str(path),
                    "lock": str(after.lock_path),
                    "changed": after.lock != before.lock,
                    "packages": {
                        name: len(each.packages) + len(each.kernel_packages)
                        for name, each in after.lock.architectures.items()
                    },
                }
            )
    if json:
        output.document("lock", locks=done)
        return
    for each in done:
        counts = ", ".join(f"{count} packages for {name}" for name, count in each["packages"].items())
        output.say(f"{each['recipe']}: {'locked' if each['changed'] else 'lock is up to date'}: {counts}")
        output.result(each["lock"])


def plan(
    recipes: o.Recipes,
    instance_type: o.Types = [],  # noqa: B006
    arch: o.Arches = [],  # noqa: B006
    virtualization: o.Virtual = [],  # noqa: B006
    boot: o.Boot = "",
    until: Until = "",
    rebuild: Rebuild = "",
    offline: Offline = False,
    online: Online = False,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Show every step: reuse or run, and why. Runs nothing.

    With --online, also what would keep the build from being done in the region: credentials, rights, bucket, quotas,
    names, keys, instance types. Exit code 4 (2, if it is all the recipe's) when there is such a thing.

    \b
    Examples:
      ami-factory plan recipes/quickstart.toml
      ami-factory plan recipes/quickstart.toml --instance-type m1.large --offline
      ami-factory plan recipes/quickstart.toml --region us-east-1 --online
    """
    check_stage(until, "--until")
    check_stage(rebuild, "--rebuild")
    if online and offline:
        raise RecipeError("--online and --offline do not go together", hint="give one of them")
    factory = o.factory(region=region, profile=profile, endpoint_url=endpoint_url, store=store)
    documents: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for path in recipes:
        prepared = factory.prepare(path)
        compiled = factory.plan(prepared, o.selection(instance_type, arch, virtualization, boot))
        asked = None if offline else factory.region(start=online)
        actions = factory.decide(compiled, factory.observe(compiled, asked), until=until, rebuild=rebuild)
        found = preflight.of_plan(factory, prepared, compiled, actions) if online else None
        findings += found or ()
        if json:
            document = plan_document(path, compiled, actions, found, asked=asked is not None)
            documents.append({**document, "mirrors": mirror_documents(factory, prepared)})
        else:
            if asked is None:
                output.say("region: not asked; receipts are taken at their word")
            say_mirrors(factory, prepared)
            for text in compiled.warnings:
                output.warn(text)
            output.result(plan_text(compiled, actions))
            preflight.show(found or ())
    if json:
        output.document("plan", recipes=documents)
    if code := preflight.exit_code(findings):
        raise typer.Exit(code)


def mirror_documents(factory: Factory, prepared: Prepared) -> list[dict[str, str]]:
    """Repositories that are taken from another address than the recipe's tables say."""
    return [
        {"repository": each.repository, "address": each.address, "origin": each.origin}
        for each in factory.mirrors(prepared.loaded.recipe)
    ]


def say_mirrors(factory: Factory, prepared: Prepared) -> None:
    for each in factory.mirrors(prepared.loaded.recipe):
        output.say(f"mirror: {each.repository} is taken from {each.address} ({each.origin})")


def plan_text(plan: Plan, actions: tuple[Action, ...]) -> str:
    """Every step as a line: label, what is done, short key, reason; the variants it serves when not all."""
    from builder.cli.summary import variant_words

    rows = []
    several = len({each.recipe for each in plan.variants}) > 1
    for each in actions:
        words = variant_words(each.step.variants, len(plan.variants), whole=several)
        rows.append((each.step.label, each.do.value, each.step.key[:12], each.reason + (f"  {words}" if words else "")))
    return output.table(rows)


def plan_document(
    path: Path,
    plan: Plan,
    actions: tuple[Action, ...],
    findings: "tuple[Finding, ...] | None" = None,
    *,
    asked: bool,
) -> dict[str, Any]:
    return {
        "recipe": str(path),
        "region_asked": asked,
        "variants": [
            {
                "name": each.name,
                "architecture": each.architecture,
                "virtualization": each.virtualization,
                "instance_type": each.instance_type,
                "kernel": each.kernel,
                "region": each.region,
                "account": each.account,
            }
            for each in plan.variants
        ],
        "warnings": list(plan.warnings),
        "preflight": None if findings is None else preflight.document(findings),
        "steps": steps_document(actions),
    }


def steps_document(actions: Iterable[Action]) -> list[dict[str, Any]]:
    return [
        {
            "label": each.step.label,
            "stage": each.step.stage,
            "key": each.step.key,
            "action": each.do.value,
            "reason": each.reason,
            "inputs": [{"name": name, "key": key} for name, key in each.step.inputs],
            "after": list(each.step.after),
            "variants": list(each.step.variants),
        }
        for each in actions
    ]


def build(
    recipes: o.Recipes,
    instance_type: o.Types = [],  # noqa: B006
    arch: o.Arches = [],  # noqa: B006
    virtualization: o.Virtual = [],  # noqa: B006
    boot: o.Boot = "",
    until: Until = "",
    rebuild: Rebuild = "",
    require_cached_: RequireCached = "",
    limit: o.Limit = [],  # noqa: B006
    verify_reproducible: Twice = False,
    jobs: o.Jobs = 0,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
    quiet: o.QuietFlag = False,
    verbose: o.Verbose = False,
) -> None:
    """Build recipes into registered AMIs.

    Stdout: one AMI id a line, in the order of the variants. Only what changed is run. With --until STAGE, stdout is
    the path of that stage's output instead.

    With --verify-reproducible everything up to the images is built once more in a store of its own, before anything is
    bundled or registered; what differs is told as `ami-factory diff` tells it, with exit code 1.

    \b
    Examples:
      ami-factory build recipes/quickstart.toml
      ami-factory build recipes/quickstart.toml --instance-type m1.large --until image
    """
    for name, option in ((until, "--until"), (rebuild, "--rebuild"), (require_cached_, "--require-cached")):
        check_stage(name, option)
    limits = parse_limits(limit)
    results: list[str] = []
    documents: list[dict[str, Any]] = []
    kept = o.factory(store=store).store
    for path in recipes:
        with progress.listener(quiet or json, kept if verbose else None) as listener:
            factory = o.factory(
                region=region,
                profile=profile,
                endpoint_url=endpoint_url,
                store=store,
                jobs=jobs,
                listener=listener,
                limits=limits,
            )
            selection = o.selection(instance_type, arch, virtualization, boot)
            if verify_reproducible:
                _build_twice(factory, path, selection, quiet=quiet or json)
            report = build_one(
                factory, path, selection, until=until, rebuild=rebuild, cached=require_cached_, quiet=quiet
            )
        results += report["results"]
        documents.append(report)
        if not (quiet or json):
            _show_summary(report)
    if json:
        output.document("build", recipes=documents)
    else:
        for each in results:
            output.result(each)


def _build_twice(factory: Factory, path: Path, selection: Selection, *, quiet: bool) -> None:
    from builder.cli.reproduce import verify

    build_one(factory, path, selection, until="image", quiet=quiet)
    verify(factory, factory.prepare(path), selection, quiet=quiet)


def build_one(
    factory: Factory,
    path: Path,
    selection: Selection | None = None,
    *,
    until: str = "",
    rebuild: str = "",
    cached: str = "",
    quiet: bool = False,
) -> dict[str, Any]:
    """Build a recipe; what the verb reports of it."""
    from builder.cli.summary import build_report

    prepared = factory.prepare(path)
    needs_region = until in ("", "upload", "snapshot", "register", "publish")
    region = factory.region(start=True) if needs_region else None
    if needs_region and not quiet:
        output.say(f"region: {factory.region_words()}")
    if not quiet:
        say_mirrors(factory, prepared)
    known = preflight.early(factory, prepared, selection or Selection(), until, quiet=quiet) if needs_region else ()
    if prepared.lock is None and not quiet:
        why = "the recipe asks for other packages than its lock" if prepared.stale else "first build"
        output.say(f"{'lock':<14} run     {why}")
    prepared = factory.lock(prepared)
    plan = factory.plan(prepared, selection or Selection())
    if not quiet:
        for text in plan.warnings:
            output.warn(text)
    observed = factory.observe(plan, region)
    actions = factory.decide(plan, observed, until=until, rebuild=rebuild)
    if cached:
        require_cached(actions, cached)
    if not quiet and not any(each.do is Do.RUN for each in actions):
        output.say("nothing to do: every step is there")
    preflight.of_build(factory, prepared, plan, actions, known, quiet=quiet)
    done = factory.build(plan, actions, prepared.loaded.recipe)
    _remember(factory, prepared, plan)
    return build_report(path, plan, actions, done, observed.remote, factory.store, until)


def _remember(factory: Factory, prepared: Prepared, plan: Plan) -> None:
    """What `provenance` tells of an image besides its record; only of images that have it not yet."""
    from builder.provenance.origin import origin, recall, remember

    store = factory.store
    for each in plan.steps:
        if each.stage == "image" and store.has(each.key) and recall(store.root, each.key) is None:
            loaded = prepared.loaded
            found = origin(loaded.recipe.name, loaded.path, prepared.lock_path, each.variants[0])
            remember(store.root, each.key, found)


def _show_summary(report: dict[str, Any]) -> None:
    from builder.cli.summary import summary_text

    output.say(summary_text(report))
