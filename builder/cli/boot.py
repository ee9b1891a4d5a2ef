"""The verb boot: the boot proof of an image, or of what a recipe makes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.catalog.kernels import PARTITIONED_LOADER
from builder.catalog.regions import LOCAL
from builder.cli import options as o
from builder.cli import output, progress
from builder.errors import HostError, RecipeError
from builder.factory import Factory, Selection
from builder.formats import gpt, mbr
from builder.host.directories import cache_directory
from builder.prepared import conditional
from builder.stages.boot.spec import ProofSpec

if TYPE_CHECKING:
    from builder.machine.subject import Proof, Subject

What = Annotated[
    Path,
    typer.Argument(metavar="RECIPE|IMAGE", help="A recipe (.toml), or an image of a root disk.", show_default=False),
]
LevelName = Annotated[
    str,
    typer.Option("--level", metavar="LEVEL", help="direct (plain QEMU), login (as EC2), or full (as EC2, more boots)."),
]
Architecture = Annotated[
    list[str],
    typer.Option("--arch", metavar="ARCH", help="An image's architecture; of a recipe, only this.", show_default=False),
]
Logs = Annotated[
    Path | None,
    typer.Option("--logs", metavar="DIRECTORY", help="Where consoles and records are kept.", show_default=False),
]
FirmwareName = Annotated[
    str, typer.Option("--firmware", metavar="NAME", help="bios or uefi, of an HVM image: this one.", show_default=False)
]
Memory = Annotated[int, typer.Option("--memory", metavar="MIB", help="A guest's memory.", min=128, max=4096)]


def boot(
    what: What,
    level: LevelName = "login",
    instance_type: o.Types = [],  # noqa: B006
    arch: Architecture = [],  # noqa: B006
    virtualization: o.Virtual = [],  # noqa: B006
    firmware: FirmwareName = "",
    memory: Memory = 512,
    logs: Logs = None,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    jobs: o.Jobs = 0,
    json: o.Json = False,
    quiet: o.QuietFlag = False,
) -> None:
    """Boot an image as EC2 boots it, and look whether it is any good.

    As a paravirtual guest of Xen, through PV-GRUB, or, if it is partitioned (GPT), as an HVM guest with NVMe disks.
    With the disks of its instance type it must come up, get its address and its key, mount what its fstab says, and
    let in the right keys and no other; the root of an HVM image must grow to its volume. A recipe is built up to its
    image first, and every variant is booted. The image is never written to.

    Exit code 1 when something does not hold; the lines that tell the cause are shown.

    \b
    Examples:
      ami-factory boot recipes/quickstart.toml
      ami-factory boot recipes/quickstart.toml --virtualization hvm --instance-type t3.micro
      ami-factory boot disk.raw --level full --instance-type m1.large
      ami-factory boot hvm.raw --firmware uefi --instance-type m5d.large
    """
    from builder.machine.proof import prove
    from builder.machine.subject import Level

    if level not in tuple(Level):
        raise RecipeError(f'--level: "{level}" is not a level', hint=f"choose from {', '.join(Level)}")
    _check_firmware(firmware)
    proofs: list[tuple[str, Path, Proof]] = []
    factory = o.factory(region=region, profile=profile, endpoint_url=endpoint_url, store=store, jobs=jobs)
    with progress.listener(quiet or json, None) as listener:
        factory.listener = listener
        wanted = o.selection(instance_type, arch, virtualization, "")
        subjects = list(_subjects(factory, what, wanted, memory, firmware))
    for name, subject in subjects:
        place = (logs or cache_directory() / "machine" / "proofs").absolute() / name  # QEMU runs elsewhere
        scratch = cache_directory() / "machine" / "run"
        scratch.mkdir(parents=True, exist_ok=True)
        if not (quiet or json):
            output.say(f"{name}: booting {subject.image}")
        say = _silent if quiet or json else _phases()
        proof = prove(subject, Level(level), cache=cache_directory(), scratch=scratch, logs=place, say=say)
        proofs.append((name, place, proof))
        if not json:
            _show(name, place, proof)
    if json:
        output.document("boot", proofs=[document(*each) for each in proofs])
    if not all(proof.holds for _, _, proof in proofs):
        raise typer.Exit(1)


def _check_firmware(name: str) -> None:
    from builder.machine.guest import Firmware

    if name and name not in tuple(Firmware):
        raise RecipeError(f'--firmware: "{name}" is not a firmware', hint=f"choose from {', '.join(Firmware)}")


def _subjects(
    factory: Factory, what: Path, wanted: Selection, memory: int, firmware: str
) -> "Iterator[tuple[str, Subject]]":
    if what.suffix == ".toml":
        yield from _of_recipe(factory, what, wanted, memory, firmware)
        return
    image = what / "disk.raw" if what.is_dir() else what
    if not image.is_file():
        raise HostError(f"{image}: there is no such image", hint="name an image, or a recipe that ends in .toml")
    hvm = partitioned(image) == "gpt"
    if firmware and not hvm:
        raise RecipeError(f"--firmware: {image} has no GPT, and paravirtual images are started by no firmware")
    if wanted.virtualization:
        raise RecipeError(f"--virtualization: {image} is an image, whose partitions say what it is")
    for name in wanted.instance_types or ("t3.micro" if hvm else "m1.small",):
        for architecture in wanted.architectures or ("x86_64",):
            found = _of_image(image.absolute(), name, architecture, memory, hvm)
            yield f"{image.stem}-{name}-{architecture}", _with_firmware(found, firmware)


def partitioned(image: Path) -> str:
    """What partition table an image has: "gpt", as those of hvm, "mbr", as those for PV-GRUB hd00, or ""."""
    with image.open("rb") as file:
        start = file.read(2 * gpt.SECTOR)
    return "gpt" if gpt.begins(start) else "mbr" if mbr.begins(start) else ""


def _of_recipe(
    factory: Factory, path: Path, wanted: Selection, memory: int, firmware: str
) -> "Iterator[tuple[str, Subject]]":
    """What a recipe's variants are booted from: built up to the image."""
    from builder.stages.boot.run import subject

    prepared = factory.lock(factory.prepare(path))
    plan = factory.plan(prepared, wanted)
    actions = factory.decide(plan, factory.observe(plan, None), until="image")
    factory.build(plan, actions, prepared.loaded.recipe)
    kernel, own = prepared.loaded.kernel, conditional(prepared, plan.variants)
    for variant in plan.variants:
        recipe, _ = own.get(variant.name, (prepared.loaded.recipe, None))
        step = next(each for each in plan.chain(variant.name) if each.stage == "image")
        image = factory.store.object_path(step.key) / "disk.raw"
        registered = next(each for each in plan.chain(variant.name) if each.stage == "register").spec
        spec = ProofSpec(
            level="login",
            architecture=variant.architecture,
            instance_type=variant.instance_type,
            loader=PARTITIONED_LOADER if step.spec.get("mbr") else kernel.pv.loader,
            authorized_keys=recipe.ssh.authorized_keys,
            metadata_key=recipe.ssh.metadata_key,
            virtualization="hvm" if variant.virtualization == "hvm" else "paravirtual",
            boot_mode=registered.get("boot_mode", ""),
            volume_size=registered.get("volume", {}).get("size", 0),
            imds=registered.get("imds", ""),
        )
        made = subject(spec, image=image, cache=cache_directory(), memory_mib=memory)
        yield variant.name, _with_firmware(made, firmware)


