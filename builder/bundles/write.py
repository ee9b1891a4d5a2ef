"""Makes a bundle of an image: parts into a sink in one pass, and the manifest that the user's key signs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder import __version__
from builder.bundles.contract import Description, Keys, PartSink, Progress, no_progress
from builder.bundles.directory import DirectorySink
from builder.bundles.image import Image
from builder.errors import RecipeError
from builder.formats import bundle_cipher, tar_member
from builder.formats.bundle_cipher import SessionKey
from builder.formats.bundle_manifest import (
    BundleManifest,
    Bundler,
    Part,
    format_manifest,
    part_names,
)
from builder.formats.bundle_stream import Sealed, largest_count, seal
from builder.formats.gzip_stream import Level
from builder.formats.manifest_reader import read_manifest

ARCHITECTURES = ("i386", "x86_64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled:
    """A bundle whose parts are in the sink, and the manifest that makes them one."""

    manifest: bytes
    manifest_name: str
    names: tuple[str, ...]
    """Of the parts, in order."""
    sealed: Sealed
    parsed: BundleManifest


def bundle(
    image: Image,
    description: Description,
    keys: Keys,
    sink: PartSink,
    *,
    level: Level = "fast",
    names: tuple[str, ...] | None = None,
    session: SessionKey | None = None,
    workers: int | None = None,
    progress: Progress = no_progress,
    stop: Callable[[], None] = lambda: None,
) -> Bundled:
    """Put the image's parts into `sink`. Nothing secret is logged or kept: the session key lives in this call only.

    `names` are for sinks that have to know a part's name before the count is known, see `stream_names`; as many as
    there are parts are used. A given `session` key is for tests: it must never encrypt two images.
    `stop` is called first when anything fails, see `seal`.
    """
    check(description)
    session = session or bundle_cipher.new_session_key()
    sealed = seal(
        description.name,
        image.size,
        image.blocks(),
        session,
        sink,
        level=level,
        progress=progress,
        stop=stop,
        workers=workers,
    )
    count = len(sealed.parts)
    used = part_names(description.name, count) if names is None else names[:count]
    manifest = format_manifest(
        _manifest(description, keys, image.size, sealed, used, session),
        lambda signed: bundle_cipher.sign(signed, keys.private_key),
    )
    return Bundled(
        manifest=manifest,
        manifest_name=manifest_name(description.name),
        names=used,
        sealed=sealed,
        parsed=read_manifest(manifest),
    )


def bundle_to_directory(
    image: Image,
    description: Description,
    keys: Keys,
    directory: Path,
    *,
    level: Level = "fast",
    session: SessionKey | None = None,
    workers: int | None = None,
    progress: Progress = no_progress,
    force: bool = False,
) -> Path:
    """Put a whole bundle into a directory that is there; the manifest's path. Nothing is left there on failure.

    BuilderError when it holds files of a bundle of that name, unless `force` is to replace them.
    """
    check(description)
    with DirectorySink(directory, description.name, force=force) as sink:
        made = bundle(image, description, keys, sink, level=level, session=session, workers=workers, progress=progress)
        return sink.keep(made.names, made.manifest_name, made.manifest)


def manifest_name(name: str) -> str:
    return f"{name}.manifest.xml"


def stream_names(name: str, size: int) -> tuple[str, ...]:
    """Names for the parts of an image of `size` bytes before their count is known: padded for as many as can be."""
    return part_names(name, largest_count(size))


def check(description: Description) -> None:
    """RecipeError for what EC2 would refuse, before any work is done."""
    if tar_member.NAME.fullmatch(description.name) is None:
        raise RecipeError(
            f'"{description.name}" cannot be the name of a bundle',
            hint="use 1 to 100 letters, digits, dots, dashes and underscores, a letter or digit first",
        )
    if re.fullmatch(r"[0-9]{12}", description.account) is None:
        raise RecipeError(
            f'"{description.account}" is not an AWS account number', hint="write its 12 digits, without dashes"
        )
    if description.architecture not in ARCHITECTURES:
        raise RecipeError(
            f"EC2 has no instance-store images for {description.architecture}",
            hint=f"use {' or '.join(ARCHITECTURES)}",
        )


def _manifest(
    description: Description, keys: Keys, size: int, sealed: Sealed, names: tuple[str, ...], session: SessionKey
) -> BundleManifest:
    user, ec2 = keys.private_key.public_key(), keys.ec2
    version, _, release = __version__.rpartition(".")
    return BundleManifest(
        bundler=Bundler(name="ami-factory", version=version, release=release),
        name=description.name,
        account=description.account,
        architecture=description.architecture,
        type=description.type,
        block_device_mapping=description.block_device_mapping,
        kernel_id=description.kernel_id,
        ramdisk_id=description.ramdisk_id,
        kernel_name=description.kernel_name,
        product_codes=description.product_codes,
        ancestry=description.ancestry,
        digest=sealed.tar_sha1,
        size=size,
        bundled_size=sealed.length,
        ec2_encrypted_key=bundle_cipher.wrap(session.key, ec2),
        user_encrypted_key=bundle_cipher.wrap(session.key, user),
        ec2_encrypted_iv=bundle_cipher.wrap(session.iv, ec2),
        user_encrypted_iv=bundle_cipher.wrap(session.iv, user),
        parts=tuple(Part(filename=name, sha1=part.sha1) for name, part in zip(names, sealed.parts, strict=True)),
    )
