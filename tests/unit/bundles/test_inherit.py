"""What a bundle inherits from the instance that it is made on."""

from builder.bundles.contract import Description
from builder.bundles.inherit import Inherited, inherited, with_inherited

METADATA = {
    "kernel-id": "aki-919dcaf8",
    "ramdisk-id": "ari-11111111",
    "product-codes": "774F4FF8\nABCD\n",
    "ancestor-ami-ids": "ami-00000001\nami-00000002",
    "ami-id": "ami-0123456789abcdef0",
    "block-device-mapping/": "ami\nebs1\nephemeral0\nephemeral1\nroot\nswap",
    "block-device-mapping/ami": "sda1",
    "block-device-mapping/ebs1": "sdf",
    "block-device-mapping/ephemeral0": "sda2",
    "block-device-mapping/ephemeral1": "xvdal",
    "block-device-mapping/root": "/dev/sda1",
    "block-device-mapping/swap": "sda3",
}


def test_all_that_an_instance_has() -> None:
    assert inherited(METADATA.get) == Inherited(
        kernel_id="aki-919dcaf8",
        ramdisk_id="ari-11111111",
        product_codes=("774F4FF8", "ABCD"),
        ancestry=("ami-00000001", "ami-00000002", "ami-0123456789abcdef0"),
        block_device_mapping=(("ami", "sda1"), ("ephemeral0", "sda2"), ("root", "/dev/sda1"), ("swap", "sda3")),
        refused=("block-device-mapping ebs1", "block-device-mapping ephemeral1 xvdal"),
    )


def test_nothing() -> None:
    assert inherited(lambda path: None) == Inherited()


def test_what_has_no_form_of_one_is_left_out() -> None:
    strange = {"kernel-id": "<html>", "ami-id": "ami-1", "product-codes": "a b", "block-device-mapping/": "../x\nroot"}
    assert inherited(strange.get) == Inherited(
        refused=(
            "block-device-mapping ../x",
            "block-device-mapping root",
            "kernel-id <html>",
            "product-codes a b",
            "ami-id ami-1",
        )
    )


def test_what_is_said_counts_before_what_is_inherited() -> None:
    said = Description(name="x", account="123456789012", architecture="x86_64", kernel_id="aki-22222222")
    found = inherited(METADATA.get)
    made = with_inherited(said, found)
    assert (made.kernel_id, made.ramdisk_id, made.ancestry) == ("aki-22222222", "ari-11111111", found.ancestry)
    assert (made.product_codes, made.block_device_mapping) == (found.product_codes, found.block_device_mapping)
    given = Description(
        name="x",
        account="123456789012",
        architecture="x86_64",
        ramdisk_id="ari-22222222",
        product_codes=("Z",),
        block_device_mapping=(("ami", "sda"),),
    )
    made = with_inherited(given, found)
    assert (made.ramdisk_id, made.product_codes, made.block_device_mapping) == (
        "ari-22222222",
        ("Z",),
        (("ami", "sda"),),
    )
