"""Takes a bundle apart: everything is checked, and the image appears whole or not at all."""

import errno
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bundles.contract import PartSource, Progress, no_progress
from builder.errors import BuilderError, RecipeError, of_the_disk
from builder.formats import bundle_cipher, manifest_reader
from builder.formats.bundle_manifest import BundleManifest, ManifestError
from builder.formats.sparse_writer import SparseWriter
from builder.formats.unseal import check_parts, unseal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

_PREFIX = ".ami-factory-unbundle-"


def unbundle(
    manifest_data: bytes,
    source: PartSource,
    private_key: "RSAPrivateKey",
    destination: Path,
    *,
    certificate: "RSAPublicKey | None" = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> Path:
    """Write the image to a file, or into a directory under the name that the manifest gives; the image's path.

    `private_key` is the user's or EC2's; `certificate`, when given, must have signed the manifest. BuilderError, with
    nothing left behind, unless all that the manifest says holds; RecipeError when the file is there already and may
    not be replaced (`force`), or is none (a device, a pipe). Holes and zeros become holes.
    """
    manifest, session = _opened(manifest_data, private_key, certificate)
    with _disk_errors(destination):
        path = _target(destination, manifest, force)
    with _written(path, force) as out:
        unseal(manifest, source, session, out, progress)
        out.finish(manifest.size)
    return path


def check(
    manifest_data: bytes,
    source: PartSource,
    private_key: "RSAPrivateKey | None" = None,
    certificate: "RSAPublicKey | None" = None,
    progress: Progress = no_progress,
) -> None:
    """Read all of a bundle and write nothing. BuilderError as from `unbundle`.

    Without a key only the parts can be checked, not what is in them.
    """
    if private_key is None:
        check_parts(_signed_manifest(manifest_data, certificate), source, progress)
        return
    manifest, session = _opened(manifest_data, private_key, certificate)
    unseal(manifest, source, session, _Nowhere(), progress)


class _Nowhere:
    """A sink for who only wants to know."""

    def write(self, offset: int, data: memoryview) -> None:
        pass


def _opened(
    data: bytes, private_key: "RSAPrivateKey", certificate: "RSAPublicKey | None"
) -> tuple[BundleManifest, bundle_cipher.SessionKey]:
    """The manifest, an encrypted one of old too, and what its parts are encrypted with."""
    manifest = _signed_manifest(manifest_reader.open_manifest(data, private_key), certificate)
    return manifest, bundle_cipher.unwrap_session(manifest, private_key)


def _signed_manifest(data: bytes, certificate: "RSAPublicKey | None") -> BundleManifest:
    manifest = manifest_reader.read_manifest(data)
    if certificate is not None and not manifest_reader.verify_signature(data, certificate):
        said = "was not signed by" if manifest.signature else "is not signed, so not by"
        raise ManifestError(
            f"bundle manifest: it {said} the owner of this certificate, or it was changed since",
            hint="give the certificate of the user who made the bundle",
        )
    if not manifest.size:
        raise ManifestError("bundle manifest: its image has 0 bytes")
    return manifest


# The file.


def _target(destination: Path, manifest: BundleManifest, force: bool) -> Path:
    """Where the image goes. Its name comes from the manifest only when it is one, and of no file of a bundle."""
    if not destination.is_dir():
        path = destination
    elif manifest.name.startswith(".") or "/" in manifest.name or _is_of_a_bundle(manifest.name):
        raise BuilderError(
            f'bundle manifest: its image is called "{manifest.name}", which is no name for a file in {destination}',
            hint="give a file to write it to, not a directory",
        )
    else:
        path = destination / manifest.name
    if not path.parent.is_dir():
        raise RecipeError(f"{path.parent} is not a directory to write the image into")
    if path.is_dir():
        raise RecipeError(f"{path} is a directory", hint="give another file to write the image to")
    if path.exists() and not path.is_file():
        # The rename that puts a whole image in place would put it in place of the device.
        raise RecipeError(f"{path} is no file, and is not replaced", hint="give another file to write the image to")
    if not force:
        _refuse_existing(path)
    return path


def _is_of_a_bundle(name: str) -> bool:
    """Whether a part or a manifest could be called so, this bundle's own too."""
    return name.endswith((".manifest", ".manifest.xml")) or re.search(r"\.part\.[0-9]+$", name) is not None


def _refuse_existing(path: Path) -> None:
    if path.is_symlink() or path.exists():
        raise RecipeError(f"{path} is there already", hint="remove it, or give another file to write the image to")


@contextmanager
def _written(path: Path, force: bool) -> Iterator[SparseWriter]:
    """A new file, for our eyes only, that becomes `path` at the end, on the disk by then; or was never there.

    It has no name until then, so that not even a killed process leaves anything; where the file system knows no such
    files it has a hidden one.
    """
    with _disk_errors(path):
        descriptor, hidden = _new_file(path.parent)
        try:
            yield SparseWriter(descriptor)
            os.fsync(descriptor)
            if force:
                hidden = hidden or _linked(descriptor, path.with_name(f"{_PREFIX}{secrets.token_hex(8)}"))
                hidden.replace(path)
            elif hidden is None:
                _linked(descriptor, path)
            else:
                _refuse_existing(path)
                hidden.replace(path)
            _sync_directory(path.parent)
        except BaseException:
            if hidden is not None:
                hidden.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def _new_file(directory: Path) -> tuple[int, Path | None]:
    """An open file on the file system of `directory`, and its name, if it has one."""
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), None
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):  # the latter from before Linux 3.11
            raise
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=directory)
    return descriptor, Path(name)


def _linked(descriptor: int, path: Path) -> Path:
    """Give a file without a name one that nobody has."""
    try:
        # Python follows the link in /proc only when told where to look from; the path is absolute, so anywhere will do.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
    except FileExistsError:
        _refuse_existing(path)
        raise
    return path


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise of_the_disk(error) or BuilderError(f"{error.filename or path}: {error.strerror}") from error


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
