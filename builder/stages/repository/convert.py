"""A .deb file as an RPM: relations translated, files with the owners and modes they had, /usr merged."""

import posixpath
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import BuilderError
from builder.formats import deb
from builder.host import process
from builder.host.rpm_warnings import check_warnings
from builder.stages.repository.definition import Definition
from builder.stages.repository.rpmspec import (
    Rpm,
    format_spec,
    rpm_alternatives,
    rpm_architecture,
    rpm_relation,
    rpm_version,
    rpmbuild_command,
    rpmbuild_environment,
)
from builder.stages.repository.tree import Accounts, Entry, Kind, Unpacker

_CONTROL_MEMBERS = frozenset({"control", "conffiles", "postinst"})
PRESETS = "/usr/lib/systemd/system-preset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where one package is taken apart and built; removed afterwards."""

    directory: Path
    output: Path

    @property
    def root(self) -> Path:
        return self.directory / "root"


def read_control(archive: Path, scratch: Path) -> deb.Control:
    """The control paragraph, conffiles and postinst of a .deb file."""
    control = scratch / f"{archive.stem}.control.tar"
    _extract("--ctrl-tarfile", archive, control)
    with tarfile.open(control, "r:") as members:
        texts = {
            name: content.read().decode("utf-8", errors="replace")
            for member in members
            if (name := member.name.removeprefix("./")) in _CONTROL_MEMBERS
            and (content := members.extractfile(member)) is not None
        }
    control.unlink()
    if "control" not in texts:
        raise BuilderError(f"{archive.name} has no control file")
    return deb.parse_control(texts)


def read_texts(archive: Path, scratch: Path, paths: tuple[str, ...]) -> dict[str, str]:
    """The text of some files of a .deb file; BuilderError if one is not there."""
    data = scratch / f"{archive.stem}.data.tar"
    _extract("--fsys-tarfile", archive, data)
    with tarfile.open(data, "r:") as members:
        texts = {
            path: content.read().decode("utf-8")
            for member in members
            if (path := "/" + member.name.removeprefix("./")) in paths
            and (content := members.extractfile(member)) is not None
        }
    data.unlink()
    missing = sorted(set(paths) - set(texts))
    if missing:
        raise BuilderError(f"{archive.name} has no {missing[0]}")
    return texts


def repack(
    control: deb.Control,
    archive: Path,
    place: Workplace,
    *,
    accounts: Accounts,
    definition: Definition,
    neighbours: frozenset[str],
) -> int:
    """Build the RPM of one .deb file below `place.output`. Returns its build time, the newest time in the .deb.

    `neighbours` are the names of all packages of the repository.
    """
    place.root.mkdir(parents=True)
    data = place.directory / "data.tar"
    _extract("--fsys-tarfile", archive, data)
    unpacker = Unpacker(
        package=control.name,
        root=place.root,
        accounts=accounts,
        omissions=definition.omissions,
        skeleton=definition.skeleton,
    )
    entries, newest = unpacker.unpack(data)
    data.unlink()
    entries = _with_attributes(entries, control, definition)
    entries = _sorted([*entries, *_additions(control, entries, place.root, definition)])
    rpm = describe(control, entries, newest, definition=definition, neighbours=neighbours)
    build(rpm, place)
    return newest


def describe(
    control: deb.Control,
    entries: tuple[Entry, ...],
    newest: int,
    *,
    definition: Definition,
    neighbours: frozenset[str],
) -> Rpm:
    """The RPM that stands for a Debian package. The base package comes before it, for its owners and /usr."""
    provides = [
        f"{each.name} = {rpm_version(deb.parse_version(each.version))}" if each.version else each.name
        for each in control.provides
    ]
    # Scripts name an interpreter where it was before /usr was merged: /bin/sh.
    moved = [each.moved_from for each in entries if each.moved_from.startswith(("/bin/", "/sbin/"))]
    moved = [path for path in moved if posixpath.dirname(path) in ("/bin", "/sbin")]
    return Rpm(
        name=control.name,
        version=control.version,
        architecture=rpm_architecture(control.architecture),
        summary=control.summary,
        epoch_seconds=newest,
        requires_pre=(definition.base, *(_requirement(each) for each in control.pre_depends)),
        requires=tuple(_requirement(each) for each in control.depends),
        provides=(*provides, *moved),
        conflicts=tuple(_relation(each) for each in control.conflicts if _conflicts(each, control, neighbours)),
        entries=entries,
        scriptlets=tuple(each for each in definition.scriptlets if each.package == control.name),
    )


