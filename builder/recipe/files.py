"""From `[[files]]`, `[[overlays]]`, `[[scripts]]` and `[[units]]` to what goes into the image: directories walked,
templates rendered, digests taken."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import RecipeError
from builder.formats.uefi_variables import parse_variables
from builder.recipe.load import Loaded
from builder.recipe.system import File, Overlay
from builder.recipe.templates import render_file, render_string
from builder.stages.customise.spec import File as FileEntry

__all__ = (
    "Collected",
    "collect",
    "find_source",
    "overlay_links",
    "render_string",
    "script_text",
    "uefi_variables",
    "unit_text",
)

MAX_FILES = 10_000
MAX_TEXT = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The files of a recipe, and where their bytes are."""

    files: tuple[FileEntry, ...]
    """In the recipe's order; the files of a directory by path."""
    sources: Mapping[str, str]
    """SHA-256 to the path of a file with these bytes, for files whose `text` is None."""


def collect(loaded: Loaded, variables: Mapping[str, Any]) -> Collected:
    """Read every file of the recipe once. RecipeError names the key and the file."""
    entries: list[FileEntry] = []
    sources: dict[str, str] = {}
    taken: dict[str, str] = {}
    for who, entry, path in _found(loaded, variables):
        where = f"{loaded.path}: {who}"
        if entry.destination in taken:
            raise RecipeError(f"{where}: {entry.destination} is also put there by {taken[entry.destination]}")
        taken[entry.destination] = who
        entries.append(entry)
        if entry.text is None:
            sources[entry.sha256] = str(path)
        if len(entries) > MAX_FILES:
            raise RecipeError(f"{where}: more than {MAX_FILES} files", hint="make a package of them")
    for destination, who in taken.items():
        for parent in Path(destination).parents:
            if str(parent) in taken:
                raise RecipeError(f"{loaded.path}: {who}: {destination} lies below {parent}, which is a file")
    return Collected(files=tuple(entries), sources=sources)


def _found(loaded: Loaded, variables: Mapping[str, Any]) -> Iterator[tuple[str, FileEntry, Path]]:
    """Every file, after the key that names it, and before the path that its bytes are from."""
    for index, file in enumerate(loaded.recipe.files):
        who = f"files[{index}]"
        for entry, path in _entries(loaded, file, f"{loaded.path}: {who}", variables):
            yield who, entry, path
    for index, overlay in enumerate(loaded.recipe.overlays):
        who = f"overlays[{index}]"
        for entry, path in _overlaid(loaded, overlay, f"{loaded.path}: {who}"):
            yield who, entry, path


def script_text(loaded: Loaded, index: int) -> str:
    """The text of scripts[index], from `run` or from its file."""
    script = loaded.recipe.scripts[index]
    if script.run is not None:
        return script.run
    where = f"{loaded.path}: scripts[{index}].source"
    return _text(find_source(loaded, script.source or "", where), where)


def unit_text(loaded: Loaded, index: int) -> str:
    """The text of units[index], from `content` or from its file."""
    unit = loaded.recipe.units[index]
    if unit.content is not None:
        return unit.content
    where = f"{loaded.path}: units[{index}].source"
    return _text(find_source(loaded, unit.source or "", where), where)


def uefi_variables(loaded: Loaded) -> str:
    """What register.uefi_data names, as EC2 takes it; "" where it names nothing."""
    name = loaded.recipe.register_.uefi_data
    if name is None:
        return ""
    where = f"{loaded.path}: register.uefi_data"
    path = find_source(loaded, name, where)
    try:
        return parse_variables(_bytes(path, where).decode("latin-1"))
    except ValueError as error:
        hint = "make it with `uefivars.py -o aws`, or take that of an instance: aws ec2 get-instance-uefi-data"
        raise RecipeError(f"{where}: {path}: {error}", hint=hint) from None


def overlay_links(loaded: Loaded) -> tuple[tuple[str, str], ...]:
    """Path and target of every link in the overlays: copied as they are, followed by nobody here."""
    found: dict[str, str] = {}
    for index, overlay in enumerate(loaded.recipe.overlays):
        where = f"{loaded.path}: overlays[{index}]"
        root = _overlay_root(loaded, overlay, where)
        for path in _everything(root, where):
            if path.is_symlink():
                found[_destination(path, root, where)] = str(path.readlink())
    return tuple(sorted(found.items()))


def _overlay_root(loaded: Loaded, overlay: Overlay, where: str) -> Path:
    root = find_source(loaded, overlay.source, f"{where}.source")
    if not root.is_dir():
        raise RecipeError(f"{where}.source: {root} is not a directory", hint="a single file belongs in [[files]]")
    return root


