"""From a recipe and its lock to the steps of each variant. Pure: nothing is read, nothing is run."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from builder.catalog.instance_types import SUCH_AS, InstanceType, instance_type, refusal
from builder.catalog.kernels import Kernel
from builder.errors import RecipeError
from builder.formats.toml import printable
from builder.lock import BaseLock, Lock
from builder.plan import published, specs
from builder.plan.repositories import repository_steps
from builder.plan.request import Made, Request, Sources, Target
from builder.plan.step import Chain, Plan, Step, Variant, merge, step
from builder.recipe.limits import limits_of
from builder.recipe.model import VIRTUALIZATIONS, Recipe

Layers = list[tuple[str, Step]]


def variants(
    recipe: Recipe,
    target: Target,
    *,
    architectures: tuple[str, ...] = (),
    instance_types: tuple[str, ...] = (),
    virtualization: tuple[str, ...] = (),
) -> tuple[Variant, ...]:
    """The recipe's variants, or those that the command line picked: one for every combination that EC2 has.

    RecipeError when a type that the command line picked is in none of them, or when a virtualization has none.
    """
    for virtual in virtualization:
        if virtual not in VIRTUALIZATIONS:
            raise RecipeError(
                f'virtualization: "{printable(virtual)}" is not one', hint=f"choose from {', '.join(VIRTUALIZATIONS)}"
            )
    kinds = [instance_type(name) for name in instance_types or recipe.instance_types]
    wanted = tuple(itertools.product(virtualization or recipe.virtualization, architectures or recipe.architectures))
    if instance_types:
        for kind in kinds:
            _require_some(kind, wanted)
    found = []
    for virtual, architecture in wanted:
        fitting = [kind for kind in kinds if not refusal(kind, architecture, virtual)]
        if not fitting:
            raise _no_type(kinds, architecture, virtual)
        found += [_variant(recipe, target, architecture, virtual, kind.name) for kind in fitting]
    return tuple(found)


def _variant(recipe: Recipe, target: Target, architecture: str, virtual: str, kind: str) -> Variant:
    return Variant(
        recipe=recipe.name,
        architecture=architecture,
        virtualization=virtual,
        instance_type=kind,
        kernel=recipe.kernel,
        region=target.region,
        account=target.account,
    )


def _require_some(kind: InstanceType, wanted: Iterable[tuple[str, str]]) -> None:
    reasons = {refusal(kind, architecture, virtual): (virtual, architecture) for virtual, architecture in wanted}
    if "" not in reasons:
        first, *others = reasons
        raise RecipeError(first, detail="\n".join(others), hint=_instead(*reasons[first]))


def _no_type(kinds: Iterable[InstanceType], architecture: str, virtual: str) -> RecipeError:
    """Nothing that was asked for can run this virtualization."""
    reasons = [refusal(kind, architecture, virtual) for kind in kinds]
    return RecipeError(
        f"no instance type for {virtual} images of {architecture}: {reasons[0]}",
        detail="\n".join(reasons[1:]),
        hint=_instead(virtual, architecture),
    )


def _instead(virtual: str, architecture: str) -> str:
    return f"choose a type for {virtual} images, such as --instance-type {SUCH_AS[virtual, architecture]}"


def compile_plan(
    recipe: Recipe,
    kernel: Kernel,
    lock: Lock,
    sources: Sources,
    made: Made,
    target: Target,
    wanted: tuple[Variant, ...],
    *,
    conditional: Mapping[str, tuple[Recipe, Sources]] | None = None,
) -> Plan:
    """The merged plan of the wanted variants. `conditional`: by a variant's name, what the recipe is for it where
    conditions change it; what is equal all the same has equal keys, and is made once."""
    plan = merge(
        Chain(variant=each.variant, steps=tuple(_limited(each)), warnings=tuple(_warnings(each)))
        for each in _requests(recipe, kernel, lock, sources, made, target, wanted, conditional or {})
    )
    published.refuse_shared_names(plan.steps)
    return plan


def published_plan(
    recipe: Recipe,
    kernel: Kernel,
    sources: Sources,
    target: Target,
    wanted: tuple[Variant, ...],
    *,
    conditional: Mapping[str, tuple[Recipe, Sources]] | None = None,
) -> Plan:
    """What the wanted variants will do in the region, of a recipe that has no lock yet: real specs, and keys that
    nothing has, since what they are made of is not known."""
    image = Step(stage="image", label="image", version=0, spec={}, inputs=())
    nothing = Lock(recipe=recipe.name, asks="", architectures={})
    return merge(
        Chain(variant=each.variant, steps=tuple((_publish_snapshot if each.hvm else _publish_bundle)(each, image, ())))
        for each in _requests(recipe, kernel, nothing, sources, Made(), target, wanted, conditional or {})
    )


def _requests(
    recipe: Recipe,
    kernel: Kernel,
    lock: Lock,
    sources: Sources,
    made: Made,
    target: Target,
    wanted: tuple[Variant, ...],
    conditional: Mapping[str, tuple[Recipe, Sources]],
) -> Iterator[Request]:
    for variant in wanted:
        its, files = conditional.get(variant.name, (recipe, sources))
        if refusal := kernel.refusal(variant.virtualization, variant.architecture):
            raise RecipeError(refusal, hint="choose another virtualization, or another kernel in the recipe")
        yield Request(recipe=its, kernel=kernel, lock=lock, sources=files, made=made, target=target, variant=variant)


def _warnings(request: Request) -> Iterator[str]:
    yield from request.locked.notes
    if request.unsupported:
        yield f"{request.variant.name}: the AMI will not boot: {request.unsupported}"


def _limited(request: Request) -> Iterator[Step]:
    """The way of one variant, each step with its limits."""
    for each in _chain(request):
        number = each.label.removeprefix("customise.")
        script = int(number) - 1 if number.isdecimal() else None
        yield replace(each, limits=tuple(sorted(limits_of(request.recipe, script).items())))


def _chain(request: Request) -> Iterator[Step]:
    """The way of one variant, from the repository to the AMI."""
    layers: Layers = []
    yield from _shared_tree(request, layers)
    configured = specs.configure_spec(request)
    configure = step("configure", configured, inputs=layers)
    yield configure
    image = step("image", specs.image_spec(request), inputs=(*layers, ("configure", configure)))
    yield image
    verify = step("verify", specs.verify_spec(request, configured), inputs=(("image", image),))
    yield verify
    gates = [verify]
    proof = specs.boot_spec(request)
    if proof is not None:
        # What verify finds takes seconds, and a boot a minute.
        boot = step("boot", proof, inputs=(("image", image),), after=(verify,))
        yield boot
        gates.append(boot)
    yield from (_publish_snapshot if request.hvm else _publish_bundle)(request, image, gates)


def _shared_tree(request: Request, layers: Layers) -> Iterator[Step]:
    """What all variants of an architecture have in common. Appends to `layers`, lowest first."""
    made = request.made
    repositories = repository_steps(
        request.recipe,
        request.variant.architecture,
        request.locked.sources,
        signing_key=made.signing_key,
        definition=made.definition,
    )
    yield from (each for _, each in repositories)
    keys = request.sources.keys.values()
    gpg_keys = tuple((digest, request.sources.paths[digest]) for digest in keys)

    if request.locked.base is not None:
        yield from _base(request, request.locked.base, layers)
    else:
        packages = step("packages", specs.packages_spec(request), inputs=repositories, sources=gpg_keys)
        yield packages
        layers.append(("packages", packages))
    yield from _files(request, layers)
    yield from _scripts(request, layers, "packages")
    kernel = step("kernel", specs.kernel_spec(request), inputs=(*repositories, *layers), sources=gpg_keys)
    yield kernel
    layers.append(("kernel", kernel))
    yield from _scripts(request, layers, "kernel")


def _base(request: Request, locked: BaseLock, layers: Layers) -> Iterator[Step]:
    """An existing image, and what its own package manager adds."""
    base = base_step(locked, request.variant.architecture, request.sources.base)
    yield base
    layers.append(("base", base))
    spec = specs.guest_spec(request, locked)
    if spec is not None:
        guest = step("guest", spec, inputs=layers)
        yield guest
        layers.append(("guest", guest))


def base_step(locked: BaseLock, architecture: str, place: str) -> Step:
    """The root tree of an existing image; `place` is where the recipe says that it is."""
    return step("base", specs.base_spec(locked, architecture), sources=((locked.pin, locked.location or place),))


def _files(request: Request, layers: Layers) -> Iterator[Step]:
    """The author's users and files, as one layer."""
    spec = specs.files_spec(request)
    if spec is not None:
        paths = request.sources.paths
        sources = ((each.sha256, paths[each.sha256]) for each in spec.files if each.text is None)
        files = step("customise", spec, label="customise.files", inputs=layers, sources=sources)
        yield files
        layers.append((files.label, files))


