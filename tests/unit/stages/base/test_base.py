"""Existing images that need no appliance: each becomes the layer of its tree, and each trick is refused by name."""

import hashlib
import io
import json
import os
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.formats import layer_tar
from tests.support.images import TREE, directory, layout, member, taken, tar, tree_members
from tests.support.layers import CAPABILITY, varied_tree, write_layer


def entries(place: Path) -> dict[str, bytes]:
    """Path to data, of all that is no directory, in what the stage wrote."""
    found = {}
    with (place / "base/output/layer.tar").open("rb") as file:
        for entry, copy in layer_tar.read_entries(file):
            if entry.kind is not layer_tar.Kind.DIRECTORY:
                sink = io.BytesIO()
                copy(sink)
                found[entry.path.decode()] = sink.getvalue() or entry.target
    return found


def plain() -> dict[str, bytes]:
    return {name: data.encode() if isinstance(data, str) else data for name, data in TREE.items()} | {
        "usr/bin/sh": b"dash"
    }


def test_a_tar_and_what_it_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(tar(tree_members()))
    found = taken(path, tmp_path)
    assert entries(tmp_path) == plain()
    assert {name: found[name] for name in ("os", "release", "name", "architecture", "manager", "installed")} == {
        "os": "tiny",
        "release": "1",
        "name": "Tiny 1",
        "architecture": "x86_64",
        "manager": "",
        "installed": [["tiny", "1:2.0-3"]],
    }
    assert found["source_epoch"] == 1_700_000_000
    assert found["pinned"]["pin"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("command", [["gzip"], ["bzip2"], ["xz"], ["zstd", "-q"]], ids=lambda each: each[0])
@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.host
def test_packed_tars(tmp_path: Path, command: list[str], format: int) -> None:
    path = tmp_path / "image.tar"
    with path.open("wb") as file:
        subprocess.run(command, input=tar(tree_members(), format=format), stdout=file, check=True)
    taken(path, tmp_path)
    assert entries(tmp_path) == plain()


def test_a_layer_of_our_own_comes_back_byte_for_byte(tmp_path: Path) -> None:
    """Owners, set-user-id bits, capabilities, holes, links, pipes, long names."""
    system = [
        (layer_tar.Entry(path=name.encode(), kind=layer_tar.Kind.FILE, mode=0o755, size=len(data)), data)
        for name, data in plain().items()
        if name not in ("usr/bin/sh",)
    ]
    parents = ["usr", "usr/bin", "var", "var/lib", "var/lib/dpkg"]
    made = [(layer_tar.Entry(path=each.encode(), kind=layer_tar.Kind.DIRECTORY, mode=0o755), b"") for each in parents]
    _, place, said = write_layer(tmp_path / "made", "packages", [*varied_tree(), *system, *made])
    found = taken(place / "layer.tar", tmp_path)
    assert found["digest"] == said["digest"]
    assert (tmp_path / "base/output/layer.tar").read_bytes() == (place / "layer.tar").read_bytes()


def test_a_directory_is_the_tar_of_it(tmp_path: Path) -> None:
    root = directory(tmp_path / "root")
    os.link(root / "etc/hostname", root / "etc/zz")
    os.mkfifo(root / "etc/pipe")
    (root / "etc/hostname").chmod(0o4711)
    if os.geteuid() == 0:
        os.chown(root / "etc", 1, 42)
        os.setxattr(root / "usr/bin/dash", "security.capability", CAPABILITY)
    subprocess.run(
        ["tar", "--numeric-owner", "--xattrs", "--acls", "--sort=name", "-C", root, "-cf", tmp_path / "root.tar", "."],
        check=True,
    )
    a = taken(root, tmp_path / "a")
    b = taken(tmp_path / "root.tar", tmp_path / "b")
    assert entries(tmp_path / "a")["etc/zz"] == b"etc/hostname"
    if os.geteuid() == 0:  # the owner's own files are root's otherwise
        assert a["digest"] == b["digest"]
    assert a["pinned"]["pin"] == a["digest"]


def test_a_directory_that_changes_after_it_was_locked(tmp_path: Path) -> None:
    from builder.stages.base import run
    from builder.stages.base.spec import BaseSpec
    from tests.support.images import context

    root = directory(tmp_path / "root")
    pin = taken(root, tmp_path)["pinned"]["pin"]
    (root / "etc/hostname").write_text("other\n")
    with pytest.raises(BuilderError, match="is not what the lock says"):
        run.run(
            BaseSpec(kind="directory", format="", pin=pin, architecture="x86_64"),
            context(tmp_path / "again", {pin: str(root)}),
        )


def test_whose_store_would_be_in_it(tmp_path: Path) -> None:
    directory(tmp_path)
    with pytest.raises(BuilderError, match="the factory's own store is in it"):
        taken(tmp_path, tmp_path / "place")


BAD: dict[str, tuple[Callable[[], list[tuple[tarfile.TarInfo, bytes]]], str]] = {
    "absolute": (lambda: [member("/etc/cron.d/x", "x")], '"/etc/cron.d/x" is absolute'),
    "climbing": (lambda: [member("a/../../x", "x")], '"a/../../x" holds ".."'),
    "device": (
        lambda: [member("var/disk", type=tarfile.BLKTYPE, devmajor=8)],
        '"var/disk" is a device node',
    ),
    "overlay whiteout": (lambda: [member("x", type=tarfile.CHRTYPE)], '"x" is a device node'),
    "hard link out": (
        lambda: [member("x", type=tarfile.LNKTYPE, linkname="/etc/shadow")],
        '"/etc/shadow" is absolute',
    ),
    "hard link up": (
        lambda: [member("x", type=tarfile.LNKTYPE, linkname="../../etc/shadow")],
        "would lead out of the tree",
    ),
    "hard link to nothing": (
        lambda: [member("x", type=tarfile.LNKTYPE, linkname="etc/shadow")],
        '"x" is a hard link to "etc/shadow", which is no file of the tree before it',
    ),
    "through a link": (
        lambda: [member("out", type=tarfile.SYMTYPE, linkname="/etc"), member("out/passwd", "x")],
        '"out/passwd" lies below "out", which is a symbolic link',
    ),
    "hard link through a link": (
        lambda: [
            member("out", type=tarfile.SYMTYPE, linkname="/etc"),
            member("x", type=tarfile.LNKTYPE, linkname="out/shadow"),
        ],
        "which is no file of the tree before it",
    ),
    "owner": (lambda: [member("x", uid=1_000_000)], '"x" belongs to 1000000:0'),
    "strange type": (lambda: [member("x", type=b"V")], '"x" is of a type that no root tree has'),
    "unnamed owner": (
        lambda: [member("x", pax_headers={"SCHILY.acl.access": "user::rwx,user:joe:rwx,group::---,other::---"})],
        '"joe" is a name',
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_tricks_of_tars(tmp_path: Path, name: str) -> None:
    members, message = BAD[name]
    path = tmp_path / "image.tar"
    path.write_bytes(tar([*tree_members(), *members()]))
    with pytest.raises(BuilderError) as raised:
        taken(path, tmp_path)
    assert message in raised.value.brief
    assert raised.value.brief.startswith(str(path))
    assert raised.value.hint


def test_device_nodes_in_dev_are_left_out_and_said(tmp_path: Path) -> None:
    nodes = [member(f"./dev/{name}", type=tarfile.CHRTYPE, devmajor=1, devminor=3) for name in ("null", "zero")]
    path = tmp_path / "image.tar"
    path.write_bytes(tar([*tree_members(), *nodes]))
    found = taken(path, tmp_path)
    assert entries(tmp_path) == plain()
    assert found["notes"] == ["2 device nodes in /dev left out: the guest's kernel makes its own"]


def test_only_a_trees_own_attributes_are_kept(tmp_path: Path) -> None:
    given = {
        "SCHILY.xattr.user.note": "kept",
        "SCHILY.xattr.security.selinux": "system_u:object_r:etc_t:s0",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.user.overlay.opaque": "y",
    }
    path = tmp_path / "image.tar"
    path.write_bytes(tar([*tree_members(), member("x", "x", pax_headers=given)]))
    found = taken(path, tmp_path)
    with (tmp_path / "base/output/layer.tar").open("rb") as file:
        kept = {entry.path: entry.xattrs for entry, _ in layer_tar.read_entries(file)}
    assert kept[b"x"] == {"user.note": b"kept"}
    assert found["notes"] == ["its SELinux labels are left out: the guest labels its files anew ([selinux] says how)"]


@pytest.mark.parametrize("keep", [700, 1024 + 100, 3000])
def test_a_tar_that_was_cut_short(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(tar(tree_members())[:keep])
    with pytest.raises(BuilderError, match=r"no archive that can be read|cut short or damaged"):
        taken(path, tmp_path)


def test_a_tar_that_is_damaged_in_the_middle(tmp_path: Path) -> None:
    """tarfile alone takes a broken header for the end of the archive."""
    data = bytearray(tar(tree_members()))
    data[1024:1100] = b"\xff" * 76
    path = tmp_path / "image.tar"
    path.write_bytes(data)
    with pytest.raises(BuilderError, match="cut short or damaged after 1024 bytes"):
        taken(path, tmp_path)


def test_a_header_that_wants_all_memory(tmp_path: Path) -> None:
    """A PAX header of 3 GiB, in a file with holes."""
    path = tmp_path / "image.tar"
    info = tarfile.TarInfo("big")
    info.size, info.type = 3 << 30, tarfile.XHDTYPE
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.truncate((3 << 30) + 10240)
    with pytest.raises(BuilderError, match="no archive that can be read"):
        taken(path, tmp_path)


def test_no_system_in_it(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(tar([member("etc/passwd", "root")]))
    with pytest.raises(BuilderError, match="no operating system in it"):
        taken(path, tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_no_damage_is_a_surprise(tmp_path_factory: pytest.TempPathFactory, seed: int, count: int) -> None:
    place = tmp_path_factory.mktemp("damaged")
    data = bytearray(tar(tree_members()))
    chance = random.Random(seed)
    for _ in range(count):
        data[chance.randrange(len(data))] = chance.randrange(256)
    (place / "image.tar").write_bytes(data)
    try:
        taken(place / "image.tar", place)
    except BuilderError as error:
        assert error.brief


# OCI


def test_an_oci_layout_and_an_archive_of_it(tmp_path: Path) -> None:
    upper = [
        member("etc/.wh.hostname"),
        member("usr/share/new", "new"),
        member("opt/.wh..wh..opq"),
        member("opt/mine", "mine"),
    ]
    lower = [*tree_members(), member("opt/a/b", "b")]
    place = layout(tmp_path / "oci", [tar(lower), tar(upper)])
    found = taken(place, tmp_path / "a")
    expected = {name: data for name, data in plain().items() if name != "etc/hostname"}
    assert entries(tmp_path / "a") == expected | {"usr/share/new": b"new", "opt/mine": b"mine"}
    subprocess.run(["tar", "-C", place, "-cf", tmp_path / "oci.tar", "."], check=True)
    again = taken(tmp_path / "oci.tar", tmp_path / "b")
    assert (again["digest"], again["pinned"]["pin"]) == (found["digest"], found["pinned"]["pin"])
    assert again["pinned"]["kind"] == "oci"


def test_a_whiteout_hides_only_what_is_below_wherever_it_stands(tmp_path: Path) -> None:
    upper = [member("d/x", "new"), member("d/.wh.x"), member("d/.wh..wh..opq"), member("d/y", "y")]
    lower = [*tree_members(), member("d/x", "old"), member("d/z", "z")]
    taken(layout(tmp_path / "oci", [tar(lower), tar(upper)]), tmp_path)
    assert {name: data for name, data in entries(tmp_path).items() if name.startswith("d/")} == {
        "d/x": b"new",
        "d/y": b"y",
    }


@pytest.mark.parametrize("name", [".wh...", ".wh..", ".wh.", "etc/.wh...", "etc/.wh..wh.x", "../.wh.etc", "/.wh.etc"])
def test_whiteouts_that_climb(tmp_path: Path, name: str) -> None:
    place = layout(tmp_path / "oci", [tar(tree_members()), tar([member(name)])])
    with pytest.raises(BuilderError, match=r"layer [0-9a-f]{12}: (a whiteout of|\"\.\./|\"/\.wh)"):
        taken(place, tmp_path)


def test_blobs_that_are_not_what_their_names_say(tmp_path: Path) -> None:
    place = layout(tmp_path / "oci", [tar(tree_members())])
    largest = max((place / "blobs/sha256").iterdir(), key=lambda each: each.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[100] ^= 1
    largest.write_bytes(data)
    with pytest.raises(BuilderError, match="is not what its name says"):
        taken(place, tmp_path / "a")
    largest.write_bytes(data + b"x")
    with pytest.raises(BuilderError, match="its descriptor says"):
        taken(place, tmp_path / "b")
    largest.unlink()
    largest.symlink_to("/etc/passwd")
    with pytest.raises(BuilderError, match="is not there"):
        taken(place, tmp_path / "c")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[]", "index.json is no JSON object"),
        ("{", "index.json is no JSON"),
        ("{}", "the index has no image for x86_64"),
        (
            '{"manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:../x"}]}',
            "no sha",
        ),
        ("[" * 100000, "index.json is no JSON"),
    ],
)
def test_indexes_that_lead_nowhere(tmp_path: Path, document: str, message: str) -> None:
    place = layout(tmp_path / "oci", [tar(tree_members())])
    (place / "index.json").write_text(document)
    with pytest.raises(BuilderError, match=message):
        taken(place, tmp_path)


def test_an_image_for_other_processors(tmp_path: Path) -> None:
    place = layout(tmp_path / "oci", [tar(tree_members())], architecture="arm64")
    with pytest.raises(BuilderError, match=r"no image for x86_64 \(it has linux/arm64\)"):
        taken(place, tmp_path)


def test_an_index_that_leads_to_itself(tmp_path: Path) -> None:
    place = layout(tmp_path / "oci", [tar(tree_members())])
    text = json.dumps({"manifests": []})
    digest = hashlib.sha256(text.encode()).hexdigest()
    (place / "blobs/sha256" / digest).write_text(text)
    kind = "application/vnd.oci.image.index.v1+json"
    entry = {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(text)}
    (place / "index.json").write_text(json.dumps({"manifests": [entry]}))
    with pytest.raises(BuilderError, match="the index has no image"):
        taken(place, tmp_path)
