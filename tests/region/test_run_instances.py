"""Instances that really boot: registered, started through EC2's interface, reached, restarted, ended; nothing is left.

The guests are tiny ones (tests/support/guests.py): a kernel and an initrd, whose init says on its console what it got
from the metadata service, serves HTTP on ports 22 and 80, and tries to reach what its user data lists.
"""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.region import control
from builder.region.control import Status
from builder.region.identity import identity
from builder.region.wishes import Wishes
from tests.support.bundles import make_bundle
from tests.support.guests import tiny_image
from tests.support.regions import client, refused

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.xdist_group("qemu")]
PATIENCE = 500.0  # emulated, and perhaps beside other tests
CLIENT = "198.51.100.7"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """A region with the tiny image in it."""

    status: Status
    ec2: Any
    image: str

    def run(self, **wanted: Any) -> str:
        answer = self.ec2.run_instances(ImageId=self.image, MinCount=1, MaxCount=1, **wanted)
        return str(answer["Instances"][0]["InstanceId"])

    def describe(self, instance: str) -> dict[str, Any]:
        answer = self.ec2.describe_instances(InstanceIds=[instance])
        return dict(answer["Reservations"][0]["Instances"][0])

    def console(self, instance: str) -> str:
        return str(self.ec2.get_console_output(InstanceId=instance).get("Output", ""))

    def wait(self, instance: str, state: str) -> dict[str, Any]:
        def reached() -> bool:
            found = self.describe(instance)
            assert found["State"]["Name"] in (state, "pending", "running", "shutting-down"), found
            return bool(found["State"]["Name"] == state)

        until(reached, lambda: str(self.describe(instance)))
        return self.describe(instance)

    def wait_for(self, instance: str, pattern: str, *, skip: int = 0) -> None:
        until(
            lambda: re.search(pattern, self.console(instance)[skip:]) is not None,
            lambda: f"{self.describe(instance)}\n{self.console(instance)}",
        )


def until(condition: Callable[[], bool], told: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.5)


@pytest.fixture(scope="module")
def cloud(downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    place = tmp_path_factory.mktemp("cloud")
    image = tiny_image(downloads, tmp_path_factory.mktemp("tiny"))
    try:
        status = control.start(place / "region", Wishes(cache=downloads, client=CLIENT, guest_memory_mib=192))
        ec2, s3 = client("ec2", status.endpoint_url), client("s3", status.endpoint_url)
        bundle = make_bundle(
            tmp_path_factory.mktemp("bundle"), identity(status.directory).certificate, content=image.read_bytes()
        )
        s3.create_bucket(Bucket="images", ObjectOwnership="BucketOwnerPreferred")
        for name, content in bundle.files().items():
            s3.put_object(Bucket="images", Key=name, Body=content, ACL="aws-exec-read")
        registered = ec2.register_image(Name="tiny", ImageLocation=f"images/{bundle.manifest_name}")
        yield Cloud(status=status, ec2=ec2, image=registered["ImageId"])
    finally:
        control.stop(place / "region")


def fetched(address: str, port: int) -> bytes:
    """What the host gets from an instance; ConnectionRefusedError when nobody listens."""
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        received = b""
        while chunk := connection.recv(4096):
            received += chunk
        return received


def machines_of(directory: Path) -> list[str]:
    """The command lines of what runs for a region, beside its daemon."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                command = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(directory) in command and "builder.region.server" not in command:
                found.append(command)
    return found


def open_port(ec2: Any, port: int, *, cidr: str) -> None:
    permission = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}
    ec2.authorize_security_group_ingress(GroupName="default", IpPermissions=[permission])


def close_port(ec2: Any, port: int, *, cidr: str) -> None:
    permission = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}
    ec2.revoke_security_group_ingress(GroupName="default", IpPermissions=[permission])


def test_an_instance_from_its_start_to_its_end(cloud: Cloud) -> None:
    instance = cloud.run(UserData="10.0.0.1:80")
    assert cloud.describe(instance)["State"]["Name"] == "pending"
    found = cloud.wait(instance, "running")
    public, private = found["PublicIpAddress"], found["PrivateIpAddress"]
    assert found["PublicDnsName"] == public
    assert public.startswith("127.")

    # What it got: an address and a name of its own, its metadata, its disks, its user data.
    cloud.wait_for(instance, "@reach 10.0.0.1:80 no")
    console = cloud.console(instance)
    assert f"@lease {private} router" in console
    assert f"name ip-{private.replace('.', '-')} for" in console
    assert f"@instance {instance}\n" in console.replace("\r", "")
    assert re.search(r"@disks( \S+)* xvda1 xvda2 xvda3", console)

    # Nobody reaches it until a rule says so, for the address that the host's client has.
    with pytest.raises(ConnectionRefusedError):
        fetched(public, 80)
    open_port(cloud.ec2, 80, cidr="203.0.113.0/24")
    with pytest.raises(ConnectionRefusedError):
        fetched(public, 80)
    open_port(cloud.ec2, 80, cidr="198.51.100.0/24")
    assert fetched(public, 80).endswith(b"it works\n")
    close_port(cloud.ec2, 80, cidr="198.51.100.0/24")
    with pytest.raises(ConnectionRefusedError):
        fetched(public, 80)

    # A restart goes on where it was, with the same addresses.
    skip = len(cloud.console(instance))
    cloud.ec2.reboot_instances(InstanceIds=[instance])
    cloud.wait_for(instance, "@ready", skip=skip)
    assert cloud.describe(instance)["PublicIpAddress"] == public

    # Its end.
    cloud.ec2.terminate_instances(InstanceIds=[instance])
    over = cloud.wait(instance, "terminated")
    assert over["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert "@ready" in cloud.console(instance)
    with refused("IncorrectInstanceState"):
        cloud.ec2.reboot_instances(InstanceIds=[instance])


def test_two_instances_and_a_region_that_is_killed(cloud: Cloud) -> None:
    """Members of a group reach each other; with the process goes all that it had started."""
    first = cloud.run()
    address = cloud.describe(first)["PrivateIpAddress"]
    second = cloud.run(UserData=f"{address}:80")
    for each in (first, second):
        cloud.wait(each, "running")
    cloud.wait_for(second, f"@reach {address}:80 yes")

    directory = cloud.status.directory
    assert machines_of(directory) != []
    os.kill(cloud.status.pid, signal.SIGKILL)
    until(lambda: machines_of(directory) == [], lambda: str(machines_of(directory)))
    scratch = directory / "state" / "instances" / "scratch"
    until(lambda: list(scratch.iterdir()) == [], lambda: str(list(scratch.iterdir())))

    again = control.start(directory, Wishes(cache=None, client=CLIENT, guest_memory_mib=192))
    ec2 = client("ec2", again.endpoint_url)
    found = ec2.describe_instances(InstanceIds=[first, second])["Reservations"]
    assert {each["Instances"][0]["State"]["Name"] for each in found} == {"terminated"}
    assert len(ec2.describe_images(Owners=["self"])["Images"]) == 1
