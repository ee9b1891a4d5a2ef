"""What is taken for a secret in bytes, and what is not; across blocks, holes and inodes."""

import base64
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.stages.verify.secret_places import parse_icheck
from builder.stages.verify.secrets import AWS_KEY, MOST, PRIVATE_KEY, Hit, find_secrets, scan

BODY = base64.encodebytes(bytes(random.Random(1).randbytes(256))).decode()
DASHES = "-----"
ID, SECRET = "AKIA" + "J2UAZ5QXP7TWM3CN", "wq2Fr8Lh0kZy/Tn4vXb6Uc1Ms9Ed+Ga7Pj3RiOl5"


def pem(kind: str, between: str = "\n") -> str:
    return f"{DASHES}BEGIN {kind}PRIVATE KEY{DASHES}{between}{BODY}{DASHES}END {kind}PRIVATE KEY{DASHES}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(pem("RSA "), [Hit(offset=0, kind=PRIVATE_KEY)], id="rsa"),
        pytest.param(pem("OPENSSH "), [Hit(offset=0, kind=PRIVATE_KEY)], id="openssh"),
        pytest.param(pem(""), [Hit(offset=0, kind=PRIVATE_KEY)], id="pkcs8"),
        pytest.param(pem("", "\r\n"), [Hit(offset=0, kind=PRIVATE_KEY)], id="dos"),
        pytest.param(pem("", "\\n"), [Hit(offset=0, kind=PRIVATE_KEY)], id="json"),
        pytest.param("key: |\n  " + pem("EC ", "\n  "), [Hit(offset=9, kind=PRIVATE_KEY)], id="yaml"),
        pytest.param(
            pem("RSA ", "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n"),
            [Hit(offset=0, kind=PRIVATE_KEY)],
            id="encrypted",
        ),
        pytest.param(
            f"{DASHES}BEGIN PGP PRIVATE KEY BLOCK{DASHES}\nVersion: x\n\n{BODY}",
            [Hit(offset=0, kind=PRIVATE_KEY)],
            id="openpgp",
        ),
        pytest.param(f"{DASHES}BEGIN RSA PRIVATE KEY{DASHES}\n\0more", [], id="a-program-that-reads-keys"),
        pytest.param(f"{DASHES}BEGIN PUBLIC KEY{DASHES}\n{BODY}", [], id="public"),
        pytest.param("the PRIVATE KEY of the user", [], id="prose"),
        pytest.param(f"id={ID}\nsecret={SECRET}\n", [Hit(offset=3, kind=AWS_KEY)], id="aws"),
        pytest.param(f"{SECRET},{ID}", [Hit(offset=41, kind=AWS_KEY)], id="the-secret-first"),
        pytest.param(f"id={ID}\n", [], id="no-secret"),
        pytest.param(f"id={ID}\n{'x' * 3000}{SECRET}\n", [], id="a-secret-far-away"),
        pytest.param(f"id={ID}\nsha1={'0f' * 20}\n", [], id="a-digest"),
        pytest.param(
            "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", [], id="the-example-of-the-documents"
        ),
    ],
)
def test_what_is_a_secret(text: str, expected: list[Hit]) -> None:
    assert list(find_secrets(text.encode())) == expected


@given(st.binary(max_size=300), st.sampled_from([b"PRIVATE KEY", b"AKIA", b"-----BEGIN PRIVATE KEY-----\n"]))
def test_no_bytes_make_a_traceback(data: bytes, word: bytes) -> None:
    assert all(hit.offset >= 0 for hit in find_secrets(data + word + data))


@pytest.mark.parametrize("at", [0, 4000, 65_536 - 10, 65_536 * 3 - 300, 300_000])
def test_across_blocks(at: int, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(at) + pem("RSA ").encode() + bytes(70_000))
    assert scan(image, block=65_536) == (Hit(offset=at, kind=PRIVATE_KEY),)


def test_holes_cost_nothing(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        os.truncate(file.fileno(), 2**42)
        os.pwrite(file.fileno(), pem("RSA ").encode(), 2**41)
    assert scan(image) == (Hit(offset=2**41, kind=PRIVATE_KEY),)


def test_no_image_fills_memory(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(pem("RSA ").encode() * 2 * MOST)
    assert len(scan(tmp_path / "image")) == MOST


def test_icheck() -> None:
    said = "debugfs 1.47.0 (5-Feb-2023)\nBlock\tInode number\n12\t<block not found>\n300\t17\n"
    assert parse_icheck(said) == {300: 17}
