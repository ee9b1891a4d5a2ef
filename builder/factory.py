"""Joins the rooms: from a recipe's path to a plan, to actions, to finished objects. The command line calls this."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.catalog.certificates import certificate_of
from builder.catalog.regions import AMAZON, AMAZON_ACCOUNT, LOCAL, LOCAL_REGIONS
from builder.catalog.regions import region as find_region
from builder.errors import RecipeError
from builder.history import History
from builder.host.directories import cache_directory, region_directory, state_directory
from builder.identity import Identity, load_identity
from builder.lock import BaseLock, lock_path, write_lock
from builder.observe import Region, observe
from builder.plan.compile import base_step, compile_plan, published_plan, variants
from builder.plan.decide import Action, Do, Observed, decide
from builder.plan.request import Made, Target
from builder.plan.step import Plan, Step, Variant, step
from builder.prepared import Prepared, conditional, prepare, repacked, with_boot
from builder.recipe.mirrors import Mirror, mirrors
from builder.recipe.model import Base, Recipe
from builder.region.identity import identity as region_identity
from builder.stages.base.spec import PinSpec
from builder.stages.contract import Surroundings
from builder.stages.data import data_digest
from builder.stages.guest.spec import GuestResolveSpec
from builder.stages.packages.spec import ResolveSpec
from builder.stages.repository.definition import definition_digest
from builder.stages.repository.signing import make_signing_key, secret_key_file
from builder.stages.repository.spec import SourcesSpec
from builder.stages.values import SourcePackage
from builder.store.contract import Object
from builder.store.local import LocalStore

if TYPE_CHECKING:  # only what runs or locks pays for these
    from builder.execute import Listener, LocalExecutor, Outcome, Place
    from builder.preflight.finding import Finding
    from builder.preflight.question import Question
    from builder.resolve import Resolver


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options that all verbs share."""

    region: str = LOCAL
    profile: str | None = None
    endpoint_url: str | None = None
    store: Path | None = None
    jobs: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)
    """What every step may take of this machine, whatever recipes say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which variants the command line asks for; empty means all of the recipe's."""

    architectures: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()
    virtualization: tuple[str, ...] = ()
    boot: str = ""
    """Another level of the boot proof than the recipe's."""