def _scripts(request: Request, layers: Layers, after: str) -> Iterator[Step]:
    """The author's scripts that run after the packages, or after the kernel: a layer each."""
    for number, (when, script) in enumerate(request.sources.scripts, start=1):
        if when == after:
            spec = specs.script_spec(request, script)
            each = step("customise", spec, label=f"customise.{number}", inputs=layers)
            yield each
            layers.append((each.label, each))


def _publish_snapshot(request: Request, image: Step, gates: Sequence[Step]) -> Iterator[Step]:
    """For EBS."""
    snapshot = step("snapshot", published.snapshot_spec(request), inputs=(("image", image),))
    yield snapshot
    registered = published.register_ebs_spec(request, snapshot.key)
    yield from _registered(request, step("register", registered, inputs=(("snapshot", snapshot),), after=gates), gates)


def _publish_bundle(request: Request, image: Step, gates: Sequence[Step]) -> Iterator[Step]:
    """For the instance store."""
    target = request.target
    certificates = (
        (target.user_certificate, target.user_certificate_path),
        (target.ec2_certificate, target.ec2_certificate_path),
    )
    bundle = step("bundle", published.bundle_spec(request), inputs=(("image", image),), sources=certificates)
    yield bundle
    upload = step("upload", published.upload_spec(request), inputs=(("bundle", bundle),))
    yield upload
    registered = published.register_spec(request, upload.key)
    yield from _registered(request, step("register", registered, inputs=(("upload", upload),), after=gates), gates)


def _registered(request: Request, register: Step, gates: Sequence[Step]) -> Iterator[Step]:
    """The AMI and, where the recipe says so, what makes it known. The gates hold that back too: an AMI that is there
    already may have been registered without them."""
    yield register
    if request.recipe.publish is not None:
        ((_, key),) = register.inputs
        yield step("publish", published.publish_spec(request, key), inputs=(("register", register),), after=gates)
