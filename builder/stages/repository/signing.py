"""The key that signs repomd.xml: made once per machine, and used without leaving an agent behind.

gpg's sockets live in its home, whose path may not be longer than 107 bytes, so that home is always a short-lived
directory of the system's temporary directory; what is kept is the exported key. gpg 2.2 starts an agent for every
home: all of it runs in a PID namespace, which takes the agent with it however it ends.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.errors import BuilderError, HostError
from builder.host import process
from builder.host.namespace import inside

DIRECTORY = "signing"
SECRET = "secret.asc"
PUBLIC = "public.asc"

# Older than any signature: gpg refuses a key that is younger than the time that it signs at.
CREATED = 1577836800  # 2020-01-01
_PARAMETERS = """\
%no-protection
Key-Type: RSA
Key-Length: 3072
Key-Usage: sign
Name-Real: ami-factory repository
Expire-Date: 0
Creation-Date: 20200101T000000
%commit
"""
_MAKE = """\
set -e
cd "$1"
gpg --batch --quiet --homedir "$1/home" --gen-key parameters
gpg --batch --quiet --homedir "$1/home" --armor --export-options export-minimal --export > public.asc
gpg --batch --quiet --homedir "$1/home" --armor --export-secret-keys > secret.asc
"""
_FINGERPRINT = """\
exec gpg --batch --quiet --homedir "$1" --with-colons --show-keys "$2"
"""


def secret_key_file(state: Path) -> Path:
    """Where the secret key is kept: the file of the secret `signing_key`."""
    return state / DIRECTORY / SECRET


def make_signing_key(state: Path) -> str:
    """The fingerprint of the key under `state`, which is made (RSA, 3072 bits, no passphrase) if there is none.

    The key appears by one rename: two that make it at once agree on one, and one that is killed leaves none.
    """
    if secret_key_file(state).exists():
        return fingerprint(state)
    process.require("gpg", "gpg")
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with short_home() as work:
        (work / "home").mkdir(mode=0o700)
        (work / "parameters").write_text(_PARAMETERS, encoding="ascii")
        process.run(inside(["sh", "-c", _MAKE, "sh", work]), capture=True)
        made = Path(tempfile.mkdtemp(prefix=f".{DIRECTORY}.", dir=state))
        for name in (SECRET, PUBLIC):
            descriptor = os.open(made / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write((work / name).read_bytes())
                os.fsync(file.fileno())
    try:
        made.rename(state / DIRECTORY)
    except OSError:  # somebody else was first
        shutil.rmtree(made)
    return fingerprint(state)


def fingerprint(state: Path) -> str:
    """The fingerprint of the key under `state`, forty upper-case hex digits."""
    public = state / DIRECTORY / PUBLIC
    if not public.exists():
        raise HostError(f"{public} is missing", hint=f"remove {public.parent} and build again: the key is made anew")
    return key_fingerprint(public)


def key_fingerprint(key: Path) -> str:
    """The fingerprint of the one key in an armoured file, public or secret; the file is only read."""
    with short_home() as home:
        listed = process.run(inside(["sh", "-c", _FINGERPRINT, "sh", home, key]), capture=True)
    found = re.findall(r"^fpr:+([0-9A-F]{40}):", listed.stdout.decode(), re.MULTILINE)
    if not found:
        raise BuilderError(f"{key} holds no OpenPGP key")
    return str(found[0])


def sign(document: Path, *, secret: Path, key: str, epoch: int, public: Path) -> None:
    """Write the armoured detached signature DOCUMENT.asc, as of `epoch`, and the public key to `public`.

    Must run in a PID namespace of its own, as stages do. Equal documents give equal signatures: RSA has no
    nonce, and the time is ours.
    """
    if not secret.exists():
        raise HostError(
            "the key that signs the repository is not there", detail=str(secret), hint="build again: it is made anew"
        )
    signature = document.with_name(document.name + ".asc")
    at = f"{max(epoch, CREATED)}!"
    with short_home() as home:
        gpg: list[str | Path] = ["gpg", "--batch", "--quiet", "--no-tty", "--homedir", home]
        process.run([*gpg, "--import", secret], capture=True)
        exported = process.run([*gpg, "--armor", "--export", key], capture=True).stdout
        if not exported:
            raise BuilderError(
                f"the key that signs the repository is not {key}",
                hint="run: ami-factory lock RECIPE --update (the key of this machine has changed)",
            )
        public.write_bytes(exported)
        process.run(
            [
                *gpg, "--faked-system-time", at, "--local-user", key, "--digest-algo", "SHA256", "--armor",
                "--output", signature, "--detach-sign", document,
            ],
            capture=True,
        )  # fmt: skip
        process.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], capture=True)


@contextmanager
def short_home() -> Iterator[Path]:
    """A directory of mode 0700 with a short path, removed afterwards."""
    # Not TMPDIR, which may be long: /tmp is there on every system that gpg runs on.
    home = Path(tempfile.mkdtemp(prefix="ami-gpg.", dir="/tmp"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)  # an agent that dies may remove its socket meanwhile
