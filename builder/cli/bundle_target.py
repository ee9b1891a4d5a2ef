"""What `verify` holds a bundle against: the region's certificate, account and kernels, and the keys to try."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bundles.contract import Progress
from builder.bundles.observe import Means
from builder.bundles.observed import KernelImage, Target
from builder.catalog import certificates, regions
from builder.catalog.kernels import kernel_names, load_kernel
from builder.catalog.regions import LOCAL
from builder.errors import BuilderError, RecipeError, RegionError
from builder.factory import Factory
from builder.formats.bundle_cipher import load_private_key, load_public_key
from builder.host.directories import region_directory, state_directory
from builder.identity import load_identity
from builder.prepared import kernels_directory
from builder.region.identity import identity as region_identity
from builder.store.local import LocalStore

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

__all__ = ["bundle_key", "means", "recorded", "target"]


def target(factory: Factory, account: str, *, ask: bool) -> Target:
    """The region that a bundle is to be registered in. With `ask` the region says whose the credentials are."""
    name = factory.options.region
    given = _number(account, "--account")
    if name == LOCAL:
        own = region_identity(region_directory())
        return _target(name, given or own.account, own.fingerprint, own.certificate)
    region = regions.region(name).name
    asked = ask and not (given or factory.options.endpoint_url)  # another endpoint may know nothing of accounts
    number = given or (factory.account() if asked else _number(os.environ.get("EC2_USER", ""), "EC2_USER"))
    try:
        published = certificates.certificate_of(region)
    except RegionError:
        return _target(region, number, "", None)
    return _target(region, number, published.sha256, published.path)


def means(
    factory: Factory, certificate: Path | None, private_key: Path | None, *, deep: bool, progress: Progress
) -> Means:
    """The keys that were given, or those that bundles are made with here, if there are any: nothing is made.

    The local region's own key is at hand too, and tells for sure whether a bundle was made for it.
    """
    if not (certificate or private_key):
        certificate, private_key = _own_pair()
    key = _private_key(private_key) if private_key else None
    public = _public_key(certificate) if certificate else None
    of_region = (
        _private_key(region_identity(region_directory()).private_key) if factory.options.region == LOCAL else None
    )
    return Means(
        certificate=public or (key.public_key() if key else None),
        private_key=key,
        ec2_key=of_region,
        deep=deep,
        progress=progress,
    )


def bundle_key(given: Path | None) -> "RSAPrivateKey":
    """The private key that was given, or the one that bundles are made with here. RecipeError when there is none."""
    path = given or _own_pair()[1]
    if path is None:
        raise RecipeError("no private key opens this bundle", hint="give the one that made it: --private-key FILE")
    return _private_key(path)


def recorded(store: LocalStore, manifest: bytes) -> str:
    """The EC2 certificate that a bundle of our own was made for, by the record of its build; "" when there is none."""
    digest = hashlib.sha256(manifest).hexdigest()
    keys = store.keys()
    for key in keys:
        with suppress(KeyError, BuilderError):  # removed meanwhile, or damaged: `store verify` tells
            record = store.get(key).record
            if record.stage == "bundle" and digest in record.result.get("digests", {}).values():
                return str(record.spec.get("ec2_certificate", ""))
    return ""


def _target(region: str, account: str, fingerprint: str, certificate: Path | None) -> Target:
    modulus = _public_key(certificate).public_numbers().n if certificate else 0
    return Target(
        region=region, account=account, certificate=fingerprint, modulus=modulus, kernels=tuple(_known_kernels())
    )


def _known_kernels() -> list[KernelImage]:
    directory = kernels_directory()
    return [
        KernelImage(id=image, region=region, architecture=architecture)
        for kernel in (load_kernel(directory, name) for name in kernel_names(directory))
        for table in (kernel.aki, kernel.aki_partitioned)
        for architecture, images in table.items()
        for region, image in images.items()
    ]


def _number(text: str, where: str) -> str:
    number = text.replace("-", "")
    if number and not (len(number) == 12 and number.isascii() and number.isdigit()):
        raise RecipeError(f'{where}: "{text}" is not an AWS account number', hint="write its 12 digits")
    return number


def _own_pair() -> tuple[Path | None, Path | None]:
    """What EC2_CERT and EC2_PRIVATE_KEY name, or the pair that was made here."""
    own = state_directory() / "identity" / "certificate.pem"
    if not own.exists() and not os.environ.keys() & {"EC2_CERT", "EC2_PRIVATE_KEY"}:
        return None, None
    found = load_identity(state_directory())
    return found.certificate, found.private_key


def _private_key(path: Path) -> "RSAPrivateKey":
    try:
        return load_private_key(_read(path), f"the private key {path}")
    except BuilderError as error:
        raise RecipeError(error.brief, hint=error.hint) from error


def _public_key(path: Path) -> "RSAPublicKey":
    try:
        return load_public_key(_read(path), str(path))
    except BuilderError as error:
        raise RecipeError(error.brief, hint=error.hint) from error


def _read(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}", hint="check the path") from error
