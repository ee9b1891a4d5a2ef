"""Writing to the terminal: the result alone on stdout, all else on stderr."""

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from builder.errors import BuilderError

FORMAT = 1  # of every --json document

_STYLES = {
    "error": "1;31",
    "warning": "1;33",
    "note": "1;36",
    "hint": "1;36",
    "dim": "2",
    "good": "32",
    "run": "33",
    "bold": "1",
}


def colour_wanted(stream: Any = None) -> bool:
    """Colour only for people: a terminal, and NO_COLOR (no-color.org) not set."""
    stream = stream or sys.stderr
    return bool(stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


def styled(text: str, style: str, stream: Any = None) -> str:
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colour_wanted(stream) else text


def _write(text: str, stream: TextIO) -> None:
    """A line. A reader that went away (`| head -1`) is told no more; what the verb does goes on."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def say(text: str = "") -> None:
    """A line for people."""
    _write(text, sys.stderr)


def result(text: str) -> None:
    """A line of the result."""
    _write(text, sys.stdout)


def survive_any_encoding() -> None:
    """A name that the locale cannot write is written with escapes: a message is never lost for a letter in it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


_documents: list[str] = []  # kinds of what was printed: one at most


def document(kind: str, **content: Any) -> None:
    """The one JSON document of a verb, in ASCII: no locale can spoil it. builder/cli/schemas/KIND.json describes it."""
    _documents.append(kind)
    _write(json.dumps({"format": FORMAT, "kind": kind, **content}, indent=2), sys.stdout)


def error_document(error: BuilderError) -> None:
    """The document of a verb that failed, unless it has told its findings already."""
    if not _documents:
        document("error", exit=int(error.exit), brief=error.brief, detail=error.detail, hint=error.hint)


def show_error(error: BuilderError) -> None:
    say(f"{styled('error:', 'error')} {error.brief}")
    for line in error.detail.splitlines():
        say(f"  {line}")
    if error.hint:
        say(f"{styled('hint:', 'hint')} {error.hint}")


def warn(text: str) -> None:
    say(f"{styled('warning:', 'warning')} {text}")


def table(rows: Iterable[Sequence[str]], *, indent: str = "") -> str:
    """Columns as wide as they need to be; the last one as long as it likes."""
    rows = [tuple(row) for row in rows]
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        indent + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )


def size(count: int) -> str:
    """Bytes for people, in binary units."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def seconds(milliseconds: int) -> str:
    value = milliseconds / 1000
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {int(value % 60):02d} s"
