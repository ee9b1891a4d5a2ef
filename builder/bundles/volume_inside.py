"""The program that makes an image of a volume, in a mount namespace of its own.

A job (volume_job.py) comes in as JSON on stdin, and an answer goes out on stdout. All that it mounts goes with it.
"""

import json
import os
import re
import stat
import sys
import time
import traceback
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builder.bundles import volume_mounts
from builder.bundles.volume_fstab import generated_fstab
from builder.bundles.volume_job import Job, LeftOut, Made
from builder.bundles.volume_layer import Fleeting, Layer, State, Survey, changed, survey
from builder.bundles.volume_mounts import Mount, Traits
from builder.bundles.volume_rules import LEFT_EMPTY, Rules, Verdict
from builder.errors import BuilderError, HostError, RecipeError
from builder.host import ext_image, process, tree_files
from builder.host.ext_size import MIB, inode_count, measure, size_for
from builder.host.overlay import mounted

_CONFIGURATION = Path(__file__).with_name("mke2fs.conf")
# Amazon's PV-GRUB reads neither 64bit nor metadata_csum, and no inode of ext2 and ext3 but of 128 bytes if it is old.
_FEATURES = "^64bit,^metadata_csum,^orphan_file"
_INODE_SIZE = {"ext2": 128, "ext3": 128, "ext4": 256}
# An old init finds no console without them; /dev is left empty otherwise. Name, major, minor, mode.
_NODES = (("console", 5, 1, 0o600), ("null", 1, 3, 0o666), ("tty", 5, 0, 0o666), ("zero", 1, 5, 0o666))
_ATTEMPTS = 6
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    filesystem: str
    label: str
    uuid: str
    hash_seed: str
    features: str = _FEATURES

    @property
    def inode_size(self) -> int:
        return _INODE_SIZE[self.filesystem]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One file system of the volume: where it can be read without those mounted in it, and where it belongs."""

    place: Path
    prefix: str


class _Vanished(Exception):
    """Something went away while it was read."""


def main() -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what programs print belongs to the log
    process.log_to(sys.stderr)
    try:
        said: dict[str, Any] = {"made": asdict(_run(Job(**json.loads(sys.stdin.readline()))))}
    except BuilderError as error:
        said = {"error": {"brief": error.brief, "detail": error.detail, "hint": error.hint, "exit": int(error.exit)}}
    except OSError as error:
        traceback.print_exc()
        said = {"os_error": [error.errno, error.strerror, str(error.filename or "")]}
    answer.write(json.dumps(said) + "\n")
    answer.close()


def _run(job: Job) -> Made:
    volume = Path(job.volume)
    mounts = volume_mounts.parse_mountinfo(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
    inner = volume_mounts.below(mounts, job.volume)
    rules, missing = _rules(job, inner)
    found = volume_mounts.traits(mounts, volume)
    layout = _layout(job, found)
    process.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", job.scratch])
    parts = [_bound(job, volume, "", 0)]
    others = [each for each in inner if not each.in_memory and _is_wanted(_inside(each, job), rules)]
    if job.every_file_system:
        crossed = [each for each in others if Path(each.point).is_dir()]
        parts += [_bound(job, Path(each.point), _inside(each, job), at) for at, each in enumerate(crossed, start=1)]
        others = []
    surveys = [survey(each.place, each.prefix, rules) for each in parts]
    _require_readable(surveys)
    needed, output, surveys = _persist(job, layout, parts, surveys, rules, _naming(mounts, job))
    after: dict[str, State] = {}
    for each in parts:
        after |= survey(each.place, each.prefix, rules).files
    before = {path: state for each in surveys for path, state in each.files.items()}
    return Made(
        filesystem=layout.filesystem,
        label=layout.label,
        uuid=layout.uuid,
        needed=needed,
        left_out=_left_out(surveys),
        other_file_systems=tuple(f"/{_inside(each, job)} ({each.type})" for each in others),
        changed=_first("changed", changed(before, after)),
        missing=missing,
        script_output=output,
    )


def _persist(
    job: Job, layout: _Layout, parts: list[_Part], first: list[Survey], rules: Rules, naming: Any
) -> tuple[int, str, list[Survey]]:
    """Make the image, and again without what has come and gone meanwhile when something has. The surveys that hold."""
    surveys, missed, gone = first, frozenset[str](), ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            surveys = [
                survey(each.place, each.prefix, rules, fleeting=Fleeting(first=found, missed=missed))
                for each, found in zip(parts, first, strict=True)
            ]
        try:
            return *_make(job, layout, parts, surveys, naming, attempt), surveys
        except _Vanished as error:
            gone = str(error)
            missed |= frozenset(re.findall(r'"(.*)"', gone))
    raise BuilderError(
        "files keep vanishing from the volume while it is read",
        detail=gone,
        hint="stop what writes there, or leave it out with --exclude",
    )


def _rules(job: Job, inner: Iterable[Mount]) -> tuple[Rules, tuple[str, ...]]:
    """Paths as they are without links on the way; what is included and not there is told."""
    root = Path(job.volume)

    def located(path: str) -> str:
        return str(tree_files.locate(root, path).relative_to(root))

    for path in job.exclude:
        if not os.path.lexists(tree_files.locate(root, path)):
            raise RecipeError(
                f"--exclude: /{path} is not in the volume {job.volume}", hint="what is to stay out must be named right"
            )
    missing = tuple(path for path in job.include if not os.path.lexists(tree_files.locate(root, path)))
    emptied = {*LEFT_EMPTY, *map(located, job.emptied), *(_inside(each, job) for each in inner)}
    rules = Rules(
        exclude=frozenset(map(located, job.exclude)),
        include=frozenset(map(located, job.include)),
        filtered=job.filtered,
        emptied=frozenset(emptied),
        own=frozenset(map(located, job.own)),
    )
    return rules, missing


def _inside(mount: Mount, job: Job) -> str:
    return os.path.relpath(mount.point, job.volume)


def _is_wanted(path: str, rules: Rules) -> bool:
    """Whether what is mounted there is not left out anyway, with a directory that it is in."""
    unwanted = rules.exclude | rules.own | frozenset(LEFT_EMPTY)
    return not any(path == each or path.startswith(each + "/") for each in unwanted)


def _bound(job: Job, place: Path, prefix: str, number: int) -> _Part:
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
    return _Part(place=target, prefix=prefix)


def _layout(job: Job, found: Traits) -> _Layout:
    filesystem = job.filesystem or found.filesystem
    if filesystem not in volume_mounts.EXT:
        filesystem = volume_mounts.DEFAULT_FILESYSTEM
    name = job.uuid or found.uuid
    if job.epoch is None:
        name, seed = name or str(uuid.uuid4()), str(uuid.uuid4())
    else:
        name = name or str(uuid.uuid5(uuid.NAMESPACE_OID, f"ami-factory volume {job.epoch}"))
        seed = str(uuid.uuid5(uuid.NAMESPACE_OID, f"ami-factory hash seed {name}"))
    return _Layout(filesystem=filesystem, label=job.label or found.label, uuid=name, hash_seed=seed)


def _naming(mounts: Iterable[Mount], job: Job) -> Any:
    """The kernel that will run the image is the one that runs here, when it is this machine that is bundled."""
    return "xvd" if Path(volume_mounts.holding(mounts, job.volume).source).name.startswith("xvd") else "sd"


def _require_readable(surveys: list[Survey]) -> None:
    for found in surveys:
        if found.unreadable:
            raise BuilderError(
                f"{len(found.unreadable)} of the volume's files cannot be read",
                detail=_names(found.unreadable),
                hint="run it as root, or leave them out with --exclude",
            )
        if found.nobodys and not _all_ids_are_known():
            raise BuilderError(
                f"{len(found.nobodys)} of the volume's files belong to users or groups that are not yours",
                detail=_names(found.nobodys),
                hint="run it as root: their owners cannot be kept otherwise",
            )


def _all_ids_are_known() -> bool:
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def _make(
    job: Job, layout: _Layout, parts: list[_Part], surveys: list[Survey], naming: Any, attempt: int
) -> tuple[int, str]:
    """Write the image. The bytes of the smallest that would do, and what the script said."""
    files = _files(job, layout, parts[0].place, naming)
    with _merged(job, parts, surveys, files, attempt) as tree:
        output = _run_script(job, tree)
        usage = measure(tree, allocated=True)
        needed = size_for(usage, 0, layout.inode_size)
        _require_size(job, needed, usage.blocks * 4096)
        environment = ext_image.environment(_CONFIGURATION, job.epoch)
        with Path(job.image).open("wb") as file:
            file.truncate(job.size)
        inodes = inode_count(usage, job.size)
        try:
            ext_image.make_file_system(layout, inodes=inodes, tree=tree, image=Path(job.image), environment=environment)
        except ext_image.DoesNotFit as error:
            raise _too_small(job, needed, error.detail) from None
        except BuilderError as error:
            if "No such file or directory" in error.detail or "Stale file handle" in error.detail:
                raise _Vanished(error.detail) from error
            raise
        root = tree.stat()
        has_dev = stat.S_ISDIR((tree / "dev").lstat().st_mode)
    _finish(job, layout, root, has_dev, environment)
    return needed, output


@contextmanager
def _merged(
    job: Job, parts: list[_Part], surveys: list[Survey], files: dict[str, bytes], attempt: int
) -> Iterator[Path]:
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
            stack.enter_context(
                mounted(
                    lower,
                    upper=upper,
                    work=work if upper else None,
                    target=target,
                    userxattr=not _all_ids_are_known(),
                )
            )
            process.run(["mount", "--bind", target, tree / part.prefix], capture=True)
            stack.callback(process.run, ["umount", tree / part.prefix], check=False)
        yield tree


def _files(job: Job, layout: _Layout, place: Path, naming: Any) -> dict[str, bytes]:
    """What is put into the image in place of the volume's own."""
    files = {}
    fstab = job.fstab
    if job.generate_fstab:
        fstab = generated_fstab(job.generate_fstab, filesystem=layout.filesystem, naming=naming)
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


