"""Bundles that are wrong on purpose, and signed all the same: what refuses them is the check of the field itself.

Made with the standard library and `cryptography`; nothing of ours takes part in making them.
"""

import gzip
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.padding import PKCS7

from builder.formats.bundle_manifest import Part
from tests.support.tars import archive

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KEY, IV = bytes(range(16)), bytes(range(100, 116))
NAME = "disk.img"


@cache
def private_key(who: str) -> "RSAPrivateKey":
    """A throw-away key for each name, once a process. 1024 bits, as EC2's own."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def pack(tar: bytes) -> bytes:
    return gzip.compress(tar, 6, mtime=0)


def encrypt(packed: bytes, key: bytes = KEY, iv: bytes = IV) -> bytes:
    padder, cipher = PKCS7(128).padder(), Cipher(AES(key), modes.CBC(iv)).encryptor()
    return cipher.update(padder.update(packed) + padder.finalize()) + cipher.finalize()


def wrap(text: str, who: str) -> str:
    return private_key(who).public_key().encrypt(text.encode("ascii"), PKCS1v15()).hex()


def cut(cipher: bytes, size: int) -> dict[str, bytes]:
    pieces = [cipher[at : at + size] for at in range(0, len(cipher), size)]
    return {f"{NAME}.part.{index:0{len(str(len(pieces)))}}": piece for index, piece in enumerate(pieces)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forged:
    """A bundle as it lies in a directory."""

    manifest: bytes
    parts: Mapping[str, bytes]


def forge(
    content: bytes = b"an image" * 4096,
    *,
    tar: bytes | None = None,
    packed: bytes | None = None,
    cipher: bytes | None = None,
    parts: Mapping[str, bytes] | None = None,
    size: int | None = None,
    part_size: int = 10 << 20,
    edit: Callable[[str], str] = str,
    signer: str | None = "user",
) -> Forged:
    """A bundle of `content`; any later stage can be given instead of being made.

    `edit` changes the text of machine configuration and image before it is signed, by the key of `signer`.
    """
    tar = archive(content) if tar is None else tar
    cipher = encrypt(pack(tar) if packed is None else packed) if cipher is None else cipher
    parts = cut(cipher, part_size) if parts is None else parts
    signed = edit(
        "<machine_configuration><architecture>x86_64</architecture></machine_configuration>"
        f"<image><name>{NAME}</name><user>123456789012</user><type>machine</type>"
        f"<digest algorithm='SHA1'>{hashlib.sha1(tar).hexdigest()}</digest>"
        f"<size>{len(content) if size is None else size}</size>"
        f"<bundled_size>{sum(map(len, parts.values()))}</bundled_size>"
        f"<ec2_encrypted_key algorithm='AES-128-CBC'>{wrap(KEY.hex(), 'ec2')}</ec2_encrypted_key>"
        f"<user_encrypted_key algorithm='AES-128-CBC'>{wrap(KEY.hex(), 'user')}</user_encrypted_key>"
        f"<ec2_encrypted_iv>{wrap(IV.hex(), 'ec2')}</ec2_encrypted_iv>"
        f"<user_encrypted_iv>{wrap(IV.hex(), 'user')}</user_encrypted_iv>"
        f"<parts count='{len(parts)}'>{''.join(_listed(parts))}</parts></image>"
    )
    signature = ""
    if signer is not None:
        signature = private_key(signer).sign(signed.encode(), PKCS1v15(), hashes.SHA1()).hex()
    manifest = (
        f"<?xml version='1.0'?><manifest><version>2007-10-10</version>{signed}"
        f"<signature>{signature or 'UNSIGNED'}</signature></manifest>"
    )
    return Forged(manifest=manifest.encode(), parts=parts)


def _listed(parts: Mapping[str, bytes]) -> Iterable[str]:
    for index, (name, piece) in enumerate(parts.items()):
        digest = hashlib.sha1(piece).hexdigest()
        yield (f"<part index='{index}'><filename>{name}</filename><digest algorithm='SHA1'>{digest}</digest></part>")


class Held:
    """Parts in memory."""

    def __init__(self, parts: Mapping[str, bytes], step: int = 1 << 20) -> None:
        self.parts = dict(parts)
        self.step = step
        self.read_names: list[str] = []

    def lengths(self) -> dict[str, int]:
        return {name: len(data) for name, data in self.parts.items()}

    def read(self, part: Part) -> Iterator[bytes]:
        self.read_names.append(part.filename)
        data = self.parts[part.filename]
        return (data[at : at + self.step] for at in range(0, len(data), self.step))
