"""What a step's record does not tell of a build, kept beside it in the store: the recipe, its lock, the host's tools.

STORE/origins/KEY.json, of an image's key. Written once, by the first build that has the image: a recipe that differs in
a comment alone makes the same one.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from builder import __version__
from builder.host import process
from builder.host.packages import required_packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an image came from. Nothing of it depends on who built it, or when."""

    recipe: str
    """The recipe's name."""
    recipe_sha256: str
    """Of the recipe's file."""
    lock_sha256: str
    variant: str
    version: str = __version__
    """Of ami-factory."""
    tools: Mapping[str, str] = field(default_factory=dict)
    """Debian packages of the host that builds need, to their versions."""


def origin(recipe: str, path: Path, lock: Path, variant: str) -> Origin:
    """Of a recipe that was just built here."""
    return Origin(recipe=recipe, recipe_sha256=_sha256(path), lock_sha256=_sha256(lock), variant=variant, tools=tools())


def tools() -> dict[str, str]:
    """The versions of the Debian packages that this machine builds with; none where dpkg is not the machine's."""
    names = [each.name for each in required_packages()]
    done = process.run(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}\\t${Package}\\t${Version}\\n", *names],
        capture=True,
        check=False,
    )
    lines = (line.split("\t") for line in done.stdout.decode(errors="replace").splitlines())
    return {line[1]: line[2] for line in lines if len(line) == 3 and line[0].startswith("ii")}


def remember(store: Path, key: str, found: Origin) -> None:
    """Keep it, unless something is kept of this key already."""
    path = _path(store, key)
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(asdict(found), indent=1))
    partial.rename(path)


def recall(store: Path, key: str) -> Origin | None:
    """None when an older version built it, or when what is kept is damaged: it only explains, it decides nothing."""
    try:
        return Origin(**json.loads(_path(store, key).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _path(store: Path, key: str) -> Path:
    return store / "origins" / f"{key}.json"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
