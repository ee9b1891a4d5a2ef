"""qcow2 headers, as the real qemu-img writes them, and as nobody would."""

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.formats.qcow2 import HEADER, Qcow2, read_header


def header(path: Path, *options: str) -> Qcow2:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, "64M"], check=True)
    return read_header(path.read_bytes()[:HEADER])


@pytest.mark.host
@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_a_whole_image(tmp_path: Path, compat: str) -> None:
    version = 2 if compat == "0.10" else 3
    found = header(tmp_path / "a.qcow2", "-o", f"compat={compat}")
    assert found == Qcow2(version=version, size=64 << 20, backing=False, data_file=False, encrypted=False)


@pytest.mark.host
def test_what_needs_another_file(tmp_path: Path) -> None:
    (tmp_path / "host").write_bytes(bytes(1 << 20))
    assert header(tmp_path / "b.qcow2", "-b", str(tmp_path / "host"), "-F", "raw").backing
    assert header(tmp_path / "c.qcow2", "-o", f"data_file={tmp_path / 'd'}").data_file


@pytest.mark.host
def test_an_encrypted_one(tmp_path: Path) -> None:
    options = ("--object", "secret,id=s,data=word", "-o", "encrypt.format=luks,encrypt.key-secret=s")
    assert header(tmp_path / "e.qcow2", *options).encrypted


@given(st.binary(max_size=HEADER))
def test_no_bytes_are_a_surprise(data: bytes) -> None:
    for candidate in (data, b"QFI\xfb" + data):
        with suppress(ValueError):
            read_header(candidate)
