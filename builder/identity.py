"""The user's certificate and private key for bundles: those that were given, or a pair made once.

The certificate names nobody and need not be known to AWS; the key signs manifests and opens bundles again. A warm plan
reads the fingerprint and nothing more, so nothing here imports cryptography unless a pair has to be made.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError, HostError, RecipeError
from builder.formats import bundle_cipher


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a bundle is signed with. The fingerprint goes into the bundle's spec, the paths never do."""

    account: str
    """Twelve digits; empty when nothing says which: the region knows then (cloud.sts.account)."""
    certificate: Path
    private_key: Path
    fingerprint: str
    """SHA-256 of the certificate's DER form, in hex."""
    made: bool = False
    """The pair was made by this very call."""


def load_identity(
    state: Path,
    *,
    account: str | None = None,
    certificate: str | Path | None = None,
    private_key: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Identity:
    """The given values first, then EC2_USER, EC2_CERT and EC2_PRIVATE_KEY, then a pair of our own under `state`.

    The pair is made once (directory 0700, key 0600), also when several processes ask at once, and `note` is told.
    RecipeError for half a pair or a number that is no account; a file that is missing or no certificate is named.
    """
    environment = os.environ if environment is None else environment
    number = (account or environment.get("EC2_USER", "")).replace("-", "")
    if number and not (len(number) == 12 and number.isascii() and number.isdigit()):
        raise RecipeError(f'"{number}" is not an AWS account number', hint="EC2_USER and bundle.account are 12 digits")
    if not (certificate or private_key):
        certificate, private_key = environment.get("EC2_CERT"), environment.get("EC2_PRIVATE_KEY")
    if bool(certificate) != bool(private_key):
        raise RecipeError(
            f"the {'private key' if certificate else 'certificate'} for bundles is missing: they belong together",
            hint="give both or neither: certificate and private_key in [bundle], or EC2_CERT and EC2_PRIVATE_KEY",
        )
    if certificate and private_key:
        return _given(number, Path(certificate).expanduser(), Path(private_key).expanduser())
    return _own(state, number, note)


def _given(account: str, certificate: Path, private_key: Path) -> Identity:
    try:
        fingerprint = bundle_cipher.fingerprint(certificate.read_bytes(), str(certificate))
        private_key.open("rb").close()
    except OSError as error:
        raise RecipeError(f"{error.filename} cannot be read: {error.strerror}", hint="check the path") from error
    except BuilderError as error:
        raise RecipeError(error.brief, hint=error.hint) from error
    return Identity(account=account, certificate=certificate, private_key=private_key, fingerprint=fingerprint)


def _own(state: Path, account: str, note: Callable[[str], None]) -> Identity:
    home = state / "identity"
    certificate, private_key = home / "certificate.pem", home / "private-key.pem"
    made = False
    if not (certificate.exists() and private_key.exists()):
        with _alone(home):
            if not (certificate.exists() and private_key.exists()):  # another process may have been quicker
                _make(certificate, private_key)
                made = True
                note(
                    f"made a certificate and private key for your bundles in {home}; keep them, they open your bundles"
                )
    return Identity(
        account=account,
        certificate=certificate,
        private_key=private_key,
        fingerprint=bundle_cipher.fingerprint(certificate.read_bytes(), str(certificate)),
        made=made,
    )


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """The directory, 0700, held by this process only."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)
        with (home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise HostError(
            f"{error.filename or home} cannot be written: {error.strerror}", hint="check the state directory's rights"
        ) from error


def _make(certificate: Path, private_key: Path) -> None:
    """A pair; or, for a key that has lost its certificate, a new one: the key opens the bundles made so far."""
    if private_key.exists():
        key = bundle_cipher.load_private_key(private_key.read_bytes(), f"the private key {private_key}")
        made = [(certificate, bundle_cipher.make_certificate(key))]
    else:
        private, pem = bundle_cipher.make_pair()
        made = [(private_key, private), (certificate, pem)]
    for path, data in made:
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            os.fsync(file.fileno())
        new.rename(path)
