"""Brings a bundle from S3 into a directory: every digest checked, and the manifest there only when all parts are."""

import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bundles.contract import Progress, no_progress
from builder.bundles.s3_parts import beside, in_parallel, key_of
from builder.cloud import s3
from builder.cloud.body import Abandoned
from builder.cloud.s3 import Bucket, Listed
from builder.errors import BuilderError, of_the_disk
from builder.formats.bundle_manifest import SIZE_LIMIT, BundleManifest, Part
from builder.formats.manifest_reader import open_manifest, read_manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_MANIFEST = "manifest"
_PARTS = "parts"


def manifest(bucket: Bucket, prefix: str, name: str) -> bytes:
    """A manifest as it lies in S3. BuilderError when it is larger than manifests are; no more of it is read."""
    key = key_of(prefix, name)
    data = s3.read_small(bucket, key, SIZE_LIMIT)
    if len(data) > SIZE_LIMIT:
        raise BuilderError(f"s3://{bucket.name}/{key} is no bundle manifest: it has more than {SIZE_LIMIT} bytes")
    return data


def manifest_names(bucket: Bucket, prefix: str) -> tuple[str, ...]:
    """The manifests directly below a prefix."""
    return tuple(sorted(name for name in beside(bucket, prefix) if name.endswith(".manifest.xml")))


def download(
    bucket: Bucket,
    prefix: str,
    manifest_name: str,
    directory: Path,
    *,
    private_key: "RSAPrivateKey | None" = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> Path:
    """Put a whole bundle into a directory that is there; the manifest's path.

    Parts come into a hidden directory inside it, are checked there, and get their names when all of them are right,
    the manifest last. Failed or killed and run again, it fetches what is missing. BuilderError when the directory
    holds other files of these names, unless `force` is to replace them.

    `private_key` opens manifests that were encrypted, as tools of 2006 did; they stay as they are.
    """
    data = manifest(bucket, prefix, manifest_name)
    parsed = read_manifest(data if private_key is None else open_manifest(data, private_key))
    objects = _objects(bucket, prefix, parsed, manifest_name)
    with _hidden(directory, manifest_name) as hidden:
        here = _here(parsed, (directory, hidden / _PARTS))
        if not force:
            _refuse_others(directory, parsed, manifest_name, data, here)
        missing = [part for part in parsed.parts if part.filename not in here]
        done = parsed.bundled_size - sum(objects[part.filename].size for part in missing)
        progress(done, parsed.bundled_size)

        stopped = threading.Event()

        def fetch(part: Part) -> int:
            _fetch(bucket, key_of(prefix, part.filename), part, objects[part.filename], hidden, stopped)
            return objects[part.filename].size

        for size in in_parallel(fetch, missing, stopped):
            done += size
            progress(done, parsed.bundled_size)
        (hidden / _MANIFEST).write_bytes(data)
        for part in parsed.parts:
            if here.get(part.filename) != directory:
                (hidden / _PARTS / part.filename).rename(directory / part.filename)
        (hidden / _MANIFEST).rename(directory / manifest_name)
        shutil.rmtree(hidden)
    return directory / manifest_name


def _objects(bucket: Bucket, prefix: str, parsed: BundleManifest, manifest_name: str) -> Mapping[str, Listed]:
    """The parts in S3, all there and together of the size that the manifest says. BuilderError otherwise."""
    names = [part.filename for part in parsed.parts]
    where = f"s3://{bucket.name}/{key_of(prefix, manifest_name)}"
    strange = [name for name in names if Path(name).name != name or name in (manifest_name, ".", "..")]
    if strange:
        raise BuilderError(f"{where}: {strange[0]!r} cannot be the name of a part")
    found = beside(bucket, prefix)
    missing = [name for name in names if name not in found]
    if missing:
        raise BuilderError(
            f"{where}: {len(missing)} of {len(names)} parts are not there", detail="\n".join(missing[:10])
        )
    size = sum(found[name].size for name in names)
    if size != parsed.bundled_size:
        raise BuilderError(f"{where}: the parts have {size} bytes, and the manifest says {parsed.bundled_size}")
    return {name: found[name] for name in names}


def _fetch(bucket: Bucket, key: str, part: Part, found: Listed, hidden: Path, stopped: threading.Event) -> None:
    """One part into the hidden directory, under its name only when its digest is the manifest's."""
    raw = hidden / f"{part.filename}.new"
    digest = hashlib.sha1(usedforsecurity=False)
    with raw.open("wb", buffering=0) as file:
        for piece in s3.read(bucket, key, start=0, length=found.size, etag=found.etag):
            if stopped.is_set():
                raise Abandoned
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != part.sha1:
        raw.unlink()
        raise BuilderError(
            f"s3://{bucket.name}/{key} is not the part that the manifest speaks of",
            detail=f"Its SHA-1 is {digest.hexdigest()}; the manifest says {part.sha1}.",
            hint="it is damaged, or of another bundle: upload the bundle again",
        )
    raw.rename(hidden / _PARTS / part.filename)


def _here(parsed: BundleManifest, places: tuple[Path, ...]) -> dict[str, Path]:
    """The parts that are on this machine already, and where."""
    found: dict[str, Path] = {}
    for part in parsed.parts:
        for place in places:
            path = place / part.filename
            if part.filename not in found and path.is_file() and not path.is_symlink() and _sha1(path) == part.sha1:
                found[part.filename] = place
    return found


def _refuse_others(
    directory: Path, parsed: BundleManifest, manifest_name: str, data: bytes, here: Mapping[str, Path]
) -> None:
    others = [
        part.filename
        for part in parsed.parts
        if os.path.lexists(directory / part.filename) and here.get(part.filename) != directory
    ]
    own = directory / manifest_name
    if os.path.lexists(own) and not (own.is_file() and own.read_bytes() == data):
        others.insert(0, manifest_name)
    if others:
        raise BuilderError(
            f"{directory} holds {len(others)} other files of these names",
            detail="\n".join(others[:10]),
            hint="two bundles must not be mixed: remove them, or choose another directory",
        )


@contextmanager
def _hidden(directory: Path, manifest_name: str) -> Iterator[Path]:
    """The place for what is not whole yet: the same for every try, and for one at a time."""
    hidden = directory / f".{manifest_name}.fetching"
    try:
        hidden.mkdir(mode=0o700, exist_ok=True)
        (hidden / _PARTS).mkdir(exist_ok=True)
        lock = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise of_the_disk(error) or BuilderError(
            f"{directory} is no directory to put a bundle into: {error.strerror}"
        ) from error
    try:
        _lock(lock, hidden, f"{directory}: another process is fetching {manifest_name}")
        try:
            yield hidden
        finally:
            for unfinished in hidden.glob("*.new"):
                unfinished.unlink()
            with suppress(OSError):  # it holds parts that are right, for the next try; or is gone
                (hidden / _PARTS).rmdir()
                hidden.rmdir()
    finally:
        os.close(lock)


def _lock(descriptor: int, path: Path, otherwise: str) -> None:
    """Take a directory for this process. BuilderError when another has it, or removed it a moment ago."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    raise BuilderError(otherwise, hint="wait for it, or choose another directory")


def _sha1(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
