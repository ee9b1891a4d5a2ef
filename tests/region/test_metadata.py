"""The metadata service as an instance finds it: real HTTP clients, over connections as the machines hand them on."""

import base64
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.utils import InstanceMetadataRegionFetcher

from builder.region import view
from builder.region.ec2.region import Region
from tests.support.bundles import make_bundle
from tests.support.regions import WithoutPower, client, region_at, served

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
USER_DATA = b"#!/bin/sh\necho \xff\x00 > /etc/motd\n"


@contextmanager
def listening(region: Region, instance: str) -> Iterator[str]:
    """An instance's metadata service at an address of its own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def serve(connection: socket.socket) -> None:
        with connection:
            view.answer(region.state, region.account, instance, connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    region: Region
    ec2: Any
    image: str

    def run(self, **wanted: Any) -> dict[str, Any]:
        answer = self.ec2.run_instances(**{"ImageId": self.image, "MinCount": 1, "MaxCount": 1, **wanted})
        return {**answer["Instances"][0], "ReservationId": answer["ReservationId"]}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    region = region_at(tmp_path_factory.mktemp("desk"), WithoutPower)
    bundle = make_bundle(
        tmp_path_factory.mktemp("bundle"),
        region.identity.certificate,
        mappings=(("ami", "sda1"), ("root", "/dev/sda1"), ("ephemeral0", "sda2"), ("swap", "sda3")),
    )
    with served(region) as url:
        ec2, s3 = client("ec2", url), client("s3", url)
        s3.create_bucket(Bucket="images", ObjectOwnership="BucketOwnerPreferred")
        for file, content in bundle.files().items():
            s3.put_object(Bucket="images", Key=file, Body=content, ACL="aws-exec-read")
        image = ec2.register_image(Name="desk", ImageLocation=f"images/{bundle.manifest_name}")["ImageId"]
        ec2.create_key_pair(KeyName="gsg keypair", KeyType="ed25519")
        ec2.create_security_group(GroupName="web", Description="d")
        yield Desk(region=region, ec2=ec2, image=image)


def curl(url: str, *options: str) -> tuple[int, bytes]:
    command = ("curl", "--silent", "--max-time", "10", "--write-out", "\n%{http_code}", *options, url)
    found = subprocess.run(command, capture_output=True, check=True).stdout
    body, _, status = found.rpartition(b"\n")
    return int(status), body


def tree(url: str) -> dict[str, bytes]:
    """Every leaf below a list, found as a client finds it: by following the names."""
    found = {}
    for name in curl(f"{url}/")[1].decode().splitlines():
        name = name.partition("=")[0] + "/" if "=" in name else name
        if name.endswith("/"):
            found |= {f"{name}{path}": value for path, value in tree(f"{url}/{name[:-1]}").items()}
        else:
            status, found[name] = curl(f"{url}/{name}")
            assert status == 200
    return found


def test_every_path(desk: Desk) -> None:
    instance = desk.run(
        KeyName="gsg keypair",
        SecurityGroups=["default", "web"],
        UserData=USER_DATA,
        Placement={"AvailabilityZone": "us-east-1b"},
    )
    (described,) = desk.ec2.describe_instances(InstanceIds=[instance["InstanceId"]])["Reservations"][0]["Instances"]
    private, name = described["PrivateIpAddress"], described["PrivateDnsName"]
    (key,) = desk.ec2.describe_key_pairs(KeyNames=["gsg keypair"], IncludePublicKey=True)["KeyPairs"]
    with listening(desk.region, instance["InstanceId"]) as url:
        found = {path: value.decode() for path, value in tree(f"{url}/latest/meta-data").items()}
        public, mac = found["public-ipv4"], found["mac"]
        interface = f"network/interfaces/macs/{mac}"
        assert found == {
            "ami-id": desk.image,
            "ami-launch-index": "0",
            "ami-manifest-path": "images/disk.img.manifest.xml",
            "block-device-mapping/ami": "sda1",
            "block-device-mapping/ephemeral0": "sda2",
            "block-device-mapping/root": "/dev/sda1",
            "block-device-mapping/swap": "sda3",
            "hostname": name,
            "instance-action": "none",
            "instance-id": instance["InstanceId"],
            "instance-life-cycle": "on-demand",
            "instance-type": "m1.small",
            "kernel-id": "aki-919dcaf8",
            "local-hostname": name,
            "local-ipv4": private,
            "mac": mac,
            f"{interface}/device-number": "0",
            f"{interface}/local-hostname": name,
            f"{interface}/local-ipv4s": private,
            f"{interface}/mac": mac,
            f"{interface}/owner-id": desk.region.account,
            f"{interface}/public-hostname": public,
            f"{interface}/public-ipv4s": public,
            "placement/availability-zone": "us-east-1b",
            "placement/availability-zone-id": "use1-az2",
            "placement/region": "us-east-1",
            "profile": "default-paravirtual",
            "public-hostname": public,
            "public-ipv4": public,
            "public-keys/0/openssh-key": key["PublicKey"],
            "reservation-id": instance["ReservationId"],
            "security-groups": "default\nweb",
            "services/domain": "amazonaws.com",
            "services/partition": "aws",
        }
        assert name == f"ip-{private.replace('.', '-')}.ec2.internal"
        assert curl(f"{url}/latest/meta-data/public-keys/") == (200, b"0=gsg keypair")
        assert curl(f"{url}/2008-02-01/user-data") == (200, USER_DATA)
        assert curl(f"{url}/latest/") == (200, b"dynamic\nmeta-data\nuser-data")
        document = json.loads(curl(f"{url}/latest/dynamic/instance-identity/document")[1])
        assert document == {
            "accountId": desk.region.account,
            "architecture": "x86_64",
            "availabilityZone": "us-east-1b",
            "billingProducts": None,
            "devpayProductCodes": None,
            "imageId": desk.image,
            "instanceId": instance["InstanceId"],
            "instanceType": "m1.small",
            "kernelId": "aki-919dcaf8",
            "marketplaceProductCodes": None,
            "pendingTime": described["LaunchTime"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "privateIp": private,
            "ramdiskId": None,
            "region": "us-east-1",
            "version": "2017-09-30",
        }
        for missing in ("latest/meta-data/nothing", "latest/user-data/x", "1999-01-01/", "latest/meta-data/iam/"):
            assert curl(f"{url}/{missing}")[0] == 404


def test_an_instance_without_key_and_user_data(desk: Desk) -> None:
    with listening(desk.region, desk.run()["InstanceId"]) as url:
        assert "public-keys" not in curl(f"{url}/latest/meta-data/")[1].decode()
        assert (curl(f"{url}/latest/user-data")[0], curl(f"{url}/latest/meta-data/public-keys/")[0]) == (404, 404)


def test_version_2_alone(desk: Desk) -> None:
    instance = desk.run(MetadataOptions={"HttpTokens": "required"})["InstanceId"]
    with listening(desk.region, instance) as url, listening(desk.region, desk.run()["InstanceId"]) as other:
        path = f"{url}/latest/meta-data/instance-id"
        status, token = curl(f"{url}/latest/api/token", "--request", "PUT", "--header", f"{TTL}: 2")
        held = f"{TOKEN}: {token.decode()}"
        assert (status, curl(path)[0], curl(path, "--header", held)) == (200, 401, (200, instance.encode()))
        # Not another instance's, not one that was changed, not one whose time is over.
        assert curl(f"{other}/latest/meta-data/", "--header", held)[0] == 401
        later = base64.urlsafe_b64encode((2**40).to_bytes(8, "big") + base64.urlsafe_b64decode(token)[8:]).decode()
        assert curl(path, "--header", f"{TOKEN}: {later}")[0] == 401
        time.sleep(2.1)
        assert curl(path, "--header", held)[0] == 401
        for options, expected in (
            (("--header", f"{TTL}: 60", "--header", "X-Forwarded-For: 10.0.0.1"), 403),
            (("--header", f"{TTL}: 21601"), 400),
            ((), 400),
        ):
            assert curl(f"{url}/latest/api/token", "--request", "PUT", *options)[0] == expected
        assert curl(f"{url}/latest/api/token")[0] == 405


def test_options_are_changed_while_it_runs(desk: Desk) -> None:
    instance = desk.run(
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web 1"}, {"Key": "a/b", "Value": "c"}]}
        ]
    )["InstanceId"]
    with listening(desk.region, instance) as url:
        path = f"{url}/latest/meta-data/instance-id"
        assert (curl(path)[0], curl(f"{url}/latest/meta-data/tags/instance/")[0]) == (200, 404)
        desk.ec2.modify_instance_metadata_options(InstanceId=instance, HttpTokens="required")
        assert curl(path)[0] == 401
        desk.ec2.modify_instance_metadata_options(
            InstanceId=instance, HttpTokens="optional", InstanceMetadataTags="enabled"
        )
        assert curl(f"{url}/latest/meta-data/tags/instance/") == (200, b"Name")
        assert curl(f"{url}/latest/meta-data/tags/instance/Name") == (200, b"web 1")
        desk.ec2.modify_instance_metadata_options(InstanceId=instance, HttpEndpoint="disabled")
        assert curl(path)[0] == 403
        desk.ec2.terminate_instances(InstanceIds=[instance])


def test_groups_are_those_of_now(desk: Desk) -> None:
    instance = desk.run()["InstanceId"]
    (web,) = desk.ec2.describe_security_groups(GroupNames=["web"])["SecurityGroups"]
    with listening(desk.region, instance) as url:
        path = f"{url}/latest/meta-data/security-groups"
        assert curl(path) == (200, b"default")
        desk.ec2.modify_instance_attribute(InstanceId=instance, Groups=[web["GroupId"]])
        assert curl(path) == (200, b"web")


def test_a_client_of_aws(desk: Desk) -> None:
    """botocore asks for a token first, and for the zone with it."""
    instance = desk.run(MetadataOptions={"HttpTokens": "required"})["InstanceId"]
    with listening(desk.region, instance) as url:
        fetcher = InstanceMetadataRegionFetcher(
            timeout=5, num_attempts=1, env={}, config={"ec2_metadata_service_endpoint": f"{url}/"}
        )
        assert fetcher.retrieve_region() == "us-east-1"


def test_an_instance_that_nobody_knows(desk: Desk) -> None:
    here, there = socket.socketpair()
    with here:
        with there:
            view.answer(desk.region.state, desk.region.account, "i-0123456789abcdef0", there)
        assert here.recv(1) == b""


def test_user_data_as_large_as_may_be(desk: Desk) -> None:
    data = bytes(range(256)) * 64
    with listening(desk.region, desk.run(UserData=data)["InstanceId"]) as url:
        assert curl(f"{url}/latest/user-data") == (200, data)
    instance = desk.run(UserData=data)["InstanceId"]
    shown = desk.ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(shown) == data
