"""An image of a directory tree or a mounted volume, `/` of this machine too: no loop device, nothing copied aside.

The tree is read where it is, through an overlay that hides what is to stay out (volume_layer.py); `mke2fs -d` puts it
into a sparse file. That happens in a mount namespace of its own (volume_inside.py), so no mount is left whatever
happens. Root keeps all owners as they are; others can bundle what is theirs.
"""

import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builder.bundles import volume_rules
from builder.bundles.contract import Progress, no_progress
from builder.bundles.directory import clear_stale, private_directory
from builder.bundles.volume_job import Job, LeftOut, Made
from builder.bundles.volume_mounts import LABEL_BYTES
from builder.errors import BuilderError, Exit, HostError, RecipeError
from builder.formats.toml import printable
from builder.host import namespace, process, tree_files
from builder.host.workers import Worker

LARGEST_MIB = 10240
"""EC2's limit, and what is made when no size is given: the image is sparse."""
_MIB = 1 << 20
_ELF_MACHINES = {b"\x03\0": "i386", b"\x3e\0": "x86_64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """What is to be in the image."""

    path: Path = Path("/")
    size_mib: int = LARGEST_MIB
    exclude: tuple[str, ...] = ()
    """Absolute paths, from the volume's root or this machine's."""
    include: tuple[str, ...] = ()
    """Kept in spite of their sensitive names."""
    filtered: bool = True
    every_file_system: bool = False
    fstab: Path | None = None
    generate_fstab: str = ""
    """The architecture that it is for."""
    grub_config: Path | None = None
    script: Path | None = None
    filesystem: str = ""
    """This and the next two: "" for the volume's own."""
    label: str = ""
    uuid: str = ""
    epoch: int | None = None
    """SOURCE_DATE_EPOCH"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeImage:
    """A finished image, in a directory of ours until it is kept."""

    path: Path
    made: Made
    final: Path

    def keep(self) -> Path:
        """Give it its place and name."""
        self.path.rename(self.final)
        return self.final


@contextmanager
def volume_image(
    volume: Volume,
    destination: Path,
    name: str,
    *,
    private: tuple[Path, ...] = (),
    force: bool = False,
    progress: Progress = no_progress,
) -> Iterator[VolumeImage]:
    """Make the image; `keep` puts it at `destination/name`, and if nobody does it is gone at the end.

    `private`: files that must not be in it, such as the key that signs. The destination's own contents never are.
    """
    root = _directory(volume.path, "the volume")
    place = _directory(destination, "the destination")
    final = place / name
    if os.path.lexists(final) and not (force and final.is_file()):
        raise BuilderError(f"{final} exists already", hint="remove it, or choose another destination or prefix")
    process.require("mke2fs", "e2fsprogs")
    if os.geteuid() != 0:
        namespace.require_namespace()
    clear_stale(place)
    aside, lock = private_directory(place)
    try:
        job = _job(volume, root, place, name, aside, private)
        yield VolumeImage(path=Path(job.image), made=_run(job, aside / "log", progress), final=final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        os.close(lock)


def architecture(tree: Path) -> str:
    """Of a tree's shell: i386 or x86_64; "" when there is none, or one for another machine (elf(5))."""
    try:
        header = tree_files.read_start(tree, "/bin/sh", 20)
    except (OSError, BuilderError):
        return ""
    return _ELF_MACHINES.get(header[18:20], "") if header.startswith(b"\x7fELF") else ""


def _job(volume: Volume, root: Path, place: Path, name: str, aside: Path, private: tuple[Path, ...]) -> Job:
    if not 0 < volume.size_mib <= LARGEST_MIB:
        raise RecipeError(
            f"--size {volume.size_mib}: an image has 1 to {LARGEST_MIB} MiB", hint="EC2 takes no larger one"
        )
    _check_names(volume)
    scratch = aside / "mounts"
    scratch.mkdir()
    own = [each.resolve() for each in private]
    # In a destination that is the volume's root itself only the bundle's files can be told from the volume's.
    own += [each for each in place.iterdir() if each.name == name or each.name.startswith((f"{name}.", aside.name))]
    return Job(
        volume=str(root),
        image=str(aside / "image"),
        scratch=str(scratch),
        size=volume.size_mib * _MIB,
        exclude=_sorted(volume_rules.paths(volume.exclude, volume=str(root), option="--exclude")),
        include=_sorted(volume_rules.paths(volume.include, volume=str(root), option="--include")),
        emptied=_inside([place], root),
        own=_inside(own, root),
        filtered=volume.filtered,
        every_file_system=volume.every_file_system,
        filesystem=volume.filesystem,
        label=volume.label,
        uuid=volume.uuid,
        epoch=volume.epoch,
        fstab=_text(volume.fstab, "--fstab"),
        generate_fstab=volume.generate_fstab,
        grub_config=_text(volume.grub_config, "--grub-config"),
        script=_program(volume.script),
        environment=dict(os.environ) if volume.script else {},
    )


def _check_names(volume: Volume) -> None:
    if len(volume.label.encode(errors="surrogateescape")) > LABEL_BYTES:
        raise RecipeError(f'--label: "{printable(volume.label)}" has more than {LABEL_BYTES} bytes')
    if volume.uuid:
        try:
            uuid.UUID(volume.uuid)
        except ValueError:
            raise RecipeError(f'--uuid: "{printable(volume.uuid)}" is not a UUID', hint="see: uuidgen") from None


def _run(job: Job, log: Path, progress: Progress) -> Made:
    command = [sys.executable, "-m", "builder.bundles.volume_inside"]
    with Worker(command, namespace=True, log=log, way_in=namespace.beside) as worker:
        worker.tell(json.dumps(asdict(job)).encode())
        answer: dict[str, Any] = {}
        for line in worker.lines():
            answer = json.loads(line)
            if "progress" in answer:
                progress(*answer["progress"])
        code = worker.exit_code()
    if not answer or "progress" in answer:
        raise HostError(
            f"the image could not be made (exit code {code})",
            detail=log.read_text(errors="replace")[-2000:].strip(),
            hint="it takes a mount namespace of its own: containers may need the right to make one (CAP_SYS_ADMIN)",
        )
    return _answer(answer)


def _answer(said: dict[str, Any]) -> Made:
    if "error" in said:
        error = said["error"]
        raise BuilderError(error["brief"], detail=error["detail"], hint=error["hint"], exit=Exit(error["exit"]))
    if "os_error" in said:
        number, reason, name = said["os_error"]
        raise OSError(number, reason, name or None)
    made = said["made"]
    return Made(
        **{
            **made,
            "left_out": tuple(_left_out(each) for each in made["left_out"]),
            "changed": _left_out(made["changed"]),
            "other_file_systems": tuple(made["other_file_systems"]),
            "missing": tuple(made["missing"]),
        }
    )


def _left_out(plain: dict[str, Any]) -> LeftOut:
    return LeftOut(why=plain["why"], count=plain["count"], first=tuple(plain["first"]))


def _directory(path: Path, what: str) -> Path:
    try:
        found = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise RecipeError(f"{what} {path} is not there", hint="check the path") from None
    if not found.is_dir():
        raise RecipeError(f"{what} {path} is not a directory", hint="check the path")
    return found


def _inside(paths: list[Path], root: Path) -> tuple[str, ...]:
    return tuple(str(each.relative_to(root)) for each in paths if each != root and each.is_relative_to(root))


def _sorted(paths: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(paths))


def _text(path: Path | None, option: str) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(errors="surrogateescape")
    except OSError as error:
        raise RecipeError(f"{option} {path} cannot be read: {error.strerror}", hint="check the path") from error


def _program(path: Path | None) -> str:
    if path is None:
        return ""
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise RecipeError(f"--script {path} is not a program that can be run", hint="check the path, and chmod +x")
    return str(path.resolve())
