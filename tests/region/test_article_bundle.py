"""The article's own lines, word for word, against a real local region; and all of them undone again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.classic import Shell

MAKE_IMAGE = """
mkdir -p tree/etc tree/bin tree/usr/share
cp -a /etc/passwd /etc/group tree/etc/
cp -a /bin/bash tree/bin/
cp -a /usr/share/zoneinfo tree/usr/share/
truncate -s 96M infoweek-test.fs
mke2fs -q -t ext3 -d tree infoweek-test.fs
mkdir DIR
"""
ARTICLE = """
eval "$(ami-factory region env)"
ec2-bundle-image -u $EC2_USER -k $EC2_PRIVATE_KEY -c $EC2_CERT --image infoweek-test.fs --destination DIR
ec2-upload-bundle -b infoweek-test -m DIR/infoweek-test.fs.manifest.xml -a KEY -s SECRET
ec2-register infoweek-test/infoweek-test.fs.manifest.xml
"""
UNDONE = """
eval "$(ami-factory region env 2>/dev/null)"
mkdir back images
ec2-download-bundle -b infoweek-test -m infoweek-test.fs.manifest.xml -a KEY -s SECRET -k $EC2_PRIVATE_KEY -d back
for file in DIR/*; do cmp $file back/${file#DIR/}; done
ec2-unbundle -k $EC2_PRIVATE_KEY -m back/infoweek-test.fs.manifest.xml -s back -d images
cmp infoweek-test.fs images/infoweek-test.fs
"""
AGAIN = """
eval "$(ami-factory region env 2>/dev/null)"
ec2-register infoweek-test/infoweek-test.fs.manifest.xml
"""
DELETED = """
eval "$(ami-factory region env 2>/dev/null)"
ec2-delete-bundle -b infoweek-test -p infoweek-test.fs -a KEY -s SECRET --clear -y
"""
AFTERWARDS = """
eval "$(ami-factory region env 2>/dev/null)"
ec2-register infoweek-test/infoweek-test.fs.manifest.xml -n another
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(path=tmp_path, state=tmp_path / "state")
    yield shell
    shell.run("ami-factory", "region", "stop")


@pytest.mark.host
def test_the_article_line_by_line(shell: Shell) -> None:
    assert shell.script(MAKE_IMAGE).code == 0

    done = shell.script(ARTICLE)
    assert done.code == 0, done.stderr
    *lines, registered = done.stdout.splitlines()
    parts = [line.removeprefix("Created ") for line in lines if line.startswith("Created ") and ".part." in line]
    assert lines == [
        "Bundling image file...",
        *(f"Created {name}" for name in parts),
        "Created infoweek-test.fs.manifest.xml",
        "ec2-bundle-image complete.",
        "Creating bucket...",
        "Uploading bundled image parts to the S3 bucket infoweek-test ...",
        *(f"Uploaded {name}" for name in parts),
        "Uploading manifest ...",
        "Uploaded manifest.",
        "Bundle upload completed.",
    ]
    word, image_id = registered.split("\t")
    assert (word, image_id[:4]) == ("IMAGE", "ami-")
    assert done.stderr.count("region: local (emulated)\n") == 3
    assert "SECRET" not in done.stdout + done.stderr

    done = shell.script(UNDONE)
    assert done.code == 0, done.stderr
    image, original = shell.path / "images/infoweek-test.fs", shell.path / "infoweek-test.fs"
    assert image.stat().st_blocks <= original.stat().st_blocks  # holes are holes again

    done = shell.script(AGAIN)
    assert (done.code, done.stdout) == (4, "")
    assert "RegisterImage was refused: InvalidAMIName.Duplicate\n" in done.stderr
    assert f"AMI name infoweek-test/infoweek-test.fs is already in use by AMI {image_id}\n" in done.stderr

    done = shell.script(DELETED)
    assert done.code == 0, done.stderr
    keys = [f"infoweek-test/{name}" for name in ["infoweek-test.fs.manifest.xml", *parts]]
    assert done.stdout.splitlines() == [
        "Deleting files:",
        *keys,
        *(f"Deleted {key}" for key in keys),
        "ec2-delete-bundle complete.",
    ]
    assert "the bucket infoweek-test was removed" in done.stderr

    done = shell.script(AFTERWARDS)
    assert done.code == 4
    assert "RegisterImage was refused: InvalidManifest\n  HTTP 404 (Not Found)" in done.stderr


def test_region_env_can_be_evaluated_anywhere(tmp_path: Path) -> None:
    """Also where paths have spaces and quotes; and a second time it says the same."""
    home = tmp_path / "it's here"
    home.mkdir()
    shell = Shell(path=home, state=home / "state")
    try:
        names = "EC2_URL S3_URL EC2_USER EC2_CERT EC2_PRIVATE_KEY AWS_ACCESS_KEY AWS_SECRET_KEY"
        told = shell.script(
            f'eval "$(ami-factory region env)"; for name in {names}; do echo "${{!name}}"; done; ami-factory region env'
        )
        assert told.code == 0, told.stderr
        url, url_again, account, certificate, key, *rest = told.stdout.splitlines()
        assert url == url_again
        assert url.startswith("http://127.0.0.1:")
        assert (account, rest[:2]) == ("123456789012", ["local", "local"])
        assert Path(certificate).read_text().startswith("-----BEGIN CERTIFICATE-----")
        assert Path(key).read_text().startswith("-----BEGIN RSA PRIVATE KEY-----")
        assert [line.partition("=")[0] for line in rest[2:]] == [f"export {name}" for name in names.split()]
        assert rest[2] == f"export EC2_URL={url}"
    finally:
        shell.run("ami-factory", "region", "stop")
