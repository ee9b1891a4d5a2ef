from builder.formats.block_devices import bundle_mapping, register_mappings, root_device

SMALL = (("ephemeral0", "sda2"), ("swap", "sda3"))
LARGE = (("ephemeral0", "sdb"), ("ephemeral1", "sdc"))


def test_bundle_mapping() -> None:
    assert bundle_mapping(SMALL) == (
        ("ami", "sda1"), ("ephemeral0", "sda2"), ("root", "/dev/sda1"), ("swap", "sda3")
    )  # fmt: skip
    assert bundle_mapping(LARGE) == (
        ("ami", "sda1"), ("ephemeral0", "sdb"), ("ephemeral1", "sdc"), ("root", "/dev/sda1")
    )  # fmt: skip
    assert bundle_mapping([]) == (("ami", "sda1"), ("root", "/dev/sda1"))
    assert bundle_mapping((virtual, f"/dev/{device}") for virtual, device in SMALL) == bundle_mapping(SMALL)


def test_register_mappings() -> None:
    assert register_mappings(SMALL) == (("/dev/sda2", "ephemeral0"),)
    assert register_mappings(reversed(LARGE)) == (("/dev/sdb", "ephemeral0"), ("/dev/sdc", "ephemeral1"))


def test_a_root_with_partitions() -> None:
    """The image is the whole disk, and the root its first partition."""
    moved = (("ephemeral0", "sdb"), ("swap", "sdc"))
    assert bundle_mapping(moved, partitioned=True) == (
        ("ami", "sda"), ("ephemeral0", "sdb"), ("root", "/dev/sda1"), ("swap", "sdc")
    )  # fmt: skip
    assert [root_device(partitioned=each) for each in (False, True)] == ["/dev/sda1", "/dev/sda"]
