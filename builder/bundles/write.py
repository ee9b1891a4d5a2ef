"""Makes a bundle of an image: parts into a sink in one pass, and the manifest that the user's key signs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder import __version__
from builder.bundles.contract import Description, Keys, PartSink, Progress, no_progress
from builder.bundles.directory import DirectorySink
from builder.bundles.image import Image
from builder.errors import BuilderError, RecipeError
from builder.formats import bundle_cipher, tar_member
from builder.formats.bundle_cipher import SessionKey
from builder.formats.bundle_manifest import (
    BundleManifest,
    Bundler,
    Part,
    format_manifest,
    part_names,
)
from builder.formats.bundle_stream import PartDigest, Sealed, largest_count, seal
from builder.formats.gzip_stream import Level
from builder.formats.manifest_grammar import IMAGE_IDS
from builder.formats.manifest_reader import objections, read_manifest
from builder.formats.toml import printable

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
        _manifest(description, image.size, sealed, used, _wrapped(session, keys)),
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
    for kind, given in (("kernel", description.kernel_id), ("ramdisk", description.ramdisk_id)):
        if given and IMAGE_IDS[kind].fullmatch(given) is None:
            raise RecipeError(
                f'"{printable(given)}" is not the id of a {kind} image',
                hint=f"EC2's are {'aki' if kind == 'kernel' else 'ari'}- and 8 or 17 hexadecimal digits",
            )
    if wrong := _objections(description):
        raise RecipeError(f"EC2 would refuse this bundle: {wrong[0]}", detail="\n".join(wrong[1:]))


def _objections(description: Description) -> list[str]:
    """What the rules for manifests say of one that says this, of an image of which nothing is known yet."""
    sealed = Sealed(
        tar_sha1="00" * 20,
        length=16,
        parts=(PartDigest(length=16, sha1="00" * 20),),
    )
    wrapped = _Wrapped(ec2_key="00", user_key="00", ec2_iv="00", user_iv="00")
    try:
        data = format_manifest(
            _manifest(description, 1, sealed, part_names(description.name, 1), wrapped), lambda _: b"\0"
        )
        return [f"{each.where}: {each.why}" for each in objections(data)]
    except BuilderError as error:  # such as a control character: no manifest can hold it
        return [error.brief]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wrapped:
    """The session key and its IV, wrapped for EC2 and for the user."""

    ec2_key: str
    user_key: str
    ec2_iv: str
    user_iv: str


def _wrapped(session: SessionKey, keys: Keys) -> _Wrapped:
    user = keys.private_key.public_key()
    return _Wrapped(
        ec2_key=bundle_cipher.wrap(session.key, keys.ec2),
        user_key=bundle_cipher.wrap(session.key, user),
        ec2_iv=bundle_cipher.wrap(session.iv, keys.ec2),
        user_iv=bundle_cipher.wrap(session.iv, user),
    )


def _manifest(
    description: Description, size: int, sealed: Sealed, names: tuple[str, ...], wrapped: _Wrapped
) -> BundleManifest:
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
        ec2_encrypted_key=wrapped.ec2_key,
        user_encrypted_key=wrapped.user_key,
        ec2_encrypted_iv=wrapped.ec2_iv,
        user_encrypted_iv=wrapped.user_iv,
        parts=tuple(Part(filename=name, sha1=part.sha1) for name, part in zip(names, sealed.parts, strict=True)),
    )
