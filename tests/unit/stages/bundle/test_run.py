import hashlib
import random
import re
from pathlib import Path

import deflate
import isal
import pytest

from builder.catalog.certificates import COMMERCIAL
from builder.errors import BuilderError, RecipeError
from builder.formats import bundle_cipher
from builder.formats.bundle_manifest import BundleManifest, Bundler, Part
from builder.formats.manifest_reader import read_manifest, verify_signature
from builder.stages.bundle import run as stage
from builder.stages.contract import Input
from tests.support.workshop import Workshop, image_input, workshop

NOISE = random.Random(3).randbytes(12 << 20)  # more than one part


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def shop(pairs: Workshop, tmp_path: Path) -> Workshop:
    return Workshop(
        path=tmp_path,
        user_certificate=pairs.user_certificate,
        user_key=pairs.user_key,
        ec2_certificate=pairs.ec2_certificate,
        ec2_key=pairs.ec2_key,
    )


@pytest.fixture
def image(tmp_path: Path) -> Input:
    return image_input(tmp_path / "image", (1 << 20, NOISE), size=20 << 20)


def test_parts_manifest_and_result(shop: Workshop, image: Input) -> None:
    context = shop.context(image)
    result = stage.run(shop.spec(), context)
    names = ["web-1-x86_64.manifest.xml", "web-1-x86_64.part.0", "web-1-x86_64.part.1"]
    files = {each.name: each.read_bytes() for each in context.output.iterdir()}
    assert sorted(files) == names
    parts = [files[name] for name in names[1:]]
    assert len(parts[0]) == 10 << 20
    assert result == {
        "manifest": names[0],
        "parts": 2,
        "size": 20 << 20,
        "bundled_size": sum(map(len, parts)),
        "deflated_by": f"isal {isal.__version__}, deflate {deflate.__version__}",
        "ciphertext_sha256": hashlib.sha256(b"".join(parts)).hexdigest(),
        "digests": {name: hashlib.sha256(files[name]).hexdigest() for name in names},
    }
    manifest = read_manifest(files[names[0]])
    assert (
        manifest
        == BundleManifest(
            bundler=Bundler(name="ami-factory", version=manifest.bundler.version, release=manifest.bundler.release),  # type: ignore[union-attr]
            name="web-1-x86_64",
            account="123456789012",
            architecture="x86_64",
            kernel_id="aki-919dcaf8",
            block_device_mapping=shop.spec().block_device_mapping,
            digest=manifest.digest,
            size=20 << 20,
            bundled_size=sum(map(len, parts)),
            ec2_encrypted_key=manifest.ec2_encrypted_key,
            ec2_encrypted_iv=manifest.ec2_encrypted_iv,
            user_encrypted_key=manifest.user_encrypted_key,
            user_encrypted_iv=manifest.user_encrypted_iv,
            parts=tuple(Part(filename=name, sha1=hashlib.sha1(files[name]).hexdigest()) for name in names[1:]),
            signature=manifest.signature,
        )
    )
    assert verify_signature(files[names[0]], bundle_cipher.load_public_key(shop.user_certificate.read_bytes()))
    user, ec2 = (bundle_cipher.load_private_key(each.read_bytes()) for each in (shop.user_key, shop.ec2_key))
    assert bundle_cipher.unwrap(manifest.user_encrypted_key, user) == bundle_cipher.unwrap(
        manifest.ec2_encrypted_key, ec2
    )
    assert bundle_cipher.unwrap(manifest.user_encrypted_iv, user) == bundle_cipher.unwrap(
        manifest.ec2_encrypted_iv, ec2
    )


def test_a_fresh_key_each_time(shop: Workshop, image: Input) -> None:
    one = stage.run(shop.spec(), shop.context(image, output="one"))
    other = stage.run(shop.spec(), shop.context(image, output="other"))
    assert one["ciphertext_sha256"] != other["ciphertext_sha256"]


