"""Bundles for tests, made with tar, gzip and openssl from the format's description: nothing of ours takes part."""

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PART = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TestBundle:
    __test__ = False

    name: str
    manifest: bytes
    parts: Mapping[str, bytes]
    key: str
    iv: str

    @property
    def manifest_name(self) -> str:
        return f"{self.name}.manifest.xml"

    def files(self) -> dict[str, bytes]:
        return {**self.parts, self.manifest_name: self.manifest}


def _run(*command: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run([str(each) for each in command], input=stdin, capture_output=True, check=True).stdout


def make_user(directory: Path) -> tuple[Path, Path]:
    """A throw-away private key and certificate, as the bundling user has them."""
    key, certificate = directory / "pk.pem", directory / "cert.pem"
    if not key.exists():
        directory.mkdir(parents=True, exist_ok=True)
        _run(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=user", "-days", "1",
            "-keyout", key, "-out", certificate,
        )  # fmt: skip
    return key, certificate


def make_bundle(
    directory: Path,
    region_certificate: Path,
    *,
    name: str = "disk.img",
    content: bytes = b"an image" * 4096,
    account: str = "123456789012",
    architecture: str = "x86_64",
    kernel_id: str = "aki-919dcaf8",
    mappings: Sequence[tuple[str, str]] = (("ami", "sda1"), ("ephemeral0", "sda2"), ("root", "/dev/sda1")),
    part_size: int = PART,
) -> TestBundle:
    """One image, bundled for `region_certificate`."""
    user_key, user_certificate = make_user(directory)
    image = directory / name
    image.write_bytes(content)
    key, iv = os.urandom(16).hex(), os.urandom(16).hex()
    tar = _run("tar", "--create", "--directory", directory, name)
    packed = _run("gzip", "--no-name", "--stdout", stdin=tar)
    cipher = _run("openssl", "enc", "-e", "-aes-128-cbc", "-K", key, "-iv", iv, stdin=packed)
    pieces = [cipher[at : at + part_size] for at in range(0, len(cipher), part_size)]
    parts = {f"{name}.part.{index:0{len(str(len(pieces)))}}": piece for index, piece in enumerate(pieces)}

    def wrapped(certificate: Path, secret: str) -> str:
        command = ("openssl", "pkeyutl", "-encrypt", "-certin", "-inkey", certificate)
        return _run(*command, "-pkeyopt", "rsa_padding_mode:pkcs1", stdin=secret.encode()).hex()

    mapping = "".join(
        f"<mapping><virtual>{virtual}</virtual><device>{device}</device></mapping>" for virtual, device in mappings
    )
    machine = (
        f"<machine_configuration><architecture>{architecture}</architecture>"
        + (f"<block_device_mapping>{mapping}</block_device_mapping>" if mapping else "")
        + (f"<kernel_id>{kernel_id}</kernel_id>" if kernel_id else "")
        + "</machine_configuration>"
    )
    listed = "".join(
        f"<part index='{index}'><filename>{file}</filename>"
        f"<digest algorithm='SHA1'>{hashlib.sha1(piece).hexdigest()}</digest></part>"
        for index, (file, piece) in enumerate(parts.items())
    )
    described = (
        f"<image><name>{name}</name><user>{account}</user><type>machine</type>"
        f"<digest algorithm='SHA1'>{hashlib.sha1(tar).hexdigest()}</digest>"
        f"<size>{len(content)}</size><bundled_size>{len(cipher)}</bundled_size>"
        f"<ec2_encrypted_key algorithm='AES-128-CBC'>{wrapped(region_certificate, key)}</ec2_encrypted_key>"
        f"<user_encrypted_key algorithm='AES-128-CBC'>{wrapped(user_certificate, key)}</user_encrypted_key>"
        f"<ec2_encrypted_iv>{wrapped(region_certificate, iv)}</ec2_encrypted_iv>"
        f"<user_encrypted_iv>{wrapped(user_certificate, iv)}</user_encrypted_iv>"
        f"<parts count='{len(parts)}'>{listed}</parts></image>"
    )
    signature = _run("openssl", "dgst", "-sha1", "-sign", user_key, stdin=(machine + described).encode()).hex()
    manifest = (
        "<?xml version='1.0'?><manifest><version>2007-10-10</version>"
        "<bundler><name>by-hand</name><version>1</version><release>0</release></bundler>"
        f"{machine}{described}<signature>{signature}</signature></manifest>"
    )
    return TestBundle(name=name, manifest=manifest.encode(), parts=parts, key=key, iv=iv)
