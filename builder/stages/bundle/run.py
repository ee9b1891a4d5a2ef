"""Bundles the image: fresh session key, encrypted parts, and the manifest that the user's key signs."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bundles import write
from builder.bundles.contract import Description, Keys, PartDigest, PartSink
from builder.bundles.directory import DirectorySink
from builder.bundles.image import open_image
from builder.catalog import certificates
from builder.errors import BuilderError
from builder.formats import bundle_cipher
from builder.formats.gzip_stream import deflated_by
from builder.stages.bundle.spec import BundleSpec
from builder.stages.contract import Result, StageContext

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


def run(spec: BundleSpec, context: StageContext) -> Result:
    """Write the parts and the manifest."""
    description = _description(spec)
    write.check(description)
    keys = Keys(
        private_key=_private_key(spec, context),
        ec2=bundle_cipher.load_public_key(
            _certificate(spec.ec2_certificate, context, "EC2's certificate"), "EC2's certificate"
        ),
    )
    with (
        open_image(context.input("image").path / "disk.raw") as image,
        DirectorySink(context.output, spec.name) as sink,
    ):
        digested = _Digested(sink)
        made = write.bundle(
            image,
            description,
            keys,
            digested,
            level=spec.compression,
            progress=lambda done, total: context.progress("bundle", done, total),
        )
        sink.keep(made.names, made.manifest_name, made.manifest)
        size = image.size
    return {
        "manifest": made.manifest_name,
        "parts": len(made.names),
        "size": size,
        "bundled_size": made.sealed.length,
        "deflated_by": deflated_by(spec.compression),
        "ciphertext_sha256": digested.whole.hexdigest(),
        "digests": {
            made.manifest_name: hashlib.sha256(made.manifest).hexdigest(),
            **{name: part.hexdigest() for name, part in zip(made.names, digested.parts, strict=True)},
        },
    }


class _Digested:
    """A sink that also takes the digests that the store and the upload ask for, which no manifest has."""

    def __init__(self, sink: PartSink) -> None:
        self._sink = sink
        self.whole = hashlib.sha256()
        self.parts: list[hashlib._Hash] = []

    def write(self, index: int, data: memoryview) -> None:
        if index == len(self.parts):
            self.parts.append(hashlib.sha256())
        self.parts[index].update(data)
        self.whole.update(data)
        self._sink.write(index, data)

    def end(self, index: int, digest: PartDigest) -> None:
        self._sink.end(index, digest)


def _description(spec: BundleSpec) -> Description:
    return Description(
        name=spec.name,
        account=spec.account,
        architecture=spec.architecture,
        kernel_id=spec.kernel_id,
        ramdisk_id=spec.ramdisk_id,
        block_device_mapping=spec.block_device_mapping,
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