def test_nothing_secret_is_said(
    shop: Workshop, image: Input, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = bundle_cipher.new_session_key()
    monkeypatch.setattr(bundle_cipher, "new_session_key", lambda: session)
    result = stage.run(shop.spec(), shop.context(image))
    seen = repr(result) + "".join(capfd.readouterr()) + repr(session)
    kept = b"".join(each.read_bytes() for each in (shop.path / "output").iterdir())
    for secret in (session.key, session.iv):
        assert secret.hex() not in seen
        assert secret not in kept
        assert secret.hex().encode() not in kept


def test_ec2s_own_certificate_need_not_be_handed_over(shop: Workshop, image: Input) -> None:
    sources = {shop.fingerprint(shop.user_certificate): str(shop.user_certificate)}
    context = shop.context(image, sources=sources)
    stage.run(shop.spec(ec2_certificate=COMMERCIAL.sha256), context)
    manifest = read_manifest((context.output / "web-1-x86_64.manifest.xml").read_bytes())
    assert len(manifest.ec2_encrypted_key) == 256  # 1024 bits


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"name": "../web"}, "cannot be the name of a bundle", id="name"),
        pytest.param({"name": ""}, "cannot be the name of a bundle", id="no-name"),
        pytest.param({"account": "1234-5678-9012"}, "not an AWS account number", id="dashes"),
        pytest.param({"account": "12345678901"}, "not an AWS account number", id="short"),
        pytest.param({"architecture": "arm64"}, "no instance-store images for arm64", id="architecture"),
    ],
)
def test_refused_before_any_work(shop: Workshop, changes: dict[str, str], said: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        stage.run(shop.spec(**changes), shop.context())


@pytest.mark.parametrize(
    ("size", "said"),
    [
        pytest.param(0, "has 0 bytes", id="empty"),
        pytest.param(10 * 1024**3 + 1, "takes at most 10737418240", id="a-byte-too-many"),
    ],
)
def test_sizes_that_ec2_refuses(shop: Workshop, tmp_path: Path, size: int, said: str) -> None:
    context = shop.context(image_input(tmp_path / "image", size=size))
    with pytest.raises(BuilderError, match=said):
        stage.run(shop.spec(), context)
    assert list(context.output.iterdir()) == []


def test_a_key_of_another_pair(shop: Workshop, image: Input) -> None:
    context = shop.context(image, secrets={"private_key": str(shop.ec2_key)})
    with pytest.raises(BuilderError, match="does not belong to the certificate"):
        stage.run(shop.spec(), context)


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        pytest.param({}, "no private key is known", id="none"),
        pytest.param({"private_key": "/nowhere/pk.pem"}, "/nowhere/pk.pem cannot be read", id="gone"),
        pytest.param({"private_key": "/etc/passwd"}, "/etc/passwd is not a private key", id="something-else"),
    ],
)
def test_no_usable_key(shop: Workshop, image: Input, secrets: dict[str, str], said: str) -> None:
    with pytest.raises(BuilderError, match=said):
        stage.run(shop.spec(), shop.context(image, secrets=secrets))


def test_certificates_that_are_not_the_planned_ones(shop: Workshop, image: Input) -> None:
    context = shop.context(image)
    with pytest.raises(BuilderError, match="EC2's certificate with the fingerprint 0000"):
        stage.run(shop.spec(ec2_certificate="0" * 64), context)
    fingerprint = shop.fingerprint(shop.ec2_certificate)
    sources = {**context.surroundings.sources, fingerprint: str(shop.user_certificate)}
    with pytest.raises(BuilderError, match="is another one than when this step was planned") as caught:
        stage.run(shop.spec(), shop.context(image, sources=sources))
    assert fingerprint in caught.value.detail


def test_progress_ends_at_the_size(shop: Workshop, image: Input) -> None:
    seen: list[tuple[str, int, int]] = []
    context = shop.context(image, progress=lambda what, done, total, unit="bytes": seen.append((what, done, total)))
    stage.run(shop.spec(), context)
    assert seen[-1] == ("bundle", 20 << 20, 20 << 20)
    assert seen == sorted(seen)
