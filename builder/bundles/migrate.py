"""A bundle made for one region made good for another: its manifest, written anew.

The parts stay as they are. The key that they are encrypted with is wrapped for the other region's EC2 certificate,
which ec2-migrate-manifest forgets: what it migrates between partitions registers and never starts.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bundles.contract import Keys
from builder.errors import BuilderError, RecipeError, RegionError
from builder.formats import bundle_cipher
from builder.formats.bundle_manifest import BundleManifest, format_manifest
from builder.formats.manifest_grammar import IMAGE_IDS
from builder.formats.manifest_reader import open_manifest, read_manifest, verify_signature

if TYPE_CHECKING:
    from builder.cloud.errors import Client
    from builder.cloud.kernel_images import KernelImage


def opened(data: bytes, keys: Keys, where: str = "the manifest") -> BundleManifest:
    """What the manifest says; BuilderError unless the owner of `keys` signed it."""
    data = open_manifest(data, keys.private_key)
    manifest = read_manifest(data)
    if not verify_signature(data, keys.private_key.public_key()):
        raise BuilderError(
            f"{where}: its signature is not that of your certificate, or it was changed since it was signed",
            hint="give the certificate and private key that the bundle was made with",
        )
    return manifest


def migrate(data: bytes, keys: Keys, *, kernel_id: str | None = None, ramdisk_id: str | None = None) -> bytes:
    """The manifest for the region whose certificate is `keys.ec2`, version 2007-10-10, signed anew.

    Kernel and RAM disk change where one is given. All else is carried over; the old file need not have had it in the
    order that EC2 demands. BuilderError when `keys` did not sign the manifest or do not open the bundle.
    """
    manifest = opened(data, keys)
    session = bundle_cipher.unwrap_session(manifest, keys.private_key)
    changed = replace(
        manifest,
        account=manifest.account.replace("-", ""),  # EC2 refuses the dashes that old euca2ools wrote
        ec2_encrypted_key=bundle_cipher.wrap(session.key, keys.ec2),
        ec2_encrypted_iv=bundle_cipher.wrap(session.iv, keys.ec2),
        kernel_id=manifest.kernel_id if kernel_id is None else kernel_id,
        ramdisk_id=manifest.ramdisk_id if ramdisk_id is None else ramdisk_id,
    )
    try:
        return format_manifest(changed, lambda signed: bundle_cipher.sign(signed, keys.private_key))
    except ValueError as error:  # an element is missing that EC2 demands, or is not ASCII
        raise BuilderError(f"the manifest cannot be written for EC2: {error}") from error


def migrate_file(path: Path, migrated: bytes) -> Path:
    """Put the new manifest in place of the old, which is kept as PATH.bak; its path.

    BuilderError when there is a .bak already: it may be the only copy of what the first migration replaced.
    """
    kept, new = path.with_name(f"{path.name}.bak"), path.with_name(f".{path.name}.new")
    old = path.read_bytes()
    try:
        backup = kept.open("xb")
    except FileExistsError:
        raise BuilderError(
            f"{kept} exists already, and is not overwritten", hint="move it away if you do not need it"
        ) from None
    try:
        with backup:
            backup.write(old)
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(migrated)
        new.chmod(path.stat().st_mode & 0o7777)
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        kept.unlink(missing_ok=True)
        raise
    return kept


def check_id(image_id: str, type: str) -> None:
    """RecipeError for what cannot be the id of a `kernel` or `ramdisk` image."""
    if IMAGE_IDS[type].fullmatch(image_id) is None:
        example = {"kernel": "aki-919dcaf8", "ramdisk": "ari-a51cf9cc"}[type]
        raise RecipeError(f'"{image_id}" is not the id of a {type} image', hint=f"it looks like {example}")


def counterpart(image_id: str, target: "Client", regions: Callable[[], Iterable[tuple[str, "Client"]]]) -> str:
    """The image of the target region that is what `image_id` is in its own: of the same owner, kind and location,
    whatever the bucket.

    `regions` are searched for `image_id` when the target does not have it itself. RegionError when it is nowhere, or
    has no counterpart.
    """
    from builder.cloud.kernel_images import kernel_image, kernel_images_of

    if kernel_image(target, image_id) is not None:
        return image_id
    source = next(_found_in(image_id, regions()), None)
    if source is None:
        raise RegionError(f"{image_id} is in none of the regions that you can use", hint=_EXPLICIT)
    name, image = source
    same = [each for each in kernel_images_of(target, image.owner, image.type) if each.location == image.location]
    if not same:
        raise RegionError(
            f"{image_id} of {name}, {image.location} of {image.owner}, is not in the target region", hint=_EXPLICIT
        )
    return same[0].id


_EXPLICIT = "name one with --kernel or --ramdisk, or keep it with --no-mapping"


def _found_in(image_id: str, regions: Iterable[tuple[str, "Client"]]) -> Iterator[tuple[str, "KernelImage"]]:
    from builder.cloud.kernel_images import kernel_image

    return ((name, image) for name, client in regions if (image := kernel_image(client, image_id)) is not None)
