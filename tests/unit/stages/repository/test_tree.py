"""The merged /usr, what is left out, and a data archive that may be hostile."""

import io
import tarfile
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.stages.repository.definition import Omission
from builder.stages.repository.tree import (
    Accounts,
    Entry,
    Kind,
    Unpacker,
    is_omitted,
    merged_path,
    merged_target,
)

ACCOUNTS = Accounts(users={0: "root"}, groups={0: "root", 42: "shadow"})
NO_DOCS = Omission(package="", paths=("/usr/share/doc",), keep=("copyright",))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/bin/ls", "/usr/bin/ls"),
        ("/lib64/ld.so", "/usr/lib64/ld.so"),
        ("/sbin", "/usr/sbin"),
        ("/library/x", "/library/x"),
        ("/usr/bin/ls", "/usr/bin/ls"),
        ("/", "/"),
    ],
)
def test_merged_path(path: str, expected: str) -> None:
    assert merged_path(path) == expected


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        pytest.param("/bin/sh", "dash", "dash", id="beside it"),
        pytest.param("/lib/x/a", "../../usr/share/a", "../../share/a", id="climbs through /"),
        pytest.param("/usr/lib/a", "../../lib/x/a", "x/a", id="from /usr into /lib"),
        pytest.param("/usr/bin/ld.so", "/lib64/ld.so", "/lib64/ld.so", id="absolute stays"),
        pytest.param("/usr/bin/which", "/bin/which", "", id="at itself, absolute"),
        pytest.param("/usr/bin/which", "../../bin/which", "", id="at itself, relative"),
        pytest.param("/etc/a", "../usr/b", "../usr/b", id="nothing moved"),
        pytest.param("/usr/lib/x.service", "/dev/null", "/dev/null", id="masked unit"),
    ],
)
def test_merged_target(path: str, target: str, expected: str) -> None:
    assert merged_target(path, target) == expected


@pytest.mark.parametrize(
    ("path", "kind", "package", "expected"),
    [
        ("/usr/share/doc", Kind.DIRECTORY, "a", True),
        ("/usr/share/doc/a/changelog", Kind.FILE, "a", True),
        ("/usr/share/doc/a/copyright", Kind.FILE, "a", False),
        ("/usr/share/doc/a/copyright", Kind.DIRECTORY, "a", True),
        ("/usr/share/doc/a", Kind.LINK, "a", False),
        ("/usr/share/doc/a/link", Kind.LINK, "a", True),
        ("/usr/share/docs/a", Kind.FILE, "a", False),
        ("/etc/issue", Kind.FILE, "base-files", True),
        ("/etc/issue", Kind.FILE, "a", False),
    ],
)
def test_is_omitted(path: str, kind: Kind, package: str, expected: bool) -> None:
    omissions = (NO_DOCS, Omission(package="base-files", paths=("/etc/issue",)))
    assert is_omitted(path, kind, package, omissions) is expected


def member(
    name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", mode: int = 0o644, gid: int = 0
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.gid, info.mtime = kind, link, mode, gid, 1_600_000_000
    return info


def unpack(tmp_path: Path, *members: tarfile.TarInfo) -> tuple[tuple[Entry, ...], int]:
    archive = tmp_path / "data.tar"
    with tarfile.open(archive, "w") as tar:
        for each in members:
            content = b"text" if each.isreg() else b""
            each.size = len(content)
            tar.addfile(each, io.BytesIO(content))
    root = tmp_path / "root"
    root.mkdir()
    unpacker = Unpacker(
        package="p", root=root, accounts=ACCOUNTS, omissions=(NO_DOCS,), skeleton=frozenset({"/", "/usr", "/usr/bin"})
    )
    return unpacker.unpack(archive)


def test_unpack(tmp_path: Path) -> None:
    late = member("./usr/share/doc/p/changelog")
    late.mtime = 1_700_000_000
    found = unpack(
        tmp_path,
        member("./", tarfile.DIRTYPE, mode=0o755),
        member("./bin/", tarfile.DIRTYPE, mode=0o755),
        member("./bin/tool", mode=0o2755, gid=42),
        member("./bin/same", tarfile.LNKTYPE, link="./bin/tool", mode=0o2755, gid=42),
        member("./bin/short", tarfile.SYMTYPE, link="tool", mode=0o777),
        member("./usr/bin/tool", tarfile.SYMTYPE, link="/bin/tool", mode=0o777),
        member("./usr/share/doc/p/copyright"),
        late,
    )
    assert found == (
        (
            Entry(path="/usr/bin/same", kind=Kind.FILE, mode=0o2755, group="shadow", moved_from="/bin/same"),
            Entry(path="/usr/bin/short", kind=Kind.LINK, mode=0o777, moved_from="/bin/short"),
            Entry(path="/usr/bin/tool", kind=Kind.FILE, mode=0o2755, group="shadow", moved_from="/bin/tool"),
            Entry(path="/usr/share/doc", kind=Kind.DIRECTORY),
            Entry(path="/usr/share/doc/p", kind=Kind.DIRECTORY),
            Entry(path="/usr/share/doc/p/copyright", kind=Kind.FILE, mode=0o644),
        ),
        1_700_000_000,
    )
    tool = tmp_path / "root/usr/bin/tool"
    assert (tool.read_text(), tool.stat().st_nlink, int(tool.stat().st_mtime)) == ("text", 2, 1_600_000_000)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param([member("../../etc/passwd")], "is not a path that a package may bring", id="climbs out"),
        pytest.param([member("./usr/a\nb")], "is not a path that a package may bring", id="newline"),
        pytest.param([member('./usr/a"b')], "is not a path that a package may bring", id="quotation mark"),
        pytest.param([member("./dev/x", tarfile.CHRTYPE)], "is a device or a pipe", id="device"),
        pytest.param([member("./run/x", tarfile.FIFOTYPE)], "is a device or a pipe", id="pipe"),
        pytest.param(
            [member("./etc/l", tarfile.SYMTYPE, link="/etc"), member("./etc/l/x")], "lies below the link", id="through"
        ),
        pytest.param([member("./etc/h", tarfile.LNKTYPE, link="./etc/none")], "cannot be unpacked", id="lost link"),
        pytest.param([member("./bin/x"), member("./usr/bin/x")], "cannot be unpacked", id="twice when merged"),
        pytest.param([member("./etc/x", gid=77)], "belongs to the number 77, which has no account", id="no account"),
    ],
)
def test_hostile(tmp_path: Path, members: list[tarfile.TarInfo], message: str) -> None:
    with pytest.raises(BuilderError, match=message):
        unpack(tmp_path, *members)
    assert not (tmp_path.parent / "etc").exists()
