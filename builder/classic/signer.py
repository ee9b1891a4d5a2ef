"""Whose keys a bundle is made with: the user's pair, EC2's certificate, and the account that it belongs to."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bundles.contract import Keys
from builder.classic.command import Options
from builder.classic.place import Place
from builder.cli import output
from builder.errors import RecipeError
from builder.formats import bundle_cipher
from builder.host.directories import state_directory
from builder.identity import load_identity

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Keys that fit one another, and the account."""

    keys: Keys
    account: str


def load(options: Options, place: Place) -> Signer:
    """What the options say, and what the region knows. RecipeError for keys that do not fit, before any work is done.

    A certificate without its key is refused, and the other way round. With neither a pair of our own is used, made
    once. Nobody asks for the account number when the region can tell.
    """
    identity = load_identity(
        state_directory(),
        account=options.user,
        certificate=options.cert,
        private_key=options.privatekey,
        note=lambda text: output.say(f"note: {text}"),
    )
    own = private_key(identity.private_key)
    if not bundle_cipher.fits(own, _read(identity.certificate, "the certificate")):
        raise RecipeError(
            f"the private key {identity.private_key} does not belong to the certificate {identity.certificate}",
            hint="-c and -k are a pair that was made together",
        )
    path = Path(options.ec2cert) if options.ec2cert else place.certificate()
    if options.debug:
        pem = _read(path, "EC2's certificate")
        output.say(f"debug: EC2's certificate {path}, SHA-256 {bundle_cipher.fingerprint(pem, str(path))}")
    return Signer(keys=Keys(private_key=own, ec2=certificate(path)), account=_account(identity.account, place))


def own_key(given: str | None) -> Path:
    """The user's private key: the one that was given, or that of the pair that is made for who has none."""
    return Path(given) if given else load_identity(state_directory(), environment={}).private_key


def private_key(path: Path) -> "RSAPrivateKey":
    """RecipeError for a file that cannot be read, or is no RSA key."""
    return bundle_cipher.load_private_key(_read(path, "the private key"), f"the private key {path}")


def certificate(path: Path) -> "RSAPublicKey":
    """The key of a certificate; RecipeError for a file that cannot be read."""
    return bundle_cipher.load_public_key(_read(path, "the certificate"), f"the certificate {path}")


def _account(given: str, place: Place) -> str:
    if not given:
        return place.account()
    if place.is_local and given != place.account():
        output.warn(f"the local region's account is {place.account()}: it does not register what belongs to {given}")
    return given


def _read(path: Path, what: str) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise RecipeError(
            f"{what} {os.fspath(path)} cannot be read: {error.strerror}", hint="check the path"
        ) from error
