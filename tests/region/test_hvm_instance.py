"""An HVM AMI of the quickstart, lived with: started, logged in to, stopped, started again, ended. Many minutes."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.region import control
from tests.support.regions import client
from tests.support.shipped import shipped
from tests.support.tiny import Bench

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.xdist_group("qemu")]

PATIENCE = 1200.0  # emulated, and perhaps beside other tests
LOOK = "findmnt -rno TARGET,FSTYPE / ; findmnt -rno TARGET,FSTYPE /mnt; df -BM --output=size / | tail -1"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with shipped("quickstart", room="hvm", patience=PATIENCE) as made:
        yield made


def test_an_instance_is_stopped_and_started(bench: Bench) -> None:
    built = bench.run("build", bench.recipe, "--virtualization", "hvm", "--instance-type", "m5d.large")
    assert built.returncode == 0
    status = control.start(bench.path / "state/ami-factory/region")
    live(bench, client("ec2", status.endpoint_url), built.stdout.strip())


def live(bench: Bench, ec2: Any, image: str) -> None:
    """Its root grows to a volume that the launch made larger, and keeps what was written; its other disk is new."""
    key = bench.path / "desk.pem"
    key.touch(mode=0o600)
    key.write_text(ec2.create_key_pair(KeyName="desk")["KeyMaterial"])
    ec2.authorize_security_group_ingress(
        GroupName="default", IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )
    volume = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 3}}
    answer = ec2.run_instances(
        ImageId=image, InstanceType="m5d.large", KeyName="desk", MinCount=1, MaxCount=1, BlockDeviceMappings=[volume]
    )
    instance = str(answer["Instances"][0]["InstanceId"])
    root, mnt, size = said(bench, instance, key, f"{LOOK}; echo kept > /root/note; echo gone > /mnt/note").splitlines()
    assert (root, mnt) == ("/ ext4", "/mnt ext4")
    assert 2800 < int(size.strip().removesuffix("M")) <= 3072
    assert "login:" in ec2.get_console_output(InstanceId=instance)["Output"]

    ec2.stop_instances(InstanceIds=[instance])
    reached(ec2, instance, "stopped")
    ec2.start_instances(InstanceIds=[instance])
    assert said(bench, instance, key, "cat /root/note; ls /mnt").split() == ["kept", "lost+found"]

    ec2.terminate_instances(InstanceIds=[instance])
    reached(ec2, instance, "terminated")
    assert ec2.describe_volumes()["Volumes"] == []


def said(bench: Bench, instance: str, key: Path, script: str) -> str:
    """What an instance says to a script, once it lets us in."""
    until = time.monotonic() + PATIENCE
    while True:
        done: subprocess.CompletedProcess[str] = bench.run("ssh", "-i", key, instance, script)
        if done.returncode == 0:
            return done.stdout
        assert time.monotonic() < until, done.stderr
        time.sleep(2)


def reached(ec2: Any, instance: str, state: str) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        (found,) = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"]
        if found["State"]["Name"] == state:
            return
        assert time.monotonic() < until, found
        time.sleep(1)
