"""Tar streams as GNU tar in libguestfs' appliance writes them."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from builder.compare.archive import Read, read_tree
from builder.compare.contents import Entry
from builder.errors import BuilderError


def stream(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    out.seek(0)
    return out


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def read(source: io.BytesIO, place: Path, limit: int = 1000, keep: tuple[str, ...] = ()) -> Read:
    return read_tree(source, keep=keep, keep_limit=100, place=place, limit=limit)


def test_every_kind(tmp_path: Path) -> None:
    xattrs = {"SCHILY.xattr.security.capability": "\1\0", "RHT.security.selinux": "etc_t", "SCHILY.fflags": "x"}
    source = stream(
        (member("./", tarfile.DIRTYPE, mode=0o755), b""),
        (member("./etc", tarfile.DIRTYPE, mode=0o755), b""),
        (member("./etc/motd", mode=0o644, uid=1, gid=2, mtime=5, pax_headers=xattrs), b"hello\n"),
        (member("./etc/again", tarfile.LNKTYPE, linkname="./etc/motd"), b""),
        (member("./sbin", tarfile.SYMTYPE, linkname="usr/sbin", mode=0o777), b""),
        (member("./null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666), b""),
    )
    motd = Entry(
        kind="file",
        mode=0o644,
        uid=1,
        gid=2,
        size=6,
        digest=hashlib.sha256(b"hello\n").hexdigest(),
        mtime=5,
        xattrs=(("security.capability", "0100"), ("security.selinux", "6574635f74")),
        same_as="/etc/again",
        text="hello\n",
    )
    found = read(source, tmp_path, keep=("/etc/motd",))
    assert found.entries == {
        "/": Entry(kind="directory", mode=0o755),
        "/etc": Entry(kind="directory", mode=0o755),
        "/etc/motd": motd,
        "/etc/again": motd,
        "/sbin": Entry(kind="link", mode=0o777, target="usr/sbin"),
        "/null": Entry(kind="character", mode=0o666, target="1:3"),
    }
    assert found.kept["/etc/motd"].read_bytes() == b"hello\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param(io.BytesIO(b"no tar" * 200), "a damaged archive", id="no tar"),
        pytest.param(stream((member("a", tarfile.LNKTYPE, linkname="b"), b"")), "a hard link to nothing", id="link"),
        pytest.param(stream((member("a"), bytes(1001))), "more than 1000 bytes", id="too much"),
    ],
)
def test_hostile(source: io.BytesIO, said: str, tmp_path: Path) -> None:
    with pytest.raises(BuilderError, match=said):
        read(source, tmp_path)
