"""Two contents compared: every kind of difference, and none."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from builder.compare.contents import Contents, Entry, Package, shown
from builder.compare.differences import (
    Differences,
    Fact,
    FileChange,
    PackageChange,
    Setting,
    blocks_that_differ,
    compare,
)

FILE = Entry(kind="file", mode=0o644, size=3, digest="a" * 64, mtime=1)
BASH = Package(name="bash", version="5.1", architecture="x86_64", size=100)
KERNEL = Package(name="kernel", version="6.1", architecture="x86_64", size=10)


def contents(entries: dict[str, Entry], *packages: Package, **disk: str) -> Contents:
    return Contents(entries=entries, packages=packages, disk=disk)


def test_equal() -> None:
    same = contents({"/a": FILE}, BASH, size="1")
    assert compare(same, same) == Differences()
    assert compare(same, same).equal
    assert not compare(same, same, blocks=1).equal


def test_files() -> None:
    others = {
        "kind": replace(FILE, kind="directory", digest="", size=0),
        "content": replace(FILE, digest="b" * 64, mtime=2),
        "mode": replace(FILE, mode=0o4755),
        "owner": replace(FILE, gid=5),
        "xattrs": replace(FILE, xattrs=(("security.capability", "01"),)),
        "names": replace(FILE, same_as="/other"),
        "link": Entry(kind="link", mode=0o777, target="b"),
    }
    before = {f"/{name}": FILE for name in others} | {"/link": Entry(kind="link", mode=0o777, target="a")}
    after = {f"/{name}": each for name, each in others.items()}
    found = compare(
        contents(before | {"/old": FILE, "/later": FILE}),
        contents(after | {"/new": FILE, "/later": replace(FILE, mtime=9)}),
    )
    assert found == Differences(
        files_added=(("/new", FILE),),
        files_removed=(("/old", FILE),),
        files_changed=tuple(
            FileChange(path=path, what=(path[1:],), before=before[path], after=after[path]) for path in sorted(before)
        ),
        times=("/later",),
    )


def test_packages() -> None:
    newer = replace(BASH, version="5.2", size=150)
    second = replace(KERNEL, version="6.2")
    less = Package(name="less", version="1", architecture="noarch")
    assert compare(contents({}, BASH, KERNEL), contents({}, newer, KERNEL, second, less)) == Differences(
        packages_added=(less,),
        packages_changed=(
            PackageChange(name="bash", architecture="x86_64", before=("5.1",), after=("5.2",), size=50),
            PackageChange(name="kernel", architecture="x86_64", before=("6.1",), after=("6.1", "6.2"), size=10),
        ),
    )
    assert compare(contents({}, less), contents({})).packages_removed == (less,)


def test_settings_are_shown_where_they_are_no_secret() -> None:
    before = {"/etc/a": replace(FILE, text="1\n2\n"), "/etc/shadow": replace(FILE, digest="c" * 64)}
    after = {"/etc/a": replace(FILE, text="1\n3\n", digest="d" * 64), "/etc/shadow": replace(FILE, digest="e" * 64)}
    found = compare(contents(before), contents(after))
    assert found.settings == (Setting(path="/etc/a", lines=("@@ -1,2 +1,2 @@", " 1", "-2", "+3")),)
    assert [each.path for each in found.files_changed] == ["/etc/a", "/etc/shadow"]


def test_what_may_be_shown() -> None:
    assert shown("/etc/fstab", 0o644, b"x\n") == "x\n"
    assert shown("/boot/grub/menu.lst", 0o644, b"x") == "x"
    for path, mode, data in (
        ("/etc/shadow", 0o640, b"root:$6$"),
        ("/etc/ssh/key", 0o644, b"-----BEGIN OPENSSH PRIVATE KEY-----"),
        ("/etc/ld.so.cache", 0o644, b"\0"),
        ("/etc/latin", 0o644, b"\xff"),
        ("/etc/large", 0o644, b"x" * 70_000),
        ("/usr/share/a", 0o644, b"x"),
    ):
        assert shown(path, mode, data) is None


def test_disk_and_blocks() -> None:
    found = compare(contents({}, size="1", uuid="a"), contents({}, size="1", label="b"), blocks=3)
    assert found == Differences(
        disk=(Fact(name="uuid", before="a", after=""), Fact(name="label", before="", after="b")), blocks=3
    )
    assert blocks_that_differ(["a", "-", "b"], ["a", "c"]) == 2


_NAMES = st.dictionaries(st.sampled_from(["/a", "/b", "/etc/c"]), st.sampled_from([FILE, replace(FILE, mode=0)]))


@given(_NAMES, _NAMES)
def test_the_other_way_round_is_the_opposite(one: dict[str, Entry], two: dict[str, Entry]) -> None:
    there, back = compare(contents(one), contents(two)), compare(contents(two), contents(one))
    assert (there.files_added, there.files_removed) == (back.files_removed, back.files_added)
    assert [each.path for each in there.files_changed] == [each.path for each in back.files_changed]
    assert there.equal == (one == two)
