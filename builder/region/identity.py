"""Who a local region is: its id, its account, and the EC2 certificate that bundles are made for.

Made once in the region's directory and never changed: bundles are encrypted for the certificate, and the id stands
for the endpoint in the keys of remote steps. `reset` keeps it, so that finished bundles stay good.
"""

import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostError
from builder.formats.bundle_cipher import fingerprint, make_pair

# The account that AWS's own documentation uses for examples: twelve digits that are nobody's, the same in each region.
ACCOUNT = "123456789012"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionIdentity:
    """What a client needs to bundle for this region, and to tell it from another."""

    id: str
    """32 hex digits: the endpoint's identity."""
    account: str
    certificate: Path
    """PEM; public."""
    fingerprint: str
    """SHA-256 of the certificate's DER, 64 hex digits."""
    private_key: Path
    """PEM, mode 0600: only the region's daemon reads it."""


def identity(directory: Path) -> RegionIdentity:
    """The identity that lives in `directory`, made when missing. Safe when several processes make it at once."""
    home = directory / "identity"
    try:
        return _read(home)
    except FileNotFoundError:
        pass
    _create(home)
    return _read(home)


def _read(home: Path) -> RegionIdentity:
    path = home / "identity.json"
    try:
        record = json.loads(path.read_text(encoding="ascii"))
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']} is not known")
        return RegionIdentity(
            id=record["id"],
            account=record["account"],
            certificate=home / "certificate.pem",
            fingerprint=record["fingerprint"],
            private_key=home / "private-key.pem",
        )
    except (ValueError, KeyError, TypeError) as error:
        raise HostError(
            f"{path}: not the identity of a local region",
            detail=str(error),
            hint=f"remove {home} (bundles made for its certificate become useless)",
        ) from error


def _create(home: Path) -> None:
    """Make the whole directory aside and rename it into place: it is there with all its files, or not at all."""
    home.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = home.with_name(f".identity.{secrets.token_hex(8)}")
    aside.mkdir(mode=0o700)
    try:
        key, certificate = make_pair("EC2 of a local region")
        record = {
            "format": FORMAT,
            "id": secrets.token_hex(16),
            "account": ACCOUNT,
            "fingerprint": fingerprint(certificate),
        }
        _write(aside / "private-key.pem", key, 0o600)
        _write(aside / "certificate.pem", certificate, 0o644)
        _write(aside / "identity.json", json.dumps(record, indent=1).encode("ascii") + b"\n", 0o644)
        aside.rename(home)
    except OSError:
        # Renaming onto a directory with files in it fails: then another process was faster, and its identity stands.
        if not (home / "identity.json").exists():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