def build(rpm: Rpm, place: Workplace) -> None:
    """Run rpmbuild on a filled build root; any warning of it is an error."""
    spec = place.directory / f"{rpm.name}.spec"
    spec.write_text(format_spec(rpm), encoding="utf-8")
    done = process.run(
        rpmbuild_command(
            spec=spec, root=place.root, work=place.directory, output=place.output, architecture=rpm.architecture
        ),
        env=rpmbuild_environment(rpm, place.directory),
        capture=True,
    )
    check_warnings((done.stdout + done.stderr).decode(errors="replace"))
    shutil.rmtree(place.directory)


def _conflicts(relation: deb.Relation, control: deb.Control, neighbours: frozenset[str]) -> bool:
    """Whether a conflict means something here.

    For dpkg a versioned relation is never met by an unversioned Provides (Policy 7.5), for rpm always: systemd
    breaks old resolvconf packages, and would exclude systemd-resolved, which provides the name.
    """
    return relation.name != control.name and (not relation.operator or relation.name in neighbours)


def _requirement(clause: deb.Alternatives) -> str:
    return rpm_alternatives(_relation(each) for each in clause)


def _relation(relation: deb.Relation) -> str:
    return rpm_relation(relation, deb.parse_version(relation.version) if relation.operator else None)


def _with_attributes(entries: tuple[Entry, ...], control: deb.Control, definition: Definition) -> tuple[Entry, ...]:
    """Conffiles marked, and the owners and modes that a postinst would set."""
    wanted = {each.path: each for each in definition.attributes if each.package == control.name}
    missing = sorted(set(wanted) - {entry.path for entry in entries})
    if missing:
        raise BuilderError(f"{control.name} has no {missing[0]}, whose mode the repository stage sets")
    changed = []
    for entry in entries:
        if (entry.moved_from or entry.path) in control.conffiles and entry.kind is Kind.FILE:
            entry = replace(entry, config=True)
        if entry.path in wanted:
            entry = replace(entry, mode=wanted[entry.path].mode, group=wanted[entry.path].group)
        changed.append(entry)
    return tuple(changed)


def _additions(
    control: deb.Control, entries: tuple[Entry, ...], root: Path, definition: Definition
) -> tuple[Entry, ...]:
    """Links, files, copies and presets that the package's own scripts would have made, written and described."""
    have = {entry.path: entry for entry in entries}
    made = [add_link(root, link.path, link.target) for link in definition.links if link.package == control.name]
    made += [
        add_file(root, file.path, file.text, mode=file.mode, group=file.group)
        for file in definition.files
        if file.package == control.name
    ]
    for copy in definition.copies:
        if copy.package == control.name:
            if copy.origin not in have:
                raise BuilderError(f"{control.name} has no {copy.origin} to copy to {copy.path}")
            made.append(add_file(root, copy.path, (root / copy.origin[1:]).read_text(encoding="utf-8")))
    if control.units:
        text = f"# What {control.name}'s own postinst enables in Debian.\n"
        text += "".join(f"enable {unit}\n" for unit in control.units)
        made.append(add_file(root, f"{PRESETS}/80-{control.name}.preset", text, config=False))
    return tuple(made)


def add_link(root: Path, path: str, target: str) -> Entry:
    """Make a link in a build root."""
    place = root / path[1:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    return Entry(path=path, kind=Kind.LINK, mode=0o777)


def add_file(
    root: Path, path: str, text: str, *, mode: int = 0o644, group: str = "root", config: bool | None = None
) -> Entry:
    """Write a file in a build root; below /etc it is configuration unless `config` says otherwise."""
    place = root / path[1:]
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("x", encoding="utf-8") as file:
        file.write(text)
    is_config = path.startswith("/etc/") if config is None else config
    return Entry(path=path, kind=Kind.FILE, mode=mode, group=group, config=is_config)


def _sorted(entries: list[Entry]) -> tuple[Entry, ...]:
    by_path: Mapping[str, Entry] = {entry.path: entry for entry in entries}
    return tuple(by_path[path] for path in sorted(by_path))


def _extract(option: str, archive: Path, destination: Path) -> None:
    """Write one of a .deb's two archives uncompressed. dpkg-deb knows every compression there is."""
    script = 'exec dpkg-deb "$1" "$2" > "$3"'
    process.run(["sh", "-c", script, "dpkg-deb", option, archive, destination])
