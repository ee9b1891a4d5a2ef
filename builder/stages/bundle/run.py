"""Bundles the image: fresh session key, encrypted parts, and the manifest that the user's key signs."""

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from builder import __version__
from builder.catalog import certificates
from builder.errors import BuilderError, RecipeError
from builder.formats import bundle_cipher, tar_member
from builder.formats.bundle_cipher import SessionKey
from builder.formats.bundle_manifest import BundleManifest, Bundler, Part, format_manifest, part_names
from builder.formats.bundle_stream import Sealed, seal
from builder.formats.sparse import read_blocks
from builder.stages.bundle.spec import BundleSpec
from builder.stages.contract import Result, StageContext

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

SIZE_LIMIT = 10 * 1024**3
"""EC2 takes no larger instance-store image; exactly 10 GiB is allowed."""
ARCHITECTURES = ("i386", "x86_64")


def run(spec: BundleSpec, context: StageContext) -> Result:
    """Write the parts and the manifest. Nothing secret is logged or kept: the session key lives in this call only."""
    check(spec)
    image = context.input("image").path / "disk.raw"
    private_key = _private_key(spec, context)
    ec2_certificate = _certificate(spec.ec2_certificate, context, "EC2's certificate")
    session = bundle_cipher.new_session_key()
    sealed = _seal(spec, image, context, session)
    names = part_names(spec.name, len(sealed.parts))
    for index, name in enumerate(names):
        (context.output / _unnamed(index)).rename(context.output / name)
    manifest = f"{spec.name}.manifest.xml"
    size = image.stat().st_size
    data = format_manifest(
        _manifest(spec, size, sealed, names, session, private_key, ec2_certificate),
        lambda signed: bundle_cipher.sign(signed, private_key),
    )
    (context.output / manifest).write_bytes(data)
    return {
        "manifest": manifest,
        "parts": len(names),
        "size": size,
        "bundled_size": sealed.length,
        "ciphertext_sha256": sealed.ciphertext_sha256,
        "digests": {
            manifest: hashlib.sha256(data).hexdigest(),
            **{name: part.sha256 for name, part in zip(names, sealed.parts, strict=True)},
        },
    }


def check(spec: BundleSpec) -> None:
    """RecipeError for what EC2 would refuse, before any work is done."""
    if tar_member.NAME.fullmatch(spec.name) is None:
        raise RecipeError(
            f'bundle: "{spec.name}" cannot be the name of a bundle',
            hint="use 1 to 100 letters, digits, dots, dashes and underscores, a letter or digit first",
        )
    if re.fullmatch(r"[0-9]{12}", spec.account) is None:
        raise RecipeError(
            f'bundle.account: "{spec.account}" is not an AWS account number', hint="write its 12 digits, without dashes"
        )
    if spec.architecture not in ARCHITECTURES:
        raise RecipeError(
            f"bundle: EC2 has no instance-store images for {spec.architecture}",
            hint=f"use {' or '.join(ARCHITECTURES)}",
        )


def check_size(size: int) -> None:
    """BuilderError for an image that is empty or larger than EC2 takes."""
    if size == 0:
        raise BuilderError("the image has 0 bytes", hint="look at the log of the image step")
    if size > SIZE_LIMIT:
        raise BuilderError(
            f"the image has {size} bytes, EC2 takes at most {SIZE_LIMIT} (10 GiB) for an instance-store AMI",
            hint="set image.size in the recipe to 10GiB or less",
        )


def _private_key(spec: BundleSpec, context: StageContext) -> "RSAPrivateKey":
    """The user's key, proven to be the one that the spec's certificate belongs to."""
    path = context.surroundings.secrets.get("private_key")
    if path is None:
        raise BuilderError(
            "no private key is known to sign the bundle with",
            hint="set EC2_CERT and EC2_PRIVATE_KEY, or certificate and private_key in [bundle]",
        )
    key = bundle_cipher.load_private_key(_read(Path(path), "the private key"), f"the private key {path}")
    if not bundle_cipher.fits(key, _certificate(spec.user_certificate, context, "the user's certificate")):
        raise BuilderError(
            f"the private key {path} does not belong to the certificate {spec.user_certificate[:12]}",
            hint="give the pair that was made together: account, certificate and private key",
        )
    return key


def _certificate(fingerprint: str, context: StageContext, what: str) -> bytes:
    """The PEM file of a certificate, from the step's sources or from those of EC2; its fingerprint is checked."""
    found = context.surroundings.sources.get(fingerprint)
    known = certificates.by_fingerprint(fingerprint)
    if found is None and known is None:
        raise BuilderError(f"{what} with the fingerprint {fingerprint} is nowhere to be found")
    path = Path(found) if found is not None else known.path  # type: ignore[union-attr]
    pem = _read(path, what)
    if (seen := bundle_cipher.fingerprint(pem, str(path))) != fingerprint:
        raise BuilderError(
            f"{what} {path} is another one than when this step was planned",
            detail=f"planned: {fingerprint}\nfound:   {seen}",
            hint="run the command again: the plan is made with the certificate that is there",
        )
    return pem


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BuilderError(f"{what} {path} cannot be read: {error.strerror}") from error


def _seal(spec: BundleSpec, image: Path, context: StageContext, session: SessionKey) -> Sealed:
    """The parts, under names that say nothing yet of their count. The image must hold still meanwhile."""
    with image.open("rb") as file:
        before = os.fstat(file.fileno())
        check_size(before.st_size)
        sealed = seal(
            spec.name,
            before.st_size,
            read_blocks(file.fileno(), before.st_size),
            session,
            lambda index: (context.output / _unnamed(index)).open("xb"),
            lambda done: context.progress("bundle", done, before.st_size),
        )
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise BuilderError(
            f"{image} changed while it was being bundled",
            hint="let nothing write to the store's objects, and run again",
        )
    return sealed


def _unnamed(index: int) -> str:
    return f"part.{index}"


def _manifest(
    spec: BundleSpec,
    size: int,
    sealed: Sealed,
    names: tuple[str, ...],
    session: SessionKey,
    private_key: "RSAPrivateKey",
    ec2_certificate: bytes,
) -> BundleManifest:
    user, ec2 = private_key.public_key(), bundle_cipher.load_public_key(ec2_certificate, "EC2's certificate")
    version, _, release = __version__.rpartition(".")
    return BundleManifest(
        bundler=Bundler(name="ami-factory", version=version, release=release),
        name=spec.name,
        account=spec.account,
        architecture=spec.architecture,
        block_device_mapping=spec.block_device_mapping,
        kernel_id=spec.kernel_id,
        ramdisk_id=spec.ramdisk_id,
        digest=sealed.tar_sha1,
        size=size,
        bundled_size=sealed.length,
        ec2_encrypted_key=bundle_cipher.wrap(session.key, ec2),
        user_encrypted_key=bundle_cipher.wrap(session.key, user),
        ec2_encrypted_iv=bundle_cipher.wrap(session.iv, ec2),
        user_encrypted_iv=bundle_cipher.wrap(session.iv, user),
        parts=tuple(Part(filename=name, sha1=part.sha1) for name, part in zip(names, sealed.parts, strict=True)),
    )
