"""Reading the outside of .deb files."""

import contextlib
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.formats.deb_archive import Deb, DebFormatError, read_deb

CONTROL = "Package: hello\nVersion: 1\nArchitecture: all\n"


def tar_of(name: str = "./control", text: str = CONTROL) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def member(name: str, data: bytes, time: int = 7) -> bytes:
    header = f"{name:<16}{time:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
    return header + data + b"\n" * (len(data) % 2)


def deb(*members: bytes) -> bytes:
    return b"!<arch>\n" + member("debian-binary", b"2.0\n", 5) + b"".join(members)


def read(data: bytes) -> Deb:
    return read_deb(io.BytesIO(data), zstd=lambda packed: packed[4:])


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        pytest.param(".xz", lzma.compress, id="xz"),
        pytest.param(".gz", gzip.compress, id="gzip"),
        pytest.param(".zst", lambda data: b"zstd" + data, id="zstd"),
        pytest.param("", bytes, id="plain"),
    ],
)
def test_what_it_says(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    assert read(deb(member(f"control.tar{suffix}", pack(tar_of())))) == Deb(control=CONTROL.strip(), build_time=7)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"\x1f\x8b", "no ar archive", id="another format"),
        pytest.param(deb(), "no control archive", id="no control archive"),
        pytest.param(deb(b"short"), "header is damaged", id="cut header"),
        pytest.param(deb(member("control.tar", tar_of())[:-600]), "ends too early", id="cut member"),
        pytest.param(deb(member("control.tar.xz", b"no xz")), "cannot be read", id="damaged xz"),
        pytest.param(deb(member("control.tar.br", b"")), "unknown way", id="unknown packing"),
        pytest.param(deb(member("control.tar", tar_of("./postinst"))), "no control file", id="no control file"),
        pytest.param(
            deb(member("control.tar", b"").replace(b"0         `", b"9999999999`")), "9999999999 bytes", id="huge"
        ),
    ],
)
def test_what_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(DebFormatError, match=why):
        read(data)


@given(st.binary(max_size=400))
def test_nothing_else_is_raised(tail: bytes) -> None:
    for data in (tail, deb(tail), deb(member("control.tar.xz", tail)), deb(member("control.tar.gz", tail))):
        with contextlib.suppress(DebFormatError):
            read(data)
