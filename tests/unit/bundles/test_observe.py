"""What is read of a bundle in a directory; S3 is in tests/region/test_verify_bundle.py."""

from dataclasses import replace
from pathlib import Path

import pytest

from builder.bundles.lint import lint
from builder.bundles.observe import Means, observe_directory
from builder.bundles.observed import File
from builder.errors import RecipeError
from builder.formats import bundle_cipher
from builder.formats.bundle_manifest import SIZE_LIMIT
from tests.support import bundles
from tests.support.bundles import TestBundle, make_bundle
from tests.support.linted import TARGET


def laid_out(bundle: TestBundle, directory: Path) -> Path:
    """The manifest of the bundle in a directory."""
    directory.mkdir()
    for name, data in bundle.files().items():
        (directory / name).write_bytes(data)
    return directory / bundle.manifest_name


def means_of(bundle: TestBundle) -> Means:
    return Means(
        certificate=bundle_cipher.load_public_key(bundle.user_certificate.read_bytes()),
        private_key=bundle_cipher.load_private_key(bundle.user_key.read_bytes()),
    )


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and certificate that stand for EC2's."""
    return bundles.make_user(tmp_path_factory.mktemp("ec2"))


@pytest.fixture(scope="module")
def bundle(region: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> TestBundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"), region[1], writer=bundles.AMI_TOOLS)


def test_all_that_keys_and_reading_tell(bundle: TestBundle, region: tuple[Path, Path], tmp_path: Path) -> None:
    path = laid_out(bundle, tmp_path / "b")
    (tmp_path / "b/other").mkdir()
    ec2_key = bundle_cipher.load_private_key(region[0].read_bytes())
    seen = observe_directory(path, replace(means_of(bundle), ec2_key=ec2_key, deep=True))
    assert (seen.signed, seen.opens, seen.opens_for_ec2, seen.fault, seen.bucket) == (True, True, True, "", None)
    assert (seen.where, seen.manifest, seen.encrypted) == (str(path), bundle.manifest, False)
    assert seen.files == {name: File(size=len(data)) for name, data in bundle.parts.items()}


def test_other_keys(bundle: TestBundle, region: tuple[Path, Path], tmp_path: Path) -> None:
    """Keys that have to do with it in the other way round."""
    key = bundle_cipher.load_private_key(region[0].read_bytes())
    user = means_of(bundle).private_key
    seen = observe_directory(
        laid_out(bundle, tmp_path / "b"), Means(certificate=key.public_key(), private_key=key, ec2_key=user)
    )
    assert (seen.signed, seen.opens, seen.opens_for_ec2, seen.fault) == (False, False, False, None)


def test_no_keys(bundle: TestBundle, tmp_path: Path) -> None:
    """Without one the parts are read as far as their digests go."""
    path = laid_out(bundle, tmp_path / "b")
    seen = observe_directory(path, Means(deep=True))
    assert (seen.signed, seen.opens, seen.opens_for_ec2, seen.fault) == (None, None, None, "")
    name, data = next(iter(bundle.parts.items()))
    (path.parent / name).write_bytes(bytes([data[0] ^ 1]) + data[1:])
    fault = observe_directory(path, Means(deep=True)).fault
    assert fault is not None and name in fault


@pytest.mark.parametrize("writer", [bundles.ENCRYPTED_1, bundles.ENCRYPTED_2], ids=str)
def test_encrypted_manifests(
    writer: bundles.Writer, region: tuple[Path, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Opened with the key; without it, or with another, that is all there is to say."""
    made = make_bundle(tmp_path_factory.mktemp("old"), region[1], writer=writer)
    path = laid_out(made, tmp_path / "b")
    seen = observe_directory(path, means_of(made))
    assert (seen.encrypted, seen.manifest, seen.opens) == (True, made.plain_manifest, True)
    other = bundle_cipher.load_private_key(region[0].read_bytes())
    for means in (Means(), Means(private_key=other, deep=True)):
        shut = observe_directory(path, means)
        assert (shut.encrypted, shut.manifest, shut.fault) == (True, made.manifest, None)
        assert [each.id for each in lint(shut, TARGET)] == ["encrypted", "unreadable"]


def test_no_more_is_read_than_a_manifest_can_have(tmp_path: Path) -> None:
    path = tmp_path / "big.manifest.xml"
    path.write_bytes(b"<")
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    seen = observe_directory(path, Means(deep=True))
    assert len(seen.manifest) == SIZE_LIMIT + 1
    assert [(each.id, each.what) for each in lint(seen, TARGET)] == [
        ("unreadable", f"it has more than the {SIZE_LIMIT} bytes that are read")
    ]


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: No such file or directory"):
        observe_directory(tmp_path / "web.manifest.xml", Means())


def test_no_key_in_a_repr(bundle: TestBundle) -> None:
    assert "PrivateKey" not in repr(means_of(bundle))
