"""A bundle that the lint has nothing to say of, for tests to spoil."""

from builder.bundles.lint import lint
from builder.bundles.observed import Bucket, File, KernelImage, Observed, Target
from builder.catalog.certificates import COMMERCIAL
from builder.catalog.ec2_user import EC2_USER
from builder.formats.bundle_manifest import BundleManifest, Part, format_manifest
from builder.formats.bundle_stream import PART_SIZE

ACCOUNT = "123456789012"
SHA1 = ("11" * 20, "22" * 20, "33" * 20)
NAMES = ("web.part.0", "web.part.1", "web.part.2")
LAST = 4096
GOOD = BundleManifest(
    name="web",
    account=ACCOUNT,
    architecture="x86_64",
    digest="aa" * 20,
    size=2**30,
    bundled_size=2 * PART_SIZE + LAST,
    ec2_encrypted_key="01" * 128,
    user_encrypted_key="02" * 256,
    ec2_encrypted_iv="03" * 128,
    user_encrypted_iv="04" * 256,
    parts=tuple(Part(filename=name, sha1=sha1) for name, sha1 in zip(NAMES, SHA1, strict=True)),
    block_device_mapping=(("ami", "sda1"), ("ephemeral0", "sdb"), ("root", "/dev/sda1")),
    kernel_id="aki-919dcaf8",
)
KERNELS = (
    KernelImage(id="aki-919dcaf8", region="us-east-1", architecture="x86_64"),
    KernelImage(id="aki-8f9dcae6", region="us-east-1", architecture="i386"),
    KernelImage(id="aki-52a34525", region="eu-west-1", architecture="x86_64"),
)
TARGET = Target(
    region="us-east-1",
    account=ACCOUNT,
    certificate=COMMERCIAL.sha256,
    modulus=(1 << 1024) - 1,
    kernels=KERNELS,
)
GRANTED = ((EC2_USER, "READ"), ("owner", "FULL_CONTROL"))
FILES = {
    name: File(size=size, sha1=sha1, encryption="AES256", grants=GRANTED)
    for name, size, sha1 in zip(NAMES, (PART_SIZE, PART_SIZE, LAST), SHA1, strict=True)
}
MANIFEST_FILE = {"web.manifest.xml": File(size=2000, encryption="AES256", grants=GRANTED)}
BUCKET = Bucket(
    name="b", region="us-east-1", ownership="ObjectWriter", ignores_public=True, restricts_public=False, policy=""
)


def text_of(manifest: BundleManifest) -> bytes:
    return format_manifest(manifest, lambda _: b"\x05" * 256)


OBSERVED = Observed(
    where="b/p/web.manifest.xml",
    manifest=text_of(GOOD),
    files={**FILES, **MANIFEST_FILE},
    signed=True,
    opens=True,
    opens_for_ec2=None,
    made_for=COMMERCIAL.sha256,
    bucket=BUCKET,
)


def told(observed: Observed, target: Target = TARGET) -> list[tuple[str, str, str, str]]:
    return [(each.severity, each.id, each.where, each.what) for each in lint(observed, target)]
