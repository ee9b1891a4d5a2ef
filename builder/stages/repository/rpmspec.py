"""The spec file of a repacked package, and the command that builds it. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError
from builder.formats.deb import Relation, Version
from builder.stages.repository.definition import Scriptlet
from builder.stages.repository.tree import Entry, Kind

_OPERATORS = {"<<": "<", "<=": "<=", "=": "=", ">=": ">=", ">>": ">"}
_ARCHITECTURES = {"amd64": "x86_64", "i386": "i686", "all": "noarch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpm:
    """Everything that decides an RPM, apart from its files' bytes, which are in the build root."""

    name: str
    version: Version
    architecture: str
    """RPM's word: x86_64, i686 or noarch."""
    summary: str
    epoch_seconds: int
    """Build time, and the latest time of modification of any file."""
    requires: tuple[str, ...] = ()
    requires_pre: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    scriptlets: tuple[Scriptlet, ...] = ()


def rpm_architecture(debian: str) -> str:
    """x86_64 for amd64, i686 for i386, noarch for all."""
    if debian not in _ARCHITECTURES:
        raise BuilderError(f"packages for {debian} cannot be repacked", hint="amd64, i386 and all can")
    return _ARCHITECTURES[debian]


def rpm_word(text: str) -> str:
    """Upstream version or revision for RPM, which sorts `~` as Debian does and allows `+`, but no hyphen."""
    return text.replace("-", ".")


def rpm_version(version: Version) -> str:
    """Always with epoch and release, so that an exact relation is exact."""
    return f"{version.epoch}:{rpm_word(version.upstream)}-{rpm_word(version.revision)}"


def rpm_relation(relation: Relation, version: Version | None) -> str:
    """`libc6 >= 0:2.34-0`; a missing revision is 0 for dpkg, while rpm would leave the release out of account."""
    if version is None:
        return relation.name
    return f"{relation.name} {_OPERATORS[relation.operator]} {rpm_version(version)}"


def rpm_alternatives(words: Iterable[str]) -> str:
    """One requirement: a plain one, or the rich `(a or b)`."""
    alternatives = tuple(dict.fromkeys(words))
    return alternatives[0] if len(alternatives) == 1 else f"({' or '.join(alternatives)})"


def format_spec(rpm: Rpm) -> str:
    """The spec file. Files are named one by one, with mode and owner; nothing is found out by rpmbuild."""
    return "\n".join(_lines(rpm)) + "\n"


def _lines(rpm: Rpm) -> Iterator[str]:
    yield f"Name: {rpm.name}"
    if rpm.version.epoch:
        yield f"Epoch: {rpm.version.epoch}"
    yield f"Version: {rpm_word(rpm.version.upstream)}"
    yield f"Release: {rpm_word(rpm.version.revision)}"
    yield f"Summary: {_escape(rpm.summary)}"
    yield f"License: see /usr/share/doc/{rpm.name}/copyright"
    if rpm.architecture == "noarch":
        yield "BuildArch: noarch"
    yield "AutoReqProv: no"
    yield from (f"Requires(pre): {each}" for each in rpm.requires_pre)
    yield from (f"Requires: {each}" for each in rpm.requires)
    yield from (f"Provides: {each}" for each in rpm.provides)
    yield from (f"Conflicts: {each}" for each in rpm.conflicts)
    yield f"%description\n{_escape(rpm.summary)}."
    for scriptlet in rpm.scriptlets:
        yield f"%transfiletriggerin -- {' '.join(scriptlet.on)}\n{_escape(scriptlet.text.strip())}"
    yield "%files"
    yield from (_file_line(entry) for entry in rpm.entries)


def _file_line(entry: Entry) -> str:
    mode = "-" if entry.kind is Kind.LINK else f"{entry.mode:04o}"
    words = [f"%attr({mode},{entry.owner},{entry.group})"]
    if entry.kind is Kind.DIRECTORY:
        words.append("%dir")
    if entry.config:
        words.append("%config(noreplace)")
    # rpm 4.18 takes a quoted name as it is: no globs, no backslashes; only macros are still looked for.
    return f'{" ".join(words)} "{_escape(entry.path)}"'


def _escape(text: str) -> str:
    return text.replace("%", "%%")


def rpmbuild_command(*, spec: Path, root: Path, work: Path, output: Path, architecture: str) -> list[str | Path]:
    """Build the binary package alone. Everything that rpm takes from the host or the clock is said here."""
    defines = {
        "_topdir": work,
        "_rpmdir": output,
        "_dbpath": work / "rpmdb",
        "_tmppath": work,
        "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        "_buildhost": "ami-factory",
        "_binary_payload": "w3.zstdio",  # level 3: the layer made from it is what is kept
        "_build_id_links": "none",
        "__os_install_post": "%{nil}",
        "__check_files": "%{nil}",  # breaks at a space in the path; and every file of the root has its line
        "debug_package": "%{nil}",
        "use_source_date_epoch_as_buildtime": "1",
        "clamp_mtime_to_source_date_epoch": "1",
        "vendor": "ami-factory quickstart",
        "packager": "%{nil}",
        "distribution": "%{nil}",
        "optflags": "%{nil}",
    }
    options: list[str | Path] = []
    for name, value in defines.items():
        options += ["--define", f"{name} {value}"]
    target = f"{architecture}-ami-linux"
    return ["rpmbuild", "-bb", "--noclean", "--target", target, "--buildroot", root, *options, spec]


def rpmbuild_environment(rpm: Rpm, work: Path) -> dict[str, str]:
    """The clock, a home without settings, and no libmagic: its database differs by host and decides a header tag.

    Looking every file up in it took rpmbuild 4.18 six sevenths of its time.
    """
    return {"SOURCE_DATE_EPOCH": str(rpm.epoch_seconds), "HOME": str(work), "MAGIC": "/dev/null"}
