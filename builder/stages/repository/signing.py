"""The key that signs repomd.xml: made once per machine, and used without leaving an agent behind.

gpg's sockets live in its home, whose path may not be longer than 107 bytes, so that home is always a file system in
memory over an empty directory of /tmp; what is kept is the exported key. gpg 2.2 starts an agent for every home: all
of it runs in the private namespace, which takes the agent and the memory with it however it ends.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from builder.errors import BuilderError, HostError
from builder.host import process
from builder.host.namespace import inside

DIRECTORY = "signing"
SECRET = "secret.asc"
PUBLIC = "public.asc"
FINGERPRINT = "fingerprint"

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
mount -t tmpfs -o mode=0700 tmpfs "$1"
gpg="gpg --batch --quiet --homedir $1"
$gpg --gen-key
$gpg --with-colons --list-keys
$gpg --armor --export
$gpg --armor --export-secret-keys
"""
_BLOCK = r"-----BEGIN PGP {kind} KEY BLOCK-----.*?-----END PGP {kind} KEY BLOCK-----\n"


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
    with _short_directory() as home:
        made = process.run(
            inside(["sh", "-c", _MAKE, "sh", home]), stdin=_PARAMETERS.encode("ascii"), capture=True
        ).stdout.decode("ascii")
    patterns = {
        FINGERPRINT: r"(?<=^fpr:::::::::)[0-9A-F]{40}(?=:)",
        PUBLIC: _BLOCK.format(kind="PUBLIC"),
        SECRET: _BLOCK.format(kind="PRIVATE"),
    }
    found = {name: re.search(pattern, made, re.MULTILINE | re.DOTALL) for name, pattern in patterns.items()}
    _keep(state, {name: match[0].encode("ascii") for name, match in found.items() if match})
    return fingerprint(state)


def fingerprint(state: Path) -> str:
    """The fingerprint of the key under `state`, forty upper-case hex digits; no program is run."""
    kept = state / DIRECTORY / FINGERPRINT
    if not kept.exists():
        raise HostError(f"{kept} is missing", hint=f"remove {kept.parent} and build again: the key is made anew")
    return kept.read_text(encoding="ascii").strip()


def _keep(state: Path, files: Mapping[str, bytes]) -> None:
    """Put the key's files in their place, readable by the user alone, all at once."""
    if set(files) != {FINGERPRINT, PUBLIC, SECRET}:
        raise BuilderError("gpg made no key that could be read", hint="see what gpg --version says: 2.2 or newer works")
    made = Path(tempfile.mkdtemp(prefix=f".{DIRECTORY}.", dir=state))  # mode 0700
    for name, content in files.items():
        descriptor = os.open(made / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fsync(file.fileno())
    try:
        made.rename(state / DIRECTORY)
    except OSError:
        shutil.rmtree(made)
        if not secret_key_file(state).exists():
            raise  # not somebody else who was first


def sign(document: Path, *, secret: Path, key: str, epoch: int, public: Path) -> None:
    """Write the armoured detached signature DOCUMENT.asc, as of `epoch`, and the public key to `public`.

    Runs inside the private namespace, as stages do. Equal documents give equal signatures: RSA has no
    nonce, and the time is ours.
    """
    if not secret.exists():
        raise HostError(
            "the key that signs the repository is not there", detail=str(secret), hint="build again: it is made anew"
        )
    signature = document.with_name(document.name + ".asc")
    at = f"{max(epoch, CREATED)}!"
    with _short_directory() as home, _in_memory(home):
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
        process.run(["gpgconf", "--homedir", home, "--kill", "all"], capture=True)


@contextmanager
def _short_directory() -> Iterator[Path]:
    """An empty directory of mode 0700 with a short path, removed afterwards."""
    # Not TMPDIR, which may be long: /tmp is there on every system that gpg runs on.
    directory = Path(tempfile.mkdtemp(prefix="ami-gpg.", dir="/tmp"))
    try:
        yield directory
    finally:
        directory.rmdir()


@contextmanager
def _in_memory(directory: Path) -> Iterator[None]:
    """A file system in memory over `directory`; lazily unmounted, since an agent may be on its way out."""
    process.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", directory])
    try:
        yield
    finally:
        process.run(["umount", "--lazy", directory])
