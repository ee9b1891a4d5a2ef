"""A tree, bundled by ec2-bundle-vol, is what a local region registers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.classic import Shell

pytestmark = pytest.mark.host
LINES = """
eval "$(ami-factory region env)"
mkdir -p tree/etc out
echo 'LABEL=web / ext3 defaults 1 1' > tree/etc/fstab
ec2-bundle-vol -v $PWD/tree -d out -p web -s 32 -r i386 -u $EC2_USER -k $EC2_PRIVATE_KEY -c $EC2_CERT --no-inherit \
  --kernel aki-8f9dcae6 -B ami=sda1,root=/dev/sda1,ephemeral0=sda2,swap=sda3
ec2-upload-bundle -b web-bucket -m out/web.manifest.xml -a $AWS_ACCESS_KEY -s $AWS_SECRET_KEY
ec2-register web-bucket/web.manifest.xml -n web
ec2-download-bundle -b web-bucket -m web.manifest.xml -a KEY -s SECRET -k $EC2_PRIVATE_KEY -d .
ec2-unbundle -m web.manifest.xml -k $EC2_PRIVATE_KEY
cmp web out/web
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(path=tmp_path, state=tmp_path / "state")
    yield shell
    shell.run("ami-factory", "region", "stop")


def test_a_bundled_tree_is_registered(shell: Shell) -> None:
    done = shell.script(LINES)
    assert done.code == 0, done.stderr
    assert "ec2-bundle-vol complete.\n" in done.stdout
    assert "\nIMAGE\tami-" in done.stdout
