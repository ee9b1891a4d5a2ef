"""Fetch, repack, index, sign: the RPM repository of the quickstart distribution."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from builder.errors import BuilderError, HostError
from builder.formats import deb
from builder.host import process
from builder.stages.contract import Result, StageContext
from builder.stages.repository import base, convert, signing, sources
from builder.stages.repository.definition import definition_digest, load_definition
from builder.stages.repository.rpmspec import rpm_architecture
from builder.stages.repository.spec import RepositorySpec

_WORKERS = min(4, os.cpu_count() or 1)


def run(spec: RepositorySpec, context: StageContext) -> Result:
    """Write `packages/*.rpm`, `repodata/` and `signing-key.asc`. Equal specs and keys give equal bytes."""
    if spec.definition != definition_digest():
        raise BuilderError(
            "the step was planned with other data of the repository stage than this program has",
            hint="plan and build again with one version of ami-factory",
        )
    if "signing_key" not in context.surroundings.secrets:
        raise HostError("no key to sign the repository with was given")
    for tool, package in (("rpmbuild", "rpm"), ("createrepo_c", "createrepo-c"), ("dpkg-deb", "dpkg"), ("gpg", "gpg")):
        process.require(tool, package)
    cache = context.surroundings.cache
    archives = sources.fetch(spec.sources, state=cache / "apt", cache=cache / "debs", progress=context.progress)
    packages = context.output / "packages"
    packages.mkdir()
    newest = _build_packages(spec, context, archives, packages)
    _index(context.output, newest)
    signing.sign(
        context.output / "repodata" / "repomd.xml",
        secret=Path(context.surroundings.secrets["signing_key"]),
        key=spec.signing_key,
        epoch=newest,
        public=context.output / "signing-key.asc",
    )
    return {"packages": len(spec.sources) + 2, "epoch": newest, "digests": _digests(context.output)}


def _build_packages(spec: RepositorySpec, context: StageContext, archives: dict[str, Path], packages: Path) -> int:
    """Repack every archive, and build the packages of our own. Returns the newest build time, which is theirs."""
    definition = load_definition()
    required = {"base-passwd", "base-files"} - set(archives)
    if required:
        raise BuilderError(f"the sources lack {min(required)}, which the base package is made from")
    masters = convert.read_texts(archives["base-passwd"], context.scratch, (base.PASSWD_MASTER, base.GROUP_MASTER))
    release = convert.read_texts(archives["base-files"], context.scratch, (base.OS_RELEASE,))[base.OS_RELEASE]
    users = base.merge_users(masters[base.PASSWD_MASTER], definition.users)
    groups = base.merge_groups(masters[base.GROUP_MASTER], definition.groups)
    accounts = base.accounts_of(users, groups)
    newest = 0
    essential = []

    def one(name: str) -> tuple[deb.Control, int]:
        control = convert.read_control(archives[name], context.scratch)
        place = convert.Workplace(directory=context.scratch / name, output=packages)
        return control, convert.repack(
            control, archives[name], place, accounts=accounts, definition=definition, neighbours=frozenset(archives)
        )

    # The largest first, so that none is left to do alone at the end.
    order = [each.name for each in sorted(spec.sources, key=lambda each: (-each.size, each.name))]
    with ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        tasks = [pool.submit(one, name) for name in order]
        try:
            for done, task in enumerate(as_completed(tasks), start=1):
                control, time = task.result()
                newest = max(newest, time)
                essential += [control.name] if control.essential else []
                context.progress("repack", done, len(order), "packages")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    foundation = base.Foundation(
        users=users,
        groups=groups,
        source=base.parse_os_release(release),
        essential=tuple(sorted(essential)),
        architecture=rpm_architecture(sources.debian_architecture(spec.architecture)),
        epoch=newest,
    )
    for name, build in ((definition.accounts, base.build_accounts), (definition.base, base.build_base)):
        build(definition, foundation, convert.Workplace(directory=context.scratch / name, output=packages))
    return newest


def _index(output: Path, epoch: int) -> None:
    """Write `repodata/`: its bytes depend on the packages alone."""
    for package in (output / "packages").iterdir():
        os.utime(package, (epoch, epoch))  # the index names the files' times
    process.run(createrepo_command(output, epoch), capture=True)


def createrepo_command(output: Path, epoch: int) -> list[str | Path]:
    """createrepo_c without anything that depends on the time or the order of threads."""
    return [
        "createrepo_c", "--quiet", "--no-database", "--simple-md-filenames", "--revision", str(epoch),
        "--set-timestamp-to-revision", "--workers", str(_WORKERS), output,
    ]  # fmt: skip


def _digests(output: Path) -> dict[str, str]:
    return {str(path.relative_to(output)): _sha256(path) for path in _files(output)}


def _files(output: Path) -> Sequence[Path]:
    return sorted(path for path in output.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
