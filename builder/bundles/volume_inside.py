"""The program that makes an image of a volume, in a mount namespace of its own.

A job (volume_job.py) comes in as JSON on stdin, and an answer goes out on stdout. All that it mounts goes with it.
"""

import json
import os
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from builder.bundles import volume_mounts
from builder.bundles.contract import Progress
from builder.bundles.directory import PREFIX
from builder.bundles.volume_job import Job, LeftOut, Made
from builder.bundles.volume_layer import Fleeting, State, Survey, changed, survey
from builder.bundles.volume_mounts import Mount
from builder.bundles.volume_rules import LEFT_EMPTY, Rules, Verdict
from builder.bundles.volume_tree import Part, all_ids_are_known, bound, merged, own_files, run_script
from builder.bundles.volume_write import ExtLayout, Vanished, layout_of, write_image
from builder.errors import BuilderError, RecipeError
from builder.formats.fstab import Naming
from builder.host import process, tree_files

_ATTEMPTS = 6
_SHOWN = 5


def main() -> None:
    """Answer one job."""
    os.umask(0o022)
    answer = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what programs print belongs to the log
    process.log_to(sys.stderr)

    def progress(done: int, total: int) -> None:
        answer.write(json.dumps({"progress": [done, total]}) + "\n")

    try:
        said: dict[str, Any] = {"made": asdict(_run(Job(**json.loads(sys.stdin.readline())), progress))}
    except BuilderError as error:
        said = {"error": {"brief": error.brief, "detail": error.detail, "hint": error.hint, "exit": int(error.exit)}}
    except OSError as error:
        traceback.print_exc()
        said = {"os_error": [error.errno, error.strerror, str(error.filename or "")]}
    answer.write(json.dumps(said) + "\n")
    answer.close()


def _run(job: Job, progress: Progress) -> Made:
    volume = Path(job.volume)
    mounts = volume_mounts.parse_mountinfo(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
    inner = volume_mounts.below(mounts, job.volume)
    rules, missing = _rules(job, inner)
    process.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", job.scratch])
    parts = [bound(job, volume, "", 0)]
    layout = layout_of(job, volume_mounts.traits(mounts, volume, parts[0].place))
    others = [each for each in inner if not each.in_memory and _is_wanted(_inside(each, job), rules, job)]
    if job.every_file_system:
        crossed = [each for each in others if Path(each.point).is_dir()]
        parts += [bound(job, Path(each.point), _inside(each, job), at) for at, each in enumerate(crossed, start=1)]
        others = []
    surveys = [survey(each.place, each.prefix, rules) for each in parts]
    _require_readable(surveys)
    needed, output, surveys = _persist(job, layout, parts, surveys, rules, _naming(mounts, job), progress)
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
    job: Job,
    layout: ExtLayout,
    parts: list[Part],
    first: list[Survey],
    rules: Rules,
    naming: Naming,
    progress: Progress,
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
            files = own_files(job, layout.filesystem, parts[0].place, naming)
            with merged(job, parts, surveys, files, attempt) as tree:
                output = run_script(job, tree)
                return write_image(job, layout, tree, progress), output, surveys
        except Vanished as error:
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


def _is_wanted(path: str, rules: Rules, job: Job) -> bool:
    """Whether what is mounted there is not left out anyway, with a directory that it is in."""
    unwanted = rules.exclude | rules.own | frozenset((*LEFT_EMPTY, *job.emptied))
    return not any(path == each or path.startswith(each + "/") for each in unwanted)


def _naming(mounts: Iterable[Mount], job: Job) -> Naming:
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
        if found.nobodys and not all_ids_are_known():
            raise BuilderError(
                f"{len(found.nobodys)} of the volume's files belong to users or groups that are not yours",
                detail=_names(found.nobodys),
                hint="run it as root: their owners cannot be kept otherwise",
            )


def _left_out(surveys: list[Survey]) -> tuple[LeftOut, ...]:
    found = [each for one in surveys for each in one.left_out if not Path(each[0]).name.startswith(PREFIX)]
    told = (Verdict.EXCLUDED, Verdict.SENSITIVE, Verdict.SOCKET, Verdict.WHITEOUT, Verdict.OWN)
    listed = (_first(kind.name.lower(), [path for path, why in found if why is kind]) for kind in told)
    return tuple(each for each in listed if each.count)


def _first(why: str, paths: list[str]) -> LeftOut:
    return LeftOut(why=why, count=len(paths), first=tuple(sorted(paths)[:_SHOWN]))


def _names(paths: list[str]) -> str:
    return "\n".join(f"/{each}" for each in sorted(paths)[:_SHOWN])


if __name__ == "__main__":
    main()