def _of_image(image: Path, name: str, architecture: str, memory: int, hvm: bool) -> "Subject":
    from builder.machine.guest import LOADER
    from builder.stages.boot.run import subject

    return subject(
        ProofSpec(
            level="login",
            architecture=architecture,
            instance_type=name,
            loader=PARTITIONED_LOADER if partitioned(image) == "mbr" else LOADER,
            authorized_keys=(),
            metadata_key=True,
            virtualization="hvm" if hvm else "paravirtual",
            boot_mode="uefi-preferred" if hvm else "",
        ),
        image=image,
        cache=cache_directory(),
        memory_mib=memory,
    )


def _with_firmware(subject: "Subject", name: str) -> "Subject":
    """An HVM subject with this firmware alone, if one is named."""
    from dataclasses import replace

    from builder.machine.guest import Firmware

    if not name or subject.hvm is None:
        return subject
    if name not in subject.hvm.firmwares:
        raise RecipeError(f"--firmware: {subject.instance_type} starts no image with {name}")
    return replace(subject, hvm=replace(subject.hvm, firmwares=(Firmware(name),)))


def _phases() -> Any:
    """Tells each phase with its time."""
    import time

    began = time.monotonic()
    return lambda phase: output.say(f"  {time.monotonic() - began:6.1f} s  {phase}")


def _silent(text: str) -> None:
    """Nobody wants to know."""


def _show(name: str, place: Path, proof: "Proof") -> None:
    """The verdict on stdout; what it rests on, for people."""
    for each in proof.checks:
        if each.holds:
            output.say(f"  {output.styled('ok', 'good')}       {each.id}: {each.says}")
        else:
            output.say(f"  {output.styled('wrong', 'error')}    {each.id}: {each.says}")
    if proof.why:
        output.say(f"  {output.styled('wrong', 'error')}    {proof.why}")
    if proof.cause:
        for line in proof.cause.lines:
            output.say(f"             | {line}")
        output.say(f"  {output.styled('hint:', 'hint')}    {proof.cause.remedy}")
    if not proof.holds:
        output.say(f"  the console and what else was recorded: {place}")
    seconds = proof.seconds[-1][1] if proof.seconds else 0.0
    output.result(f"{name} {proof.level} {'holds' if proof.holds else 'does not hold'} {seconds:.1f} s")


def document(name: str, place: Path, proof: "Proof") -> dict[str, Any]:
    return {
        "name": name,
        "level": proof.level.value,
        "instance_type": proof.instance_type,
        "holds": proof.holds,
        "reasons": list(proof.reasons),
        "remedy": proof.cause.remedy if proof.cause else "",
        "lines": list(proof.cause.lines) if proof.cause else [],
        "phases": [{"name": phase, "milliseconds": int(seconds * 1000)} for phase, seconds in proof.seconds],
        "checks": [{"id": each.id, "holds": each.holds, "says": each.says} for each in proof.checks],
        "logs": str(place),
    }
