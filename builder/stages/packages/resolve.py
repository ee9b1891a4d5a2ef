"""What `lock` pins: dnf's answer to the recipe's names, read from the headers of the very packages; or apt's."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builder.errors import BuilderError, RecipeError
from builder.host import process
from builder.host.sandbox import Bind, confined_command
from builder.stages import archives, dnf
from builder.stages.contract import Result, StageContext
from builder.stages.dnf_refusals import explain
from builder.stages.packages.spec import ResolveSpec
from builder.stages.values import PackageSource

# The distribution's own interpreter: python3-dnf is made for it.
PYTHON = "/usr/bin/python3"
_PROGRAM = Path(__file__).with_name("ask_dnf.py")


def run(spec: ResolveSpec, context: StageContext) -> Result:
    """Resolve, download and pin. Packages of repositories that are made here are read where they are."""
    if spec.archives:
        groups = {
            "packages": spec.packages,
            "kernel_packages": spec.kernel_packages,
            "hvm_packages": spec.hvm_packages,
        }
        return archives.resolve(groups, spec.archives, spec.architecture, spec.excludes, context)
    tree = context.scratch / "empty"
    tree.mkdir()
    question = {
        "architecture": dnf.ARCHITECTURES[spec.architecture],
        "release": spec.release,
        "packages": spec.packages,
        "kernel_packages": spec.kernel_packages,
        "hvm_packages": spec.hvm_packages,
    }
    with dnf.repositories(context, spec.repositories, excludes=spec.excludes, program="dnf") as found:
        binds = [
            *found.binds,
            Bind(source=tree, destination=f"{dnf.WORK}/root", writable=True),
            Bind(source=_PROGRAM, destination=f"{dnf.WORK}/ask_dnf.py"),
        ]
        done = process.run(
            confined_command([PYTHON, f"{dnf.WORK}/ask_dnf.py"], binds=binds, network=found.network),
            env=dnf.dnf_environment(),
            clean=True,
            stdin=json.dumps(question).encode(),
            capture=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    if "refused" in answer:
        raise _refusal(answer["refused"], done.stderr.decode(errors="replace"), spec, found.sources)
    ours = {source.id for source in spec.repositories if source.input}
    return {**answer, "metadata": {name: time for name, time in answer["metadata"].items() if name not in ours}}


def _refusal(refused: dict[str, Any], said: str, spec: ResolveSpec, sources: Sequence[PackageSource]) -> BuilderError:
    if "unknown" in refused:
        return _unknown(refused["unknown"], spec)
    text = str(refused["text"])
    if text.lstrip().startswith("Problem"):
        return RecipeError(
            "the packages cannot be installed together",
            detail=text.strip(),
            hint="a package that is missing, or excluded, or in conflict is named above: change distribution.packages, "
            "distribution.excludes or the repositories",
        )
    return explain(f"{said}\n{text}", sources)


def _unknown(missing: list[dict[str, Any]], spec: ResolveSpec) -> RecipeError:
    lines = []
    for each in missing:
        ours = {**dict.fromkeys(spec.kernel_packages, "packages"), **dict.fromkeys(spec.hvm_packages, "hvm.packages")}
        place = f"the kernel's {ours[each['name']]}" if each["name"] in ours else "distribution.packages"
        excluded = " (it is in distribution.excludes)" if each["name"] in spec.excludes else ""
        lines.append(f'{place}: no repository has "{each["name"]}"{excluded}')
    near = [name for each in missing for name in each["near"]]
    hint = f"did you mean {' or '.join(near)}?" if near else "see which names the repositories have: dnf list"
    return RecipeError(lines[0], detail="\n".join(lines[1:]), hint=hint)
