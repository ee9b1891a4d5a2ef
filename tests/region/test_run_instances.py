"""Instances that really boot: registered, started through EC2's interface, reached, restarted, ended; nothing is left.

The guests are tiny ones (tests/support/guests.py): a kernel and an initrd, whose init says on its console what it got
from the metadata service, serves HTTP on ports 22 and 80, and tries to reach what its user data lists.
"""

import os
import re
import signal
import socket
import subprocess
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
        answer = self.ec2.run_instances(**{"ImageId": self.image, "MinCount": 1, "MaxCount": 1, **wanted})
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
        registered = register(status, tmp_path_factory.mktemp("bundle"), image.read_bytes(), "tiny")
        yield Cloud(status=status, ec2=client("ec2", status.endpoint_url), image=registered)
    finally:
        control.stop(place / "region")


def register(status: Status, place: Path, content: bytes, name: str) -> str:
    ec2, s3 = client("ec2", status.endpoint_url), client("s3", status.endpoint_url)
    bundle = make_bundle(place, identity(status.directory).certificate, content=content)
    s3.create_bucket(Bucket=f"images-{name}", ObjectOwnership="BucketOwnerPreferred")
    for file, part in bundle.files().items():
        s3.put_object(Bucket=f"images-{name}", Key=file, Body=part, ACL="aws-exec-read")
    answer = ec2.register_image(Name=name, ImageLocation=f"images-{name}/{bundle.manifest_name}")
    return str(answer["ImageId"])


def fetched(address: str, port: int) -> bytes:
    """What the host gets from an instance; ConnectionRefusedError when nobody listens."""
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        received = b""
        while chunk := connection.recv(4096):
            received += chunk
        return received


def processes_of(directory: Path) -> list[tuple[int, str]]:
    """What runs for a region, beside its daemon."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                command = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                where = str((each / "cwd").readlink())
            except OSError:
                continue
            if str(directory) in command + where and "builder.region.server" not in command:
                found.append((int(each.name), command))
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


def test_an_image_that_cannot_boot(cloud: Cloud, tmp_path: Path) -> None:
    """Ended by the region, with the reason that the console shows."""
    menu = tmp_path / "tree" / "boot" / "grub" / "menu.lst"
    menu.parent.mkdir(parents=True)
    menu.write_text("default 0\ntimeout 0\ntitle x\nroot (hd0)\nkernel /boot/vmlinuz-6.1 root=/dev/xvda1\n")
    image = tmp_path / "image"
    options = ("-q", "-F", "-t", "ext4", "-O", "^64bit,^metadata_csum", "-d", str(tmp_path / "tree"))
    subprocess.run(["mke2fs", *options, str(image), "8M"], check=True, stdout=subprocess.DEVNULL)
    broken = register(cloud.status, tmp_path, image.read_bytes(), "broken")
    instance = cloud.run(ImageId=broken)
    over = cloud.wait(instance, "terminated")
    assert over["StateReason"]["Code"] == "Client.InternalError"
    said = over["StateReason"]["Message"].removeprefix("Client.InternalError: Client error on launch: ")
    assert said.startswith("the loader cannot load the kernel /boot/vmlinuz-6.1")
    assert "vmlinuz-6.1" in cloud.console(instance)


def test_a_qemu_that_dies(cloud: Cloud) -> None:
    """Its instances are over, and say so; the next one gets a new host."""
    instance = cloud.run()
    cloud.wait(instance, "running")
    (qemu,) = (pid for pid, command in processes_of(cloud.status.directory) if "qemu-system" in command.split()[0])
    os.kill(qemu, signal.SIGKILL)
    over = cloud.wait(instance, "terminated")
    assert over["StateReason"] == {
        "Code": "Server.InternalError",
        "Message": "Server.InternalError: the Xen host that it ran on has ended",
    }
    again = cloud.run()
    cloud.wait(again, "running")
    cloud.ec2.terminate_instances(InstanceIds=[again])
    cloud.wait(again, "terminated")


def test_two_instances_and_a_region_that_is_killed(cloud: Cloud) -> None:
    """Members of a group reach each other; with the process goes all that it had started."""
    first = cloud.run()
    address = cloud.describe(first)["PrivateIpAddress"]
    second = cloud.run(UserData=f"{address}:80")
    for each in (first, second):
        cloud.wait(each, "running")
    cloud.wait_for(second, f"@reach {address}:80 yes")

    directory = cloud.status.directory
    assert processes_of(directory) != []
    os.kill(cloud.status.pid, signal.SIGKILL)
    until(lambda: processes_of(directory) == [], lambda: str(processes_of(directory)))
    scratch = directory / "state" / "instances" / "scratch"
    until(lambda: list(scratch.iterdir()) == [], lambda: str(list(scratch.iterdir())))

    again = control.start(directory)
    ec2 = client("ec2", again.endpoint_url)
    found = ec2.describe_instances(InstanceIds=[first, second])["Reservations"]
    assert {each["Instances"][0]["State"]["Name"] for each in found} == {"terminated"}
    assert cloud.image in [each["ImageId"] for each in ec2.describe_images(Owners=["self"])["Images"]]