@dataclass(slots=True, kw_only=True)
class Factory:
    """One invocation: options, places, and what was read so far."""

    options: Options
    listener: "Listener"
    say: Callable[[str], None]

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.options.store or cache_directory() / "store")

    def prepare(self, path: Path, *, anew: bool = False) -> Prepared:
        """See prepared.prepare."""
        return prepare(path, anew=anew)

    def lock(self, prepared: Prepared, *, update: bool = False) -> Prepared:
        """The recipe with a lock that fits it: the one beside it, or a new one, written there.

        Resolving anew makes the repository first where the distribution is repacked here.
        """
        if prepared.lock is not None and not update:
            return prepared
        recipe = prepared.loaded.recipe
        from builder.execute import LocalExecutor
        from builder.resolve import resolve

        # An image in the region is looked at there; packages need no region.
        there = prepared.sources.base.startswith(("s3://", "ami-"))
        endpoint = self.endpoint_url(start=True) if there else None
        with LocalExecutor(self.store, self._place(recipe, endpoint), jobs=self.options.jobs) as executor:
            resolver = self._resolver(executor, prepared.sources.base)
            fresh = resolve(
                recipe,
                prepared.loaded.kernel,
                prepared.key_files,
                prepared.sources.keys,
                resolver,
                repacked(recipe),
                prepared.by_architecture,
                before=prepared.lock,
            )
        write_lock(lock_path(prepared.loaded.path), fresh)
        return replace(prepared, lock=fresh, stale=False)

    def plan(self, prepared: Prepared, selection: Selection) -> Plan:
        """The plan of a locked recipe. Reads identities (certificates, the region's); runs nothing."""
        if prepared.lock is None:
            raise RecipeError(
                f"{prepared.loaded.path}: {'its lock no longer fits it' if prepared.stale else 'it has no lock yet'},"
                " so the keys of its steps are not known",
                hint=f"run: ami-factory lock {prepared.loaded.path}",
            )
        recipe = with_boot(prepared.loaded.recipe, selection.boot)
        target = self.target(recipe)
        wanted = _wanted(recipe, target, selection, tuple(prepared.lock.architectures))
        made = Made(
            configure=data_digest("configure"),
            configure_hvm=data_digest("configure/hvm"),
            image=data_digest("image"),
        )
        if any(each.repack for each in recipe.distribution.repositories):
            made = replace(made, signing_key=make_signing_key(state_directory()), definition=definition_digest())
        own = conditional(prepared, wanted, boot=selection.boot)
        kernel, sources = prepared.loaded.kernel, prepared.sources
        return compile_plan(recipe, kernel, prepared.lock, sources, made, target, wanted, conditional=own)

    def published(self, prepared: Prepared, selection: Selection) -> Plan:
        """What a recipe will do in the region, known before it has a lock; see plan.compile.published_plan."""
        recipe = prepared.loaded.recipe
        target = self.target(recipe)
        wanted = _wanted(recipe, target, selection, recipe.architectures)
        own = conditional(prepared, wanted)
        return published_plan(recipe, prepared.loaded.kernel, prepared.sources, target, wanted, conditional=own)

    def preflight(
        self,
        prepared: Prepared,
        plan: Plan,
        steps: Sequence[Step],
        *,
        sharing: bool = False,
        known: "Sequence[Question]" = (),
    ) -> "tuple[tuple[Finding, ...], tuple[Question, ...]]":
        """What would keep these steps of a plan from being done in the region, and the questions that were asked.

        Nothing is asked for steps that are all local. `known`: questions that were asked before. `sharing`: for what
        follows a build, too.
        """
        region = self.region(start=False)
        if region is None or not any(each.remote for each in steps):
            return (), ()
        from builder.preflight.check import preflight
        from builder.recipe.places import place_of

        identity = self.identity(prepared.loaded.recipe)
        return preflight(
            plan,
            steps,
            region.surroundings,
            pair=(str(identity.certificate), str(identity.private_key)),
            places=lambda key: place_of(prepared.loaded, key),
            sharing=sharing,
            known=known,
        )

    def observe(self, plan: Plan, region: Region | None) -> Observed:
        """What is there; `region` None: receipts are taken at their word."""
        return observe(plan, self.store, region=region)

    def decide(self, plan: Plan, observed: Observed, *, until: str = "", rebuild: str = "") -> tuple[Action, ...]:
        """What to do about every step, and why."""
        history = History(self.store.root / "history").load(plan.variants)
        return decide(plan, observed, history, until=until, rebuild=rebuild)

    def build(self, plan: Plan, actions: tuple[Action, ...], recipe: Recipe) -> dict[str, Object]:
        """Do it. Returns the objects of all steps that are finished now, by key; raises the first failure."""
        outcome = self.run(plan, actions, {each.name: recipe for each in plan.variants})
        return {} if outcome is None else outcome.whole()

    def run(self, plan: Plan, actions: tuple[Action, ...], recipes: Mapping[str, Recipe]) -> "Outcome | None":
        """Do it, of several recipes (by the names of their variants) as well; how each step ended, or None when there
        was nothing to run."""
        if not any(each.do is Do.RUN for each in actions):
            return None
        from builder.execute import LocalExecutor

        places = self._places(recipes)
        try:
            with LocalExecutor(
                self.store, next(iter(places.values())), jobs=self.options.jobs, places=places
            ) as executor:
                return executor.run(plan, actions, self.listener)
        finally:
            finished = {each.step.key for each in actions if each.do is Do.REUSE or self.store.has(each.step.key)}
            History(self.store.root / "history").save(plan, finished)

    def _places(self, recipes: Mapping[str, Recipe]) -> "dict[str, Place]":
        """For every variant the place with its recipe's secrets: one for all variants of a recipe."""
        endpoint = self.endpoint_url()
        made = {id(each): self._place(each, endpoint) for each in recipes.values()}
        return {name: made[id(each)] for name, each in recipes.items()}

    def region(self, *, start: bool) -> Region | None:
        """The region to ask; None when the local one is not running and `start` is not asked for."""
        endpoint = self.endpoint_url(start=start)
        if self.options.region in LOCAL_REGIONS and endpoint is None:
            return None
        surroundings = Surroundings(
            state=state_directory(),
            cache=cache_directory(),
            trees=self.store.trees,
            endpoint_url=endpoint,
            profile=self.options.profile,
        )
        return Region(name=self.options.region, surroundings=surroundings)

    def endpoint_url(self, *, start: bool = False) -> str | None:
        """The address to talk to: the option's, or the local region's; None for AWS's own, or when stopped."""
        if self.options.endpoint_url or self.options.region not in LOCAL_REGIONS:
            return self.options.endpoint_url
        from builder.region import control

        if start:
            return control.start(region_directory()).endpoint_url
        status = control.status(region_directory())
        return status.endpoint_url if status else None

    def target(self, recipe: Recipe) -> Target:
        """The region and account the AMIs are for, and the certificates that bundles are made with."""
        user = self.identity(recipe)
        if self.options.region in LOCAL_REGIONS:
            region = region_identity(region_directory())
            if recipe.bundle.account not in (None, region.account):
                self.say(f"note: bundle.account is for AWS; the local region's own account is {region.account}")
            return Target(
                region=self.options.region,
                partition="aws",
                endpoint=f"local-{region.id[:12]}",
                account=AMAZON_ACCOUNT if self.options.profile == AMAZON else region.account,
                user_certificate=user.fingerprint,
                user_certificate_path=str(user.certificate),
                ec2_certificate=region.fingerprint,
                ec2_certificate_path=str(region.certificate),
            )
        found = find_region(self.options.region)
        certificate = certificate_of(found.name)
        return Target(
            region=found.name,
            partition=found.partition,
            endpoint=self.options.endpoint_url or "aws",
            account=user.account or self.account(),
            user_certificate=user.fingerprint,
            user_certificate_path=str(user.certificate),
            ec2_certificate=certificate.sha256,
            ec2_certificate_path=str(certificate.path),
        )

    def identity(self, recipe: Recipe) -> Identity:
        """The certificate and key that bundles are signed with: the recipe's, the environment's, or our own."""
        return load_identity(
            state_directory(),
            account=recipe.bundle.account,
            certificate=recipe.bundle.certificate,
            private_key=recipe.bundle.private_key,
            note=self.say,
        )

    def account(self) -> str:
        """Whose the credentials are, as AWS says."""
        from builder.cloud.sts import account

        asked = self.region(start=False)
        assert asked is not None
        return account(asked.surroundings, self.options.region)

    def mirrors(self, recipe: Recipe) -> tuple[Mirror, ...]:
        """Where the recipe's repositories are taken from instead of their own addresses."""
        return mirrors(recipe, os.environ)

    def region_words(self) -> str:
        """The region, for people."""
        return f"{self.options.region} (emulated)" if self.options.region in LOCAL_REGIONS else self.options.region

    def _place(self, recipe: Recipe, endpoint_url: str | None) -> "Place":
        from builder.execute import Place

        state = state_directory()
        return Place(
            state=state,
            cache=cache_directory(),
            endpoint_url=endpoint_url,
            profile=self.options.profile,
            mirrors={each.repository: each.address for each in self.mirrors(recipe)},
            secrets={"private_key": str(self.identity(recipe).private_key), "signing_key": str(secret_key_file(state))},
            limits=self.options.limits,
        )

    def _resolver(self, executor: "LocalExecutor", image: str) -> "Resolver":
        from builder.resolve import ImageResolver, Resolver

        state = state_directory()

        def ask_dnf(
            spec: ResolveSpec, inputs: tuple[tuple[str, Step], ...], keys: Mapping[str, str]
        ) -> Mapping[str, Any]:
            asked = step("packages", spec, label="resolve", inputs=inputs, sources=keys.items())
            return executor.ask("builder.stages.packages.resolve", asked, self.listener)

        def apt(architecture: str, roots: tuple[str, ...]) -> tuple[tuple[SourcePackage, ...], tuple[str, ...]]:
            asked = step("repository", SourcesSpec(architecture=architecture, roots=roots), label="sources")
            answer = executor.ask("builder.stages.repository.resolve", asked, self.listener)
            return tuple(SourcePackage(**each) for each in answer["sources"]), tuple(answer["notes"])

        def pin(base: Base, architecture: str) -> Mapping[str, Any]:
            spec = PinSpec(
                location=image, sha256=base.sha256 or "", architecture=architecture, region=self.options.region
            )
            return executor.ask("builder.stages.base.resolve", step("base", spec, label="pin"), self.listener)

        def made(locked: BaseLock, architecture: str) -> Mapping[str, Any]:
            wanted = base_step(locked, architecture, image)
            executor.make((wanted,), self.listener)
            return self.store.get(wanted.key).record.result

        def ask_guest(locked: BaseLock, architecture: str, spec: GuestResolveSpec) -> Mapping[str, Any]:
            layers = (("base", base_step(locked, architecture, image)),)
            asked = step("guest", spec, label="resolve", inputs=layers)
            return executor.ask("builder.stages.guest.resolve", asked, self.listener)

        return Resolver(
            sources=apt,
            image=ImageResolver(pin=pin, made=made, guest=ask_guest),
            make=lambda steps: executor.make(steps, self.listener),
            resolve=ask_dnf,
            signing_key=lambda: make_signing_key(state),
            definition=definition_digest,
        )


def _wanted(
    recipe: Recipe, target: Target, selection: Selection, architectures: tuple[str, ...]
) -> tuple[Variant, ...]:
    """The variants that the command line picks. RecipeError for an architecture that is none of these."""
    for name in selection.architectures:
        if name not in architectures:
            raise RecipeError(
                f"{name} is not among the recipe's architectures", hint=f"it has: {', '.join(architectures)}"
            )
    return variants(
        recipe,
        target,
        architectures=selection.architectures,
        instance_types=selection.instance_types,
        virtualization=selection.virtualization,
    )
