"""Whose keys a bundle is made with: the user's pair, EC2's certificate, and the account that it belongs to."""

import os
from dataclasses import dataclass
from pathlib import Path

from builder.bundles.contract import Keys
from builder.classic.command import Options
from builder.classic.place import Place
from builder.cli import output
from builder.errors import RecipeError
from builder.formats import bundle_cipher
from builder.host.directories import state_directory
from builder.identity import load_identity


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
    where = f"the private key {identity.private_key}"
    private_key = bundle_cipher.load_private_key(_read(identity.private_key, "the private key"), where)
    if not bundle_cipher.fits(private_key, _read(identity.certificate, "the certificate")):
        raise RecipeError(
            f"the private key {identity.private_key} does not belong to the certificate {identity.certificate}",
            hint="-c and -k are a pair that was made together",
        )
    path = Path(options.ec2cert) if options.ec2cert else place.certificate()
    pem = _read(path, "EC2's certificate")
    if options.debug:
        output.say(f"debug: EC2's certificate {path}, SHA-256 {bundle_cipher.fingerprint(pem, str(path))}")
    return Signer(
        keys=Keys(private_key=private_key, ec2=bundle_cipher.load_public_key(pem, f"EC2's certificate {path}")),
        account=_account(identity.account, place),
    )


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
