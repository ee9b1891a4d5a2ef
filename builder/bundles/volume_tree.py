"""The volume as its image is to have it: each of its file systems alone, with a layer over it, put together again.

Runs inside the namespace, with all that it mounts below the job's scratch directory.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.bundles.volume_fstab import generated_fstab
from builder.bundles.volume_job import Job
from builder.bundles.volume_layer import Layer, Survey
from builder.bundles.volume_rules import LEFT_EMPTY
from builder.errors import BuilderError, HostError
from builder.formats.fstab import Naming
from builder.host import process, tree_files
from builder.host.overlay import mounted


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file system of the volume: where it can be read without those mounted in it, and where it belongs."""

    place: Path
    prefix: str


def bound(job: Job, place: Path, prefix: str, number: int) -> Part:
    """The file system alone: what lies under its mount points shows, and nothing that is mounted there."""
    target = Path(job.scratch, f"part-{number}")
    target.mkdir()
    done = process.run(["mount", "--bind", place, target], capture=True, check=False)
    if done.returncode != 0:
        raise HostError(
            f"the volume {place} cannot be read apart from what is mounted in it",
            detail=done.stderr.decode(errors="replace").strip(),
            hint="run it as root: others may not look under mount points",
        )
    # Reading must not even change when a file was last read. Others than root may not change the flags of a mount.
    process.run(["mount", "-o", "remount,bind,ro,noatime", target], capture=True, check=False)
    return Part(place=target, prefix=prefix)


@contextmanager
def merged(job: Job, parts: list[Part], surveys: list[Survey], files: dict[str, bytes], attempt: int) -> Iterator[Path]:
    """The volume as the image is to have it. With a script it can be written to; the volume itself never is."""
    when = int(time.time()) if job.epoch is None else job.epoch
    base = Path(job.scratch, f"attempt-{attempt}")
    base.mkdir()
    tree = base / "tree"
    tree.mkdir()
    with ExitStack() as stack:
        for number, (part, found) in enumerate(zip(parts, surveys, strict=True)):
            root, work = base / f"layer-{number}", base / f"work-{number}"
            root.mkdir()
            work.mkdir()
            layer = Layer(root, part.place)
            layer.hide(found.hidden)
            if not part.prefix:
                for name in LEFT_EMPTY:
                    layer.add_directory(name, when)
                for path, data in files.items():
                    layer.add_file(path, data, when)
            layer.finish()
            lower = [part.place] if job.script else [part.place, root]
            upper = root if job.script else None
            target = base / f"merged-{number}"
            target.mkdir()
            own_marks = not all_ids_are_known()
            with _explained(part):
                stack.enter_context(
                    mounted(lower, upper=upper, work=work if upper else None, target=target, userxattr=own_marks)
                )
            process.run(["mount", "--bind", target, tree / part.prefix], capture=True)
            stack.callback(process.run, ["umount", tree / part.prefix], check=False)
        yield tree


@contextmanager
def _explained(part: Part) -> Iterator[None]:
    """The hint of an overlay that cannot be mounted is for who chooses a place for the store."""
    try:
        yield
    except HostError as error:
        raise HostError(
            f"nothing can be laid over the file system of /{part.prefix}",
            detail=error.brief,
            hint="copy the tree to ext4, xfs, btrfs or tmpfs, and bundle the copy",
        ) from None


def own_files(job: Job, filesystem: str, place: Path, naming: Naming) -> dict[str, bytes]:
    """What is put into the image in place of the volume's own, by its path without links on the way."""
    files = {}
    fstab = job.fstab
    if job.generate_fstab:
        fstab = generated_fstab(job.generate_fstab, filesystem=filesystem, naming=naming)
    if fstab is not None:
        files[_relative(place, "etc/fstab")] = fstab.encode(errors="surrogateescape")
    if job.grub_config is not None:
        known = [each for each in ("boot/grub/menu.lst", "boot/grub/grub.conf") if tree_files.exists(place, each)]
        for each in known or ["boot/grub/menu.lst"]:
            files[str(tree_files.follow(place, each).relative_to(place))] = job.grub_config.encode(
                errors="surrogateescape"
            )
    return files


def _relative(place: Path, path: str) -> str:
    return str(tree_files.locate(place, path).relative_to(place))


def run_script(job: Job, tree: Path) -> str:
    """Run the job's script on the tree; what it said."""
    if not job.script:
        return ""
    try:
        done = process.run([job.script, tree], env=job.environment, clean=True, capture=True, check=False)
    except OSError as error:
        raise BuilderError(f"--script {job.script} cannot be run: {error.strerror}") from error
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    if done.returncode != 0:
        raise BuilderError(f"--script {job.script} failed with exit code {done.returncode}", detail=said[-2000:])
    return said


def all_ids_are_known() -> bool:
    """Whether files have the owners here that they have on this machine: nobody's are really nobody's then."""
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
