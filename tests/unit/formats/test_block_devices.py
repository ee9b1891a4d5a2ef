from builder.formats.block_devices import bundle_mapping, register_mappings

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
