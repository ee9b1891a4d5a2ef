"""Public keys as strangers send them: read, or refused with words; nothing else."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.region.ec2.public_keys import create_ed25519, read_public_key

LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBT3aM7vErLYLzJ1v1mYKNQWYvGhuxUpV9SdYpEQ8hE5"


def test_a_made_key_is_read_again() -> None:
    made = create_ed25519()
    assert read_public_key(made.public.openssh.encode()) == made.public
    assert made.private not in repr(made)


@given(st.binary(max_size=300))
def test_any_bytes(material: bytes) -> None:
    _read_or_refused(material)


@given(st.integers(0, 79), st.integers(0, 255))
def test_a_key_with_one_byte_changed(position: int, byte: int) -> None:
    line = bytearray(LINE.encode())
    line[position] = byte
    _read_or_refused(bytes(line))


@given(st.text("AZaz09+/=\n -:\\", max_size=200))
def test_any_body_of_rfc_4716(body: str) -> None:
    _read_or_refused(f"---- BEGIN SSH2 PUBLIC KEY ----\n{body}\n---- END SSH2 PUBLIC KEY ----".encode())


def _read_or_refused(material: bytes) -> None:
    try:
        found = read_public_key(material)
    except ValueError as error:
        assert str(error).startswith("it ")
    else:
        # What is kept is one line of two words, whatever came.
        assert found.openssh.isprintable()
        assert len(found.openssh.split(" ")) == 2


def test_headers_of_rfc_4716() -> None:
    blob = LINE.split()[1]
    headers = 'Subject: me\nComment: "a long\\\n one: of two lines"\nx-private: 1\n'
    text = f"---- BEGIN SSH2 PUBLIC KEY ----\n{headers}{blob[:40]}\n{blob[40:]}\n---- END SSH2 PUBLIC KEY ----\n"
    assert read_public_key(text.encode()).openssh == LINE


def rsa(bits: int) -> bytes:
    """A public key of that length, whose private half nobody could have."""
    modulus = (1 << (bits - 1)) | 1
    numbers = (b"ssh-rsa", b"\x01\x00\x01", b"\0" + modulus.to_bytes(bits // 8, "big"))
    return b"ssh-rsa " + base64.b64encode(b"".join(len(each).to_bytes(4, "big") + each for each in numbers))


@pytest.mark.parametrize("bits", [1024, 3072, 4096])
def test_lengths(bits: int) -> None:
    found = read_public_key(rsa(bits))
    assert (found.kind, found.openssh.encode(), len(found.fingerprint)) == ("rsa", rsa(bits), 47)


def test_a_key_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="it has 4104 bits, not 1024 to 4096"):
        read_public_key(rsa(4104))
