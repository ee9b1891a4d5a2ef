"""What differs between two images, for people and as a document."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from builder.cli import output
from builder.compare.contents import Entry, Package
from builder.compare.differences import Differences, FileChange


def text(found: Differences, total: int, *, limit: int | None) -> Iterator[str]:
    """Lines, no more than `limit` for each part; None for all."""
    parts: tuple[tuple[str, Sequence[str]], ...] = (
        (_packages_title(found), list(_packages(found))),
        (_files_title(found), [*_files(found, everything=limit is None)]),
        ("settings" if found.settings else "", list(_settings(found))),
        (
            "disk" if found.disk else "",
            [f"  {f.name}: {f.before or 'none'} -> {f.after or 'none'}" for f in found.disk],
        ),
        (f"bytes: {found.blocks} of {total} blocks of 512 KiB differ" if found.blocks else "", []),
    )
    for title, lines in parts:
        if title:
            yield output.styled(title, "bold", sys.stdout)
            yield from map(_visible, lines[:limit])
            if len(lines) > len(lines[:limit]):
                yield f"  ... {len(lines) - len(lines[:limit])} more lines (--all)"


def document(found: Differences, total: int) -> dict[str, Any]:
    """The fields of builder/cli/schemas/diff.json after `before` and `after`."""
    return {
        "equal": found.equal,
        "packages": {
            "added": [_package(each) for each in found.packages_added],
            "removed": [_package(each) for each in found.packages_removed],
            "changed": [
                {
                    "name": each.name,
                    "architecture": each.architecture,
                    "before": list(each.before),
                    "after": list(each.after),
                    "size": each.size,
                }
                for each in found.packages_changed
            ],
        },
        "files": {
            "added": [_named(path, each) for path, each in found.files_added],
            "removed": [_named(path, each) for path, each in found.files_removed],
            "changed": [
                {
                    "path": _utf8(each.path),
                    "what": list(each.what),
                    "before": _entry(each.before),
                    "after": _entry(each.after),
                }
                for each in found.files_changed
            ],
            "times": [_utf8(path) for path in found.times],
        },
        "settings": [{"path": _utf8(each.path), "lines": list(each.lines)} for each in found.settings],
        "disk": [{"name": each.name, "before": each.before, "after": each.after} for each in found.disk],
        "blocks": {"different": found.blocks, "total": total},
    }


def _packages_title(found: Differences) -> str:
    counts = (len(found.packages_added), len(found.packages_removed), len(found.packages_changed))
    if not any(counts):
        return ""
    grown = sum(each.size for each in found.packages_added) + sum(each.size for each in found.packages_changed)
    grown -= sum(each.size for each in found.packages_removed)
    return f"packages: {counts[0]} added, {counts[1]} removed, {counts[2]} changed ({_more(grown)})"


def _packages(found: Differences) -> Iterator[str]:
    """The ones that change the size most come first."""
    rows = [(each.size, f"+ {each.name} {each.version} {each.architecture}") for each in found.packages_added]
    rows += [(-each.size, f"- {each.name} {each.version} {each.architecture}") for each in found.packages_removed]
    rows += [
        (each.size, f"~ {each.name} {', '.join(each.before)} -> {', '.join(each.after)} {each.architecture}")
        for each in found.packages_changed
    ]
    for size, line in sorted(rows, key=lambda row: (-abs(row[0]), row[1][2:])):
        yield _signed(f"{line}  {_more(size)}")


def _files_title(found: Differences) -> str:
    counts = (len(found.files_added), len(found.files_removed), len(found.files_changed))
    if not any((*counts, found.times)):
        return ""
    times = f", {len(found.times)} in nothing but their time" if found.times else ""
    return f"files: {counts[0]} added, {counts[1]} removed, {counts[2]} changed{times}"


def _files(found: Differences, *, everything: bool) -> Iterator[str]:
    """Changed ones first; a directory that is new or gone is one line with all that is in it."""
    for each in found.files_changed:
        yield _signed(f"~ {each.path}  {_change(each)}")
    for sign, entries in (("+", found.files_added), ("-", found.files_removed)):
        for path, held in _tops(dict(entries)).items():
            inside = f"  ({output.counted(held[0], 'file')}, {output.size(held[1])})" if held[0] else ""
            yield _signed(f"{sign} {path}{inside}")
    if everything:
        yield from (_signed(f"~ {path}  time") for path in found.times)


def _tops(entries: Mapping[str, Entry]) -> dict[str, tuple[int, int]]:
    """The names whose directory is not among them, with how many files and bytes they hold."""
    tops: dict[str, tuple[int, int]] = {}
    for path, entry in sorted(entries.items()):
        top = next((str(each) for each in reversed(PurePosixPath(path).parents) if str(each) in tops), path)
        count, size = tops.get(top, (0, 0))
        is_file = entry.kind != "directory" and top != path
        tops[top] = (count + is_file, size + (entry.size if top != path else 0))
    return tops


def _change(each: FileChange) -> str:
    old, new = each.before, each.after
    told = {
        "kind": f"{old.kind} -> {new.kind}",
        "content": f"content ({_more(new.size - old.size)})",
        "mode": f"mode {old.mode:04o} -> {new.mode:04o}",
        "owner": f"owner {old.uid}:{old.gid} -> {new.uid}:{new.gid}",
        "link": f"link {old.target} -> {new.target}",
        "xattrs": f"xattrs {_attributes(old)} -> {_attributes(new)}",
        "names": f"names: one with {old.same_as or 'nothing'} -> {new.same_as or 'nothing'}",
    }
    return ", ".join(told[what] for what in each.what)


def _attributes(entry: Entry) -> str:
    return " ".join(f"{name}={value[:40]}" for name, value in entry.xattrs) or "none"


def _settings(found: Differences) -> Iterator[str]:
    for each in found.settings:
        yield f"  {each.path}"
        yield from (f"    {line}" for line in each.lines)


def _signed(line: str) -> str:
    return f"  {line}"


def _more(count: int) -> str:
    return f"{'-' if count < 0 else '+'}{output.size(abs(count))}"


def _visible(line: str) -> str:
    """What an image says, fit for a terminal: nothing in it moves the cursor."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in _utf8(line.expandtabs(4)))


def _utf8(name: str) -> str:
    """A name of bytes that are no UTF-8, with them escaped."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _package(each: Package) -> dict[str, Any]:
    return {"name": each.name, "version": each.version, "architecture": each.architecture, "size": each.size}


def _named(path: str, entry: Entry) -> dict[str, Any]:
    return {"path": _utf8(path), **_entry(entry)}


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "sha256": entry.digest,
        "target": _utf8(entry.target),
        "xattrs": dict(entry.xattrs),
    }
