"""What is known of a volume before anything is mounted: where it is, what it is called, which fstab it gets."""

from dataclasses import replace
from pathlib import Path

import pytest

from builder.bundles.contract import no_progress
from builder.bundles.volume import Volume, architecture, volume_image
from builder.bundles.volume_fstab import generated_fstab
from builder.bundles.volume_job import Job
from builder.bundles.volume_layer import Fleeting, changed, survey
from builder.bundles.volume_mounts import Mount, Traits, below, holding, parse_mountinfo, traits
from builder.bundles.volume_rules import Rules, Verdict
from builder.bundles.volume_write import Vanished, layout_of, write_image
from builder.errors import BuilderError, HostError, RecipeError
from builder.host import ext_image

EPOCH = 1_700_000_000
MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
30 22 8:17 / /srv/two\\040words rw shared:5 master:1 - xfs /dev/sdb1 rw
31 22 8:18 / /srv rw - ext3 /dev/sdb2 rw
32 31 0:40 / /srv/a rw - nfs4 server:/export rw
33 32 0:41 / /srv/a rw - tmpfs tmpfs rw
"""
MOUNTS = parse_mountinfo(MOUNTINFO)


def test_mounts_are_read() -> None:
    assert MOUNTS[2] == Mount(point="/srv/two words", type="xfs", source="/dev/sdb1", device="8:17")
    assert [each.in_memory for each in MOUNTS] == [False, True, False, False, False, True]


@pytest.mark.parametrize(
    ("volume", "points"),
    [
        ("/", ["/proc proc", "/srv ext3", "/srv/a tmpfs", "/srv/two words xfs"]),
        ("/srv", ["/srv/a tmpfs", "/srv/two words xfs"]),
        ("/sr", []),
    ],
)
def test_the_mounts_in_a_volume(volume: str, points: list[str]) -> None:
    assert [f"{each.point} {each.type}" for each in below(MOUNTS, volume)] == points


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "ext4"), ("/srvx", "ext4"), ("/srv/b", "ext3"), ("/srv/a/c", "tmpfs"), ("/srv/a", "tmpfs")]
)
def test_the_mount_that_holds_a_path(path: str, kind: str) -> None:
    assert holding(MOUNTS, path).type == kind


@pytest.mark.parametrize(
    ("fstab", "expected"),
    [
        ("LABEL=root / ext4 defaults 1 1\n", Traits(filesystem="ext4", label="root")),
        ('UUID="6F0A9A4E-2e0e-4c55-9d2a-0b9b6d3c2a11" / ext3\n',
         Traits(filesystem="ext3", uuid="6f0a9a4e-2e0e-4c55-9d2a-0b9b6d3c2a11")),
        ("/dev/xvda1 / xfs defaults\n", Traits(filesystem="xfs")),
        ("LABEL=a-label-that-is-too-long / ext3\nUUID=x /mnt ext3\n", Traits(filesystem="ext3")),
        ("UUID=ABCD-1234 / vfat\n", Traits(filesystem="vfat")),
        ("proc /proc proc\n", Traits()),
        ("not an fstab\n", Traits()),
    ],
)  # fmt: skip
def test_a_tree_is_called_what_its_own_fstab_says(fstab: str, expected: Traits, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_text(fstab)
    assert traits(MOUNTS, tmp_path, tmp_path) == expected


def test_a_tree_without_fstab(tmp_path: Path) -> None:
    assert traits(MOUNTS, tmp_path, tmp_path) == Traits()


@pytest.mark.parametrize(
    ("architecture", "naming", "expected"),
    [
        ("x86_64", "sd", "/dev/sda1 / ext3 defaults 1 1\n/dev/sdb /mnt auto defaults,nofail 0 0\n"),
        (
            "i386",
            "xvd",
            (
                "/dev/xvda1 / ext3 defaults 1 1\n/dev/xvda2 /mnt auto defaults,nofail 0 0\n"
                "/dev/xvda3 none swap sw,nofail 0 0\n"
            ),
        ),
    ],
)
def test_a_generated_fstab(architecture: str, naming: str, expected: str) -> None:
    kernel = "none /dev/pts devpts gid=5,mode=620 0 0\nnone /proc proc defaults 0 0\nnone /sys sysfs defaults 0 0\n"
    made = generated_fstab(architecture, filesystem="ext3", naming=naming)  # type: ignore[arg-type]
    assert made.replace("\t", " ") == expected + kernel


def test_a_survey_of_a_tree(tmp_path: Path) -> None:
    for path in ("keys.gpg/public.pem", "keys.gpg/other", "keys.gpg/in/x", "proc/1/maps", "etc/a~", "etc/b", "var/c"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    rules = Rules(include=frozenset({"keys.gpg/public.pem"}), exclude=frozenset({"var"}))
    found = survey(tmp_path, "", rules)
    assert sorted(found.hidden) == ["etc/a~", "keys.gpg/in", "keys.gpg/other", "proc/1", "var"]
    assert sorted(found.left_out) == [
        ("etc/a~", Verdict.SENSITIVE),
        ("keys.gpg/in/", Verdict.SENSITIVE),
        ("keys.gpg/other", Verdict.SENSITIVE),
        ("var/", Verdict.EXCLUDED),
    ]
    assert sorted(found.files) == ["etc/b", "keys.gpg/public.pem"]
    inner = survey(tmp_path / "etc", "etc", rules)
    assert (inner.hidden, sorted(inner.files)) == (["a~"], ["etc/b"])


def test_what_comes_and_goes_is_hidden_the_second_time(tmp_path: Path) -> None:
    for name in ("stays", "replaced", "missed"):
        (tmp_path / name).write_text(name)
    first = survey(tmp_path, "", Rules())
    for name in ("new", "replaced", "missed"):
        (tmp_path / f".{name}").write_text("another file, so that its inode is another one")
        (tmp_path / f".{name}").rename(tmp_path / name)
    fleeting = Fleeting(first=first, missed=frozenset({"missed"}))
    assert sorted(survey(tmp_path, "", Rules(), fleeting=fleeting).hidden) == ["missed", "new"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\0\x03\0", "i386"),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0\x3e\0", "x86_64"),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0\xb7\0", ""),
        (b"#!/x", ""),
        (b"", ""),
    ],
)
def test_the_architecture_of_a_tree(content: bytes, expected: str, tmp_path: Path) -> None:
    assert architecture(tmp_path) == ""
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/dash").write_bytes(content)
    (tmp_path / "bin").symlink_to("/usr/bin")
    (tmp_path / "usr/bin/sh").symlink_to("dash")
    assert architecture(tmp_path) == expected


def test_what_changed_between_two_surveys() -> None:
    before = {"same": (1, 5, 9), "longer": (2, 5, 9), "replaced": (3, 5, 9), "gone": (4, 5, 9)}
    after = {"same": (1, 5, 9), "longer": (2, 6, 9), "replaced": (7, 5, 9), "new": (8, 5, 9)}
    assert changed(before, after) == ["longer", "replaced"]


@pytest.mark.parametrize(
    ("said", "kind", "brief"),
    [
        ('while lstat "x": No such file or directory', Vanished, 'while lstat "x": No such file or directory'),
        ("while writing: No space left on device", HostError, "the disk of the destination is full"),
        ("something else", BuilderError, "mke2fs failed"),
    ],
)
def test_what_mke2fs_says(
    said: str, kind: type[Exception], brief: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise BuilderError("mke2fs failed", detail=said)

    monkeypatch.setattr(ext_image, "make_file_system", fails)
    job = Job(volume="/", image=str(tmp_path / "image"), scratch="", size=64 << 20)
    (tmp_path / "tree").mkdir()
    with pytest.raises(kind) as error:
        write_image(job, layout_of(job, Traits()), tmp_path / "tree", no_progress)
    assert (type(error.value), str(error.value)) == (kind, brief)


def test_what_a_file_system_is_called() -> None:
    job = Job(volume="/", image="", scratch="", size=1, epoch=EPOCH)
    own = Traits(filesystem="ext4", label="web", uuid="6f0a9a4e-2e0e-4c55-9d2a-0b9b6d3c2a11")
    made = layout_of(job, own)
    assert (made.filesystem, made.label, made.uuid, made.inode_size) == ("ext4", "web", own.uuid, 256)
    assert layout_of(job, own) == made
    assert layout_of(replace(job, epoch=None), own).hash_seed != made.hash_seed
    plain = layout_of(job, Traits(filesystem="xfs"))
    assert (plain.filesystem, plain.label, plain.inode_size) == ("ext3", "", 128)
    told = layout_of(replace(job, filesystem="ext2", label="x", uuid="u"), own)
    assert (told.filesystem, told.label, told.uuid) == ("ext2", "x", "u")


def refused(volume: Volume, destination: Path, kind: type[BuilderError] = RecipeError) -> str:
    before = sorted(destination.iterdir()) if destination.is_dir() else []
    with pytest.raises(kind) as error, volume_image(volume, destination, "image"):
        pass
    assert (sorted(destination.iterdir()) if destination.is_dir() else []) == before
    return error.value.brief


def test_what_is_refused_before_any_work(tmp_path: Path) -> None:
    out, tree = tmp_path / "out", tmp_path / "tree"
    out.mkdir()
    tree.mkdir()
    (tmp_path / "file").touch()
    nowhere = tmp_path / "nowhere"
    assert refused(Volume(path=nowhere), out) == f"the volume {nowhere} is not there"
    assert refused(Volume(path=tmp_path / "file"), out) == f"the volume {tmp_path / 'file'} is not a directory"
    assert refused(Volume(path=tree), nowhere) == f"the destination {nowhere} is not there"
    for size in (0, 10241):
        assert refused(Volume(path=tree, size_mib=size), out) == f"--size {size}: an image has 1 to 10240 MiB"
    assert refused(Volume(path=tree, exclude=("x",)), out) == '--exclude: "x" is not an absolute path'
    assert (
        refused(Volume(path=tree, fstab=nowhere), out) == f"--fstab {nowhere} cannot be read: No such file or directory"
    )
    assert refused(Volume(path=tree, label="ü" * 9), out) == f'--label: "{"ü" * 9}" has more than 16 bytes'
    assert refused(Volume(path=tree, uuid="x"), out) == '--uuid: "x" is not a UUID'
    script = tmp_path / "file"
    assert refused(Volume(path=tree, script=script), out) == f"--script {script} is not a program that can be run"
    (out / "image").write_text("somebody's")
    assert refused(Volume(path=tree), out, BuilderError) == f"{out / 'image'} exists already"
    assert (out / "image").read_text() == "somebody's"
