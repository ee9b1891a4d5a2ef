"""What a paravirtual AMI is registered with, for tests of that."""

from builder.stages.register.spec import RegisterSpec

PV = RegisterSpec(
    partition="aws",
    account="123456789012",
    region="us-east-1",
    endpoint="aws",
    name="web-1",
    description="A web server",
    architecture="x86_64",
    virtualization="paravirtual",
    kernel_id="aki-919dcaf8",
    ramdisk_id="",
    root_device_name="/dev/sda1",
    block_device_mappings=(("/dev/sda2", "ephemeral0"),),
    tags=(("team", "blue"),),
)
