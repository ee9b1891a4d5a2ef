"""ec2-add-keypair, ec2-import-keypair, ec2-describe-keypairs and ec2-delete-keypair."""

import os
from pathlib import Path

from builder.classic import api, lines
from builder.classic.command import Command, Options, enter
from builder.classic.options import Option
from builder.cli import output
from builder.errors import BuilderError, RecipeError

_NAME = Option(names=("KEYPAIR",), value="KEYPAIR", help="The key pair's name.", required=True)


def add(options: Options) -> None:
    """Make a pair; print its line, and its private key or keep that in a file that nobody else can read."""
    path = Path(options.filename) if options.filename else None
    if path is not None and path.exists():
        raise RecipeError(f"{path} is there already, and was left as it is", hint="name another file, or remove it")
    about = f"the key pair {options.keypair}"
    made = api.ask(options, "create_key_pair", {"KeyName": options.keypair}, about)
    if made is None:
        return
    api.show([lines.key_pair(made)], options)
    if path is None:
        output.result(made["KeyMaterial"].rstrip("\n"))
    else:
        _keep(made["KeyMaterial"], path, options.keypair)


def _keep(private_key: str, path: Path, name: str) -> None:
    try:
        with open(path, "x", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
            file.write(private_key.rstrip("\n") + "\n")
    except OSError as error:
        raise BuilderError(
            f"the private key of {name} could not be written to {path}: {error.strerror}",
            hint=f"it cannot be had again: ec2-delete-keypair {name}, and add another one",
        ) from error


def import_(options: Options) -> None:
    """Make a pair of a public key that there is."""
    path = Path(options.public_key_file)
    try:
        public = path.read_bytes()
    except OSError as error:
        raise RecipeError(
            f"the public key {path} cannot be read: {error.strerror}",
            hint="name a file such as ~/.ssh/id_ed25519.pub; to make a key: ssh-keygen",
        ) from error
    if b"PRIVATE KEY" in public:
        raise RecipeError(
            f"{path} is a private key, and was not sent", hint=f"name its public half, such as {path}.pub"
        )
    request = {"KeyName": options.keypair, "PublicKeyMaterial": public}
    made = api.ask(options, "import_key_pair", request, f"the key pair {options.keypair}")
    if made is not None:
        api.show([lines.key_pair(made)], options)


def describe(options: Options) -> None:
    """Print a table of key pairs."""
    request = api.given(KeyNames=list(options.keypair), Filters=api.filters(options))
    found = api.listed(options, "describe_key_pairs", "KeyPairs", request, about="the key pairs")
    api.show([lines.key_pair(each) for each in found], options)


def delete(options: Options) -> None:
    """Delete a pair, whether or not there is one, and print its line."""
    request = {"KeyName": options.keypair}
    if api.ask(options, "delete_key_pair", request, f"the key pair {options.keypair}") is not None:
        api.show([("KEYPAIR", options.keypair)], options)


ADD = Command(
    name="ec2-add-keypair",
    summary="Make a key pair, and print its private half: it is kept nowhere else.",
    options=(
        _NAME,
        Option(names=("-f", "--filename"), value="FILE", help="Write the private key there, not to stdout."),
        *api.API,
    ),
    run=add,
    examples="""\
ec2-add-keypair gsg-keypair > id_rsa-gsg-keypair && chmod 600 id_rsa-gsg-keypair
ec2-add-keypair gsg-keypair -f id_rsa-gsg-keypair""",
    manual="""\
output:
  KEYPAIR  name, fingerprint (SHA-1 of the private key)
  and the private key. ssh takes a file of all that as it is, when only you can read it. With -f
  the file holds the key alone, and has mode 0600.""",
    interrupted="the key pair may be there: see ec2-describe-keypairs",
)
IMPORT = Command(
    name="ec2-import-keypair",
    summary="Make a key pair of a public key that you have.",
    options=(
        _NAME,
        Option(names=("-f", "--public-key-file"), value="FILE", help="The public key.", required=True),
        *api.API,
    ),
    run=import_,
    examples="ec2-import-keypair mine -f ~/.ssh/id_ed25519.pub",
    manual="""\
output:
  KEYPAIR  name, fingerprint (MD5 of the public key; of an ed25519 key SHA-256)""",
    interrupted="the key pair may be there: see ec2-describe-keypairs",
)
DESCRIBE = Command(
    name="ec2-describe-keypairs",
    summary="List key pairs.",
    options=(
        Option(names=("KEYPAIR",), value="KEYPAIR", help="Names of key pairs.", repeated=True, default=()),
        api.FILTER,
        *api.API,
    ),
    run=describe,
    examples="""\
ec2-describe-keypairs
ec2-describe-keypairs -F key-name='gsg-*'""",
    manual="""\
output:
  KEYPAIR  name, fingerprint""",
    interrupted="nothing was changed",
)
DELETE = Command(
    name="ec2-delete-keypair",
    summary="Delete a key pair. Instances that were started with it keep its public key.",
    options=(_NAME, *api.API),
    run=delete,
    examples="ec2-delete-keypair gsg-keypair",
    manual="""\
output:
  KEYPAIR  name. It is no error when there is none of that name.""",
    interrupted="run it again",
)


def add_main() -> None:
    enter(ADD)


def import_main() -> None:
    enter(IMPORT)


def describe_main() -> None:
    enter(DESCRIBE)


def delete_main() -> None:
    enter(DELETE)
