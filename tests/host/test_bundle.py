"""The finished bundle, undone by public tools alone."""

import random
import subprocess
from pathlib import Path

import pytest

from builder.formats.manifest_reader import read_manifest, signed_bytes
from builder.stages.bundle import run as stage
from tests.support.workshop import image_input, workshop

pytestmark = pytest.mark.host


def output_of(*command: str | Path, stdin: bytes | None = None) -> bytes:
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


@pytest.mark.parametrize("compression", ["fast", "small"])
def test_cat_openssl_gunzip_tar(tmp_path: Path, compression: str) -> None:
    shop = workshop(tmp_path)
    noise = random.Random(5).randbytes(11 << 20)
    image = image_input(tmp_path / "image", (3 << 20, noise), ((40 << 20) - 5, b"end!!"), size=40 << 20)
    context = shop.context(image)
    stage.run(shop.spec(compression=compression), context)
    manifest = read_manifest((context.output / "web-1-x86_64.manifest.xml").read_bytes())

    # Either reader's key opens it: the user's, and EC2's.
    opened = {
        output_of("openssl", "pkeyutl", "-decrypt", "-inkey", key, stdin=bytes.fromhex(wrapped))
        for key, wrapped in (
            (shop.user_key, manifest.user_encrypted_key),
            (shop.ec2_key, manifest.ec2_encrypted_key),
        )
    }
    (secret,) = opened
    iv = output_of(
        "openssl", "pkeyutl", "-decrypt", "-inkey", shop.user_key, stdin=bytes.fromhex(manifest.user_encrypted_iv)
    )
    script = (
        'set -eo pipefail; cat "$@" | openssl enc -d -aes-128-cbc -K "$KEY" -iv "$IV" | gunzip'
        " | tee >(sha1sum >sum) | tar --extract --to-stdout | cmp - image/disk.raw; sleep 0.2; cat sum"
    )
    parts = [context.output / part.filename for part in manifest.parts]
    said = subprocess.run(
        ["bash", "-c", script, "undo", *parts],
        cwd=tmp_path, capture_output=True, check=True,
        env={"PATH": "/usr/bin:/bin", "KEY": secret.decode(), "IV": iv.decode()},
    ).stdout  # fmt: skip
    assert said.split() == [manifest.digest.encode(), b"-"]
    assert output_of("sha1sum", *parts).split()[::2] == [part.sha1.encode() for part in manifest.parts]


def test_the_signature_is_verified_by_openssl(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    context = shop.context(image_input(tmp_path / "image", size=1 << 20))
    stage.run(shop.spec(), context)
    data = (context.output / "web-1-x86_64.manifest.xml").read_bytes()
    (tmp_path / "signature").write_bytes(bytes.fromhex(read_manifest(data).signature))
    public = output_of("openssl", "x509", "-in", shop.user_certificate, "-pubkey", "-noout")
    (tmp_path / "public.pem").write_bytes(public)
    said = output_of(
        "openssl", "dgst", "-sha1", "-verify", tmp_path / "public.pem", "-signature", tmp_path / "signature",
        stdin=signed_bytes(data),
    )  # fmt: skip
    assert said == b"Verified OK\n"
