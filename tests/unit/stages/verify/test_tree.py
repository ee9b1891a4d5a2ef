"""Listings and links of a tree, and what package databases say of it."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.stages.verify.packages import Owned, parse_dpkg, parse_rpm
from builder.stages.verify.tree import Entry, Tree, parse_listing, resolve

LINKS = {"/bin": "usr/bin", "/home/ann": "/srv/ann", "/a": "/b", "/b": "a", "/up": "../../../etc"}


def test_names_of_every_kind() -> None:
    names, unnamed = parse_listing("a\0b\nc\0\x1b[2J\0é\0".encode() + b"d/\xff\0")
    assert (names, unnamed) == (["a", "b\nc", "\x1b[2J", "é"], ("/d/\\xff",))


@given(st.binary(max_size=60))
def test_any_listing(data: bytes) -> None:
    names, unnamed = parse_listing(data + b"\0")
    assert len(names) + len(unnamed) == data.count(b"\0") + 1


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("/bin/su", "/usr/bin/su"),
        ("/home/ann/.ssh/x", "/srv/ann/.ssh/x"),
        ("/up/passwd", "/etc/passwd"),
        ("/usr/bin", "/usr/bin"),
        ("/", "/"),
    ],
)
def test_links(path: str, leads: str) -> None:
    assert resolve(path, LINKS) == leads


def test_a_loop_ends() -> None:
    assert resolve("/a/x", LINKS) in ("/a/x", "/b/x")


def test_who_is_privileged() -> None:
    def is_privileged(mode: int, *, capability: bool = False) -> bool:
        return Entry(mode=mode, capability=capability).privileged

    assert [is_privileged(stat.S_IFREG | mode) for mode in (0o755, 0o4755, 0o2755, 0o1755)] == [
        False, True, True, False
    ]  # fmt: skip
    assert is_privileged(stat.S_IFREG | 0o755, capability=True)
    assert not is_privileged(stat.S_IFDIR | 0o2755)


def test_rpm_and_dpkg_before_usr_was_merged() -> None:
    tree = Tree(links=LINKS)
    asked = frozenset({"/usr/bin/su", "/usr/bin/ping"})
    rows = b"104755 " + b"ab" * 32 + b"  /bin/su\n100755  cap_net_raw=ep /usr/bin/ping\n40755   /usr\nwhat\n\n"
    assert parse_rpm(rows, asked, tree.resolve) == {
        "/usr/bin/su": Owned(mode=0o104755, digest="ab" * 32, capability=False),
        "/usr/bin/ping": Owned(mode=0o100755, capability=True),
    }
    lists, sums = [b"/.\n/bin\n/bin/su\n", b"/usr/bin/x\n"], ["cd" * 16 + "  bin/su\n"]
    assert parse_dpkg(lists, [each.encode() for each in sums], asked, tree.resolve) == {
        "/usr/bin/su": Owned(digest="cd" * 16)
    }
