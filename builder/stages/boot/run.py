"""Boot an image and look at it over SSH; stop it here if it does not come up, or not as it should."""

import shutil
import sys
from pathlib import Path

from builder.catalog.instance_types import instance_type
from builder.catalog.kernels import PARTITIONED_LOADER
from builder.errors import BuilderError
from builder.formats.block_devices import root_device
from builder.machine.disks import instance_disks
from builder.machine.proof import INSTANCE, prove
from builder.machine.subject import Level, Proof, Subject, guest_memory, hvm_subject
from builder.stages.boot.spec import ProofSpec
from builder.stages.contract import Result, StageContext

_GIB = 1 << 30
_KEPT = ("proof.json", "metadata.log", "*.console")


def run(spec: ProofSpec, context: StageContext) -> Result:
    """Write the record and the consoles. BuilderError with the cause if the image does not hold."""
    booted = subject(spec, image=context.input("image").path / "disk.raw", cache=context.surroundings.cache)
    logs = context.scratch / "logs"
    proof = prove(
        booted,
        Level(spec.level),
        cache=context.surroundings.cache,
        scratch=context.scratch,
        logs=logs,
        say=lambda text: sys.stderr.write(f"{text}\n"),
    )
    if not proof.holds:
        for console in sorted(logs.glob("*.console")):  # the log of the step is what stays of one that failed
            sys.stderr.write(f"--- {console.name}\n{console.read_text(errors='replace')}\n")
        raise refusal(proof)
    for pattern in _KEPT:
        for path in logs.glob(pattern):
            shutil.move(path, context.output / path.name)
    return {
        "level": spec.level,
        "milliseconds": {phase: int(seconds * 1000) for phase, seconds in proof.seconds},
        "checks": [each.id for each in proof.checks],
    }


def subject(spec: ProofSpec, *, image: Path, cache: Path, memory_mib: int = 512) -> Subject:
    """What is booted for a spec. RecipeError when the instance type cannot start it."""
    kind = instance_type(spec.instance_type)
    hvm, partitioned = None, spec.loader == PARTITIONED_LOADER
    if spec.virtualization == "hvm":
        hvm = hvm_subject(kind, boot_mode=spec.boot_mode, volume=volume_bytes(image, spec.volume_size))
    return Subject(
        image=image,
        architecture=spec.architecture,
        instance_type=spec.instance_type,
        disks=instance_disks(cache, kind, hvm=INSTANCE if hvm else "", partitioned=partitioned),
        root_device="xvda" if hvm else root_device(partitioned=partitioned).removeprefix("/dev/"),
        loader=spec.loader,
        memory_mib=guest_memory(kind, memory_mib),
        injected=spec.authorized_keys,
        metadata_key=spec.metadata_key,
        token_required=spec.imds == "v2.0",
        hvm=hvm,
    )


def volume_bytes(image: Path, gib: int) -> int:
    """A volume of so many GiB, or of one more than the image needs."""
    return (gib or -(-image.stat().st_size // _GIB) + 1) * _GIB


def refusal(proof: Proof) -> BuilderError:
    """One error that tells all that does not hold, and the lines of the console that say why."""
    first, *others = proof.reasons
    lines = proof.cause.lines if proof.cause else ()
    return BuilderError(
        f"the image does not boot as it should on {proof.instance_type}: {first}",
        detail="\n".join([*others, *(f"console: {line}" for line in lines)]),
        hint=proof.cause.remedy if proof.cause else "the whole console is in the step's log: ami-factory logs KEY",
    )