def _run_script(job: Job, tree: Path) -> str:
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


def _require_size(job: Job, needed: int, data: int) -> None:
    if needed > job.size:
        raise _too_small(job, needed, "")
    room = os.statvfs(Path(job.image).parent)
    if room.f_bavail * room.f_frsize < data:
        raise HostError(
            f"there are {room.f_bavail * room.f_frsize // MIB} MiB left in the destination, and the image has "
            f"{data // MIB} MiB of data",
            hint="choose another --destination",
        )


def _too_small(job: Job, needed: int, said: str) -> BuilderError:
    least = -(-needed // MIB)
    return BuilderError(
        f"the volume does not fit into an image of {job.size // MIB} MiB",
        detail=said,
        hint=f"it needs about {least} MiB: give --size {least}"
        if needed <= 10 * 1024 * MIB
        else f"it needs about {least} MiB, and EC2 allows 10240: leave something out with --exclude",
    )


def _finish(job: Job, layout: _Layout, root: os.stat_result, has_dev: bool, environment: dict[str, str]) -> None:
    """What mke2fs does not do: the root directory's own mode and times, the nodes in /dev, times that are the job's."""
    image = Path(job.image)
    lines = ext_image.root_script(mode=stat.S_IMODE(root.st_mode), owner=(root.st_uid, root.st_gid))
    lines += [f"sif <{ext_image.ROOT_INODE}> mtime @{int(root.st_mtime)}"]
    nodes = _NODES if has_dev else ()
    for name, major, minor, mode in nodes:
        lines += [
            "cd /dev",
            f"mknod {name} c {major} {minor}",
            "cd /",
            f"sif /dev/{name} mode 0{stat.S_IFCHR | mode:o}",
        ]
    if job.epoch is not None:
        used = ext_image.used_inodes(ext_image.counts(image)) + len(nodes)
        lines += ext_image.times_script(epoch=job.epoch, inode_size=layout.inode_size, used_inodes=used)
    ext_image.run_debugfs(image, lines, environment)


def _left_out(surveys: list[Survey]) -> tuple[LeftOut, ...]:
    found = [each for one in surveys for each in one.left_out]
    told = (Verdict.EXCLUDED, Verdict.SENSITIVE, Verdict.SOCKET, Verdict.OWN)
    listed = (_first(kind.name.lower(), [path for path, why in found if why is kind]) for kind in told)
    return tuple(each for each in listed if each.count)


def _first(why: str, paths: list[str]) -> LeftOut:
    return LeftOut(why=why, count=len(paths), first=tuple(sorted(paths)[:_SHOWN]))


def _names(paths: list[str]) -> str:
    return "\n".join(f"/{each}" for each in sorted(paths)[:_SHOWN])


if __name__ == "__main__":
    main()
