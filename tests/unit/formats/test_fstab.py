import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.catalog.instance_types import instance_type, names
from builder.formats.fstab import Explained, Line, explain_fstab, fstab, guest_name, parse_fstab

HEAD = "# Written by ami-factory for the disks of the instance type. Optional disks never hold up a boot.\n"
ROOT = "/dev/xvda1\t/\text4\tdefaults,noatime\t0\t1\n"
PARTITIONED = (
    "/dev/xvda2\t/mnt\tauto\tdefaults,noatime,nofail,x-systemd.device-timeout=90\t0\t0\n"
    "/dev/xvda3\tnone\tswap\tsw,nofail,x-systemd.device-timeout=90\t0\t0\n"
)
WAIT = "the boot does not wait for it (90 s in the background)"
MNT = "/dev/xvdb\t/mnt\tauto\tdefaults,noatime,nofail,x-systemd.device-timeout=90\t0\t0\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m1.small", HEAD + ROOT + PARTITIONED),
        ("c1.medium", HEAD + ROOT + PARTITIONED),
        ("m1.medium", HEAD + ROOT + MNT),
        ("m1.large", HEAD + ROOT + MNT + "# /dev/xvdc: ephemeral1, 420 GB hdd, not formatted by EC2\n"),
        (
            "m1.xlarge",
            HEAD + ROOT + MNT + "# /dev/xvdc: ephemeral1, 420 GB hdd, not formatted by EC2\n"
            "# /dev/xvdd: ephemeral2, 420 GB hdd, not formatted by EC2\n"
            "# /dev/xvde: ephemeral3, 420 GB hdd, not formatted by EC2\n",
        ),
        ("i2.xlarge", HEAD + ROOT + "# /dev/xvdb: ephemeral0, 800 GB ssd, not formatted by EC2\n"),
        (
            "i4i.large",
            f"{HEAD}{ROOT}# ephemeral0, 468 GB nvme: its device name is not stable; format it and mount it by label\n",
        ),
        ("t2.micro", HEAD + ROOT),
    ],
)  # fmt: skip
def test_golden(name: str, text: str) -> None:
    assert fstab(instance_type(name).disks, naming="xvd", filesystem="ext4") == text


def test_old_names_and_ext3() -> None:
    expected = HEAD + (ROOT + PARTITIONED).replace("xvd", "sd").replace("ext4", "ext3")
    assert fstab(instance_type("m1.small").disks, naming="sd", filesystem="ext3") == expected


@pytest.mark.parametrize("naming", ["sd", "xvd"])
def test_no_type_can_hang_a_boot(naming: str) -> None:
    """For every type there is: the root, then optional lines only, for disks that the type has and EC2 formats."""
    for name in names():
        disks = instance_type(name).disks
        root, *rest = parse_fstab(fstab(disks, naming=naming, filesystem="ext4"))  # type: ignore[arg-type]
        assert (root.mount_point, root.device, root.optional) == ("/", f"/dev/{naming}a1", False)
        assert all(line.optional for line in rest), name
        expected = [guest_name(d.device, naming) for d in disks if d.formatted]  # type: ignore[arg-type]
        assert [line.device for line in rest] == expected
        assert len({line.mount_point for line in rest}) == len(rest)


def test_explain() -> None:
    small = explain_fstab(instance_type("m1.small").disks, naming="xvd", filesystem="ext4")
    root, mnt, swap = parse_fstab(ROOT + PARTITIONED)
    assert small == (
        Explained(
            virtual="root", device="/dev/xvda1", what="the image, ext4", line=root, when_missing="no boot at all"
        ),
        Explained(
            virtual="ephemeral0",
            device="/dev/xvda2",
            what="160 GB hdd",
            line=mnt,
            when_missing="/mnt stays an empty directory on the root; " + WAIT,
        ),
        Explained(
            virtual="swap",
            device="/dev/xvda3",
            what="1 GB hdd",
            line=swap,
            when_missing="no swap; " + WAIT,
        ),
    )  # fmt: skip
    (_, nvme) = explain_fstab(instance_type("i4i.large").disks, naming="xvd", filesystem="ext4")
    assert (nvme.device, nvme.line, nvme.when_missing) == ("", None, "nothing: no line depends on it")


def test_guest_name() -> None:
    assert guest_name("sda2", "xvd") == guest_name("/dev/sda2", "xvd") == "/dev/xvda2"
    assert guest_name("sda2", "sd") == "/dev/sda2"
    assert guest_name("nvme1n1", "xvd") == "/dev/nvme1n1"


def test_parse() -> None:
    text = (
        "\n# x\n  /dev/sda1 / ext3 defaults 1 1\nLABEL=a\\040b /mnt\\011x ext4\nnone /proc proc nosuid # no comment\n"
    )
    with pytest.raises(ValueError, match="line 5: not an fstab entry"):
        parse_fstab(text)
    assert parse_fstab(text.rpartition("none")[0]) == (
        Line(device="/dev/sda1", mount_point="/", filesystem="ext3", options="defaults", dump=1, check=1),
        Line(device="LABEL=a b", mount_point="/mnt\tx", filesystem="ext4", options="defaults"),
    )


@pytest.mark.parametrize("row", ["/dev/sda1", "a b", "a b c d x 1", "a b c d 1 -1", "a b c d 0 0 0", "a b c d ² 0"])
def test_parse_refuses(row: str) -> None:
    with pytest.raises(ValueError, match=r"^line 1: not an fstab entry"):
        parse_fstab(row)


FIELD = st.text(alphabet="ab \t\\#/=04", min_size=1, max_size=8)


@given(device=FIELD, mount_point=FIELD, options=FIELD, check=st.integers(0, 2))
def test_round_trip(device: str, mount_point: str, options: str, check: int) -> None:
    line = Line(device=device, mount_point=mount_point, filesystem="ext4", options=options, check=check)
    assert parse_fstab(str(line)) == (line,)


@pytest.mark.parametrize(
    ("options", "optional"),
    [
        ("defaults", False),
        ("nofail", False),
        ("x-systemd.device-timeout=1", False),
        ("noauto", True),
        ("nofail,x-systemd.device-timeout=30", True),
    ],
)
def test_optional(options: str, optional: bool) -> None:
    """nofail alone still waits for systemd's ninety seconds."""
    line = Line(device="/dev/xvdb", mount_point="/mnt", filesystem="auto", options=options)
    assert line.optional is optional
