"""What the article does before anything boots, as a plain script would: a key pair, ports 22 and 80, and what the
client shows of them."""

import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.support.regions import WithoutPower, region_at, served


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A region that nobody has used yet."""
    with served(region_at(tmp_path / "region", WithoutPower)) as found:
        yield found


def test_a_key_pair_and_two_ports(url: str, tmp_path: Path) -> None:
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="us-east-1")
    ec2, resources = session.client("ec2", endpoint_url=url), session.resource("ec2", endpoint_url=url)

    # ec2-add-keypair gsg-keypair
    pair = ec2.create_key_pair(KeyName="gsg-keypair")
    identity = tmp_path / "id_rsa-gsg-keypair"
    identity.touch(mode=0o600)
    identity.write_text(pair["KeyMaterial"])
    public = subprocess.run(["ssh-keygen", "-y", "-f", identity], capture_output=True, text=True, check=True).stdout
    (shown,) = ec2.describe_key_pairs(KeyNames=["gsg-keypair"], IncludePublicKey=True)["KeyPairs"]
    assert (stat.S_IMODE(identity.stat().st_mode), shown["PublicKey"]) == (0o600, f"{public.strip()} gsg-keypair")

    # ec2-authorize default -p 22, and -p 80
    for port in (22, 80):
        ec2.authorize_security_group_ingress(
            GroupName="default", IpProtocol="tcp", FromPort=port, ToPort=port, CidrIp="0.0.0.0/0"
        )
    (default,) = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    opened = [
        (each["IpProtocol"], each["FromPort"], each["ToPort"])
        for each in default["IpPermissions"]
        if each["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]
    ]
    assert opened == [("tcp", 22, 22), ("tcp", 80, 80)]

    # ec2-revoke default -p 80, and what is left as resources of boto3 show it
    ec2.revoke_security_group_ingress(GroupName="default", IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
    group = resources.SecurityGroup(default["GroupId"])
    assert [each["FromPort"] for each in group.ip_permissions if each["IpRanges"]] == [22]
    assert [each.name for each in resources.key_pairs.all()] == ["gsg-keypair"]
