"""Two contents compared. Pure."""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from builder.compare.contents import Contents, Entry, Package

_CONTEXT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageChange:
    """A package of both, in other versions."""

    name: str
    architecture: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    size: int
    """How many bytes more it takes now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """A name of both that stands for something else."""

    path: str
    what: tuple[str, ...]
    """Of kind, content, mode, owner, link, xattrs, names."""
    before: Entry
    after: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A file of settings whose text differs, as a unified diff."""

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact of disk and file systems; "" where one of the two has none of that name."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """All that differs; every tuple is sorted by name."""

    packages_added: tuple[Package, ...] = ()
    packages_removed: tuple[Package, ...] = ()
    packages_changed: tuple[PackageChange, ...] = ()
    files_added: tuple[tuple[str, Entry], ...] = ()
    files_removed: tuple[tuple[str, Entry], ...] = ()
    files_changed: tuple[FileChange, ...] = ()
    times: tuple[str, ...] = ()
    """Names in which nothing but the time differs."""
    settings: tuple[Setting, ...] = ()
    disk: tuple[Fact, ...] = ()
    blocks: int = 0
    """Blocks of 512 KiB in which the images differ."""

    @property
    def equal(self) -> bool:
        return self == Differences()


def compare(before: Contents, after: Contents, *, blocks: int = 0) -> Differences:
    """What is other in `after`."""
    old, new = before.entries, after.entries
    both = sorted(old.keys() & new.keys())
    changed = tuple(each for each in (_file(path, old[path], new[path]) for path in both) if each.what)
    touched = {each.path for each in changed}
    added, removed, other = _packages(before.packages, after.packages)
    return Differences(
        packages_added=added,
        packages_removed=removed,
        packages_changed=other,
        files_added=tuple((path, new[path]) for path in sorted(new.keys() - old.keys())),
        files_removed=tuple((path, old[path]) for path in sorted(old.keys() - new.keys())),
        files_changed=changed,
        times=tuple(path for path in both if path not in touched and old[path].mtime != new[path].mtime),
        settings=tuple(_settings(old, new)),
        disk=tuple(_facts(before.disk, after.disk)),
        blocks=blocks,
    )


def blocks_that_differ(before: Sequence[str], after: Sequence[str]) -> int:
    """Of two lists of block digests, how many places are not equal."""
    return sum(a != b for a, b in zip(before, after, strict=False)) + abs(len(before) - len(after))


def _file(path: str, old: Entry, new: Entry) -> FileChange:
    found = []
    if old.kind != new.kind:
        found.append("kind")
    elif old.digest != new.digest:
        found.append("content")
    if old.mode != new.mode:
        found.append("mode")
    if (old.uid, old.gid) != (new.uid, new.gid):
        found.append("owner")
    if old.kind == new.kind and old.target != new.target:
        found.append("link")
    if old.xattrs != new.xattrs:
        found.append("xattrs")
    if old.same_as != new.same_as:
        found.append("names")
    return FileChange(path=path, what=tuple(found), before=old, after=new)


def _packages(
    before: Iterable[Package], after: Iterable[Package]
) -> tuple[tuple[Package, ...], tuple[Package, ...], tuple[PackageChange, ...]]:
    """Added, removed, and in other versions. Of some, such as kernels, several versions are installed at once."""
    old, new = _grouped(before), _grouped(after)
    added = tuple(each for name in sorted(new.keys() - old.keys()) for each in new[name])
    removed = tuple(each for name in sorted(old.keys() - new.keys()) for each in old[name])
    changed = tuple(
        PackageChange(
            name=name[0],
            architecture=name[1],
            before=tuple(each.version for each in old[name]),
            after=tuple(each.version for each in new[name]),
            size=sum(each.size for each in new[name]) - sum(each.size for each in old[name]),
        )
        for name in sorted(old.keys() & new.keys())
        if Counter(each.version for each in old[name]) != Counter(each.version for each in new[name])
    )
    return added, removed, changed


def _grouped(packages: Iterable[Package]) -> dict[tuple[str, str], list[Package]]:
    found: dict[tuple[str, str], list[Package]] = {}
    for each in packages:
        found.setdefault((each.name, each.architecture), []).append(each)
    return found


def _settings(old: Mapping[str, Entry], new: Mapping[str, Entry]) -> Iterable[Setting]:
    """The text of settings that differ. Of those that one of the two has alone the files tell."""
    for path in sorted(old.keys() & new.keys()):
        before, after = old[path].text, new[path].text
        if before is None or after is None or before == after:
            continue  # a secret, or no text; that it differs is among the files
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "", "", lineterm="", n=_CONTEXT)
        yield Setting(path=path, lines=tuple(lines)[2:])


def _facts(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[Fact]:
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name, ""), new.get(name, "")
        if before != after:
            yield Fact(name=name, before=before, after=after)
