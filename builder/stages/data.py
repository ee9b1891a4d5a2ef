"""Files that a stage ships beside its code (units, scripts, configuration): they decide its output like its spec."""

import hashlib
from functools import cache
from pathlib import Path


@cache
def data_digest(stage: str) -> str:
    """SHA-256 of the names and bytes of every file of a stage's folder that is not Python: part of the stage's spec.
    `stage` may name a folder in it as well (configure/hvm), whose files are not among the stage's own.

    So a changed file moves the key by itself; VERSION has to be raised for code only.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.joinpath(stage).iterdir()):
        if path.is_file() and path.suffix != ".py" and not path.name.startswith("."):
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