def _overlaid(loaded: Loaded, overlay: Overlay, where: str) -> Iterator[tuple[FileEntry, Path]]:
    """The regular files of an overlay, and where their bytes are. RecipeError for an owner or mode of nothing."""
    root = _overlay_root(loaded, overlay, where)
    unused = {*overlay.owners, *overlay.modes}
    for path in _everything(root, where):
        if path.is_symlink():
            continue
        destination = _destination(path, root, where)
        above = [destination, *(str(each) for each in Path(destination).parents)]
        owned = next((each for each in above if each in overlay.owners), "")
        moded = next((each for each in above if each in overlay.modes), "")
        unused -= {owned, moded}
        owner, _, group = overlay.owners.get(owned, "root:root").partition(":")
        file = File(destination=destination, content="", owner=owner, group=group, mode=overlay.modes.get(moded, None))
        yield _entry(file, destination, path, f"{where}.source", {}), path
    for each in sorted(unused):
        key = "owners" if each in overlay.owners else "modes"
        raise RecipeError(f"{where}.{key}: there is no file {each} in {root}", hint="links have neither owner nor mode")


def _destination(path: Path, root: Path, where: str) -> str:
    destination = f"/{path.relative_to(root)}"
    if any(not c.isprintable() for c in destination):
        raise RecipeError(f"{where}: a file name below {root} holds characters that cannot be printed")
    return destination


def _everything(directory: Path, where: str) -> Iterator[Path]:
    """All files and links below a directory, by name; no link is followed."""
    try:
        found = sorted(directory.iterdir())
    except OSError as error:
        raise RecipeError(f"{where}: {directory}: cannot be read: {error.strerror}") from None
    for path in found:
        if path.is_dir() and not path.is_symlink():
            yield from _everything(path, where)
        else:
            yield path


def find_source(loaded: Loaded, source: str, where: str) -> Path:
    """The file or directory that a `source` or key means, in the first of the recipe's directories that has it."""
    for directory in loaded.directories:
        path = directory / source
        if path.is_symlink() or path.exists():
            _refuse_outside(path, directory, where)
            return path
    places = " or ".join(str(each) for each in loaded.directories)
    raise RecipeError(f'{where}: there is no "{source}" in {places}')


def _entries(loaded: Loaded, file: File, where: str, variables: Mapping[str, Any]) -> Iterator[tuple[FileEntry, Path]]:
    if file.source is None:
        text = file.content or ""
        if file.template:
            text = render_file(Path(f"{where}.content"), text, variables)
        yield _text_entry(file, file.destination, text, executable=False), loaded.path
        return
    where = f"{where}.source"
    path = find_source(loaded, file.source, where)
    if not path.is_dir():
        yield _entry(file, file.destination, path, where, variables), path
        return
    for each in _walk(path, path, where):
        destination = f"{file.destination}/{each.relative_to(path)}"
        if any(not c.isprintable() for c in destination):
            raise RecipeError(f"{where}: a file name below {path} holds characters that cannot be printed")
        yield _entry(file, destination, each, where, variables), each


def _entry(file: File, destination: str, path: Path, where: str, variables: Mapping[str, Any]) -> FileEntry:
    if file.template:
        text = render_file(path, _text(path, where), variables)
        return _text_entry(file, destination, text, executable=os.access(path, os.X_OK))
    mode = _regular(path, where)
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RecipeError(f"{where}: {path}: cannot be read: {error.strerror}") from None
    return FileEntry(
        destination=destination,
        owner=file.owner,
        group=file.group,
        mode=_mode(file, executable=bool(mode & 0o100)),
        sha256=digest,
    )


def _text_entry(file: File, destination: str, text: str, *, executable: bool) -> FileEntry:
    return FileEntry(
        destination=destination,
        owner=file.owner,
        group=file.group,
        mode=_mode(file, executable=executable),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        text=text,
    )


def _mode(file: File, *, executable: bool) -> int:
    return int(file.mode, 8) if file.mode is not None else 0o755 if executable else 0o644


def _walk(directory: Path, root: Path, where: str) -> Iterator[Path]:
    """All files below a directory, by name; links only where they lead to a file inside it."""
    try:
        found = sorted(directory.iterdir())
    except OSError as error:
        raise RecipeError(f"{where}: {directory}: cannot be read: {error.strerror}") from None
    for path in found:
        if path.is_symlink():
            _refuse_outside(path, root, where)
            if path.is_dir():
                raise RecipeError(f"{where}: {path} is a link to a directory: copy the directory, or list it by itself")
            yield path
        elif path.is_dir():
            yield from _walk(path, root, where)
        else:
            yield path


def _refuse_outside(path: Path, root: Path, where: str) -> None:
    """Follow links, and refuse a path that they lead out of `root`."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise RecipeError(f"{where}: {path} is a link that leads nowhere") from None
    if not real.is_relative_to(root.resolve()):
        raise RecipeError(
            f"{where}: {path} is a link that leads out of {root}",
            hint="a recipe reads files of its own only: copy it there",
        )


def _regular(path: Path, where: str) -> int:
    """The mode of a regular file; devices, pipes and sockets are refused before they are opened."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise RecipeError(f"{where}: {path}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise RecipeError(f"{where}: {path} is not a regular file")
    return mode


def _text(path: Path, where: str) -> str:
    content = _bytes(path, where)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path}:{line}: not UTF-8 text", hint="leave out template = true") from None


def _bytes(path: Path, where: str) -> bytes:
    _regular(path, where)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_TEXT + 1)
    except OSError as error:
        raise RecipeError(f"{where}: {path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_TEXT:
        raise RecipeError(f"{where}: {path} is larger than {MAX_TEXT // 1024} KiB, too large for a text")
    return content
