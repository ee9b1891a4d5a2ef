"""The commands of the EC2 API against a local region: what they print, and that the region did it."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.region.control import Status
from tests.support.bundles import make_bundle
from tests.support.classic import Shell
from tests.support.regions import client, running

OWNER = r"[0-9]{12}"
PATIENCE = 60


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def region(state: Path) -> Iterator[Status]:
    """The region that commands with this state directory find by themselves."""
    with running(state / "ami-factory/region") as status:
        yield status


@pytest.fixture
def shell(tmp_path: Path, state: Path, region: Status) -> Shell:
    return Shell(path=tmp_path, state=state)


@pytest.fixture
def ec2(region: Status) -> Any:
    return client("ec2", region.endpoint_url)


@pytest.fixture
def image(region: Status, tmp_path: Path) -> Callable[[str], str]:
    """Registers an AMI whose bundle is in the bucket of that name."""

    def registered(bucket: str) -> str:
        s3, ec2 = client("s3", region.endpoint_url), client("ec2", region.endpoint_url)
        bundle = make_bundle(tmp_path, region.directory / "identity/certificate.pem", content=bytes(range(256)) * 40)
        s3.create_bucket(Bucket=bucket, ObjectOwnership="BucketOwnerPreferred")
        for name, data in bundle.files().items():
            s3.put_object(Bucket=bucket, Key=name, Body=data, ACL="aws-exec-read")
        manifest = next(name for name in bundle.files() if name.endswith(".manifest.xml"))
        return str(ec2.register_image(Name=bucket, ImageLocation=f"{bucket}/{manifest}")["ImageId"])

    return registered


def columns(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


# Images.


def test_images_of_amazon_and_your_own(shell: Shell, image: Callable[[str], str], ec2: Any) -> None:
    mine = image("listed-images")
    ec2.create_tags(Resources=[mine], Tags=[{"Key": "Name", "Value": "web"}])
    shown = shell.good("ec2-describe-images", "-o", "self", "-o", "amazon").stdout
    table = columns(shown)
    assert [mine, "listed-images/disk.img.manifest.xml"] in [line[1:3] for line in table]
    assert {line[8] for line in table if line[0] == "IMAGE" and line[3] == "amazon"} >= {"kernel"}
    assert {len(line) for line in table if line[0] == "IMAGE"} == {15}
    only = shell.good("ec2-describe-images", mine).stdout
    assert re.fullmatch(
        rf"IMAGE\t{mine}\tlisted-images/disk\.img\.manifest\.xml\t{OWNER}\tavailable\tprivate\t\tx86_64\tmachine\t"
        rf"\S*\t\t\tinstance-store\tparavirtual\txen\nTAG\timage\t{mine}\tName\tweb\n",
        only,
    ), only
    hidden = shell.good("ec2-describe-images", "--hide-tags", "--show-empty-fields", "-F", "name=listed-*")
    assert (hidden.stdout.count("\n"), hidden.stdout.count("(nil)")) == (1, only.splitlines()[0].count("\t\t") + 1)


def test_a_region_is_named_once(shell: Shell) -> None:
    """Also by a command that asks twice."""
    assert shell.good("ec2-describe-images").stderr == "region: local (emulated)\n"


def test_an_image_is_deregistered(shell: Shell, image: Callable[[str], str], ec2: Any) -> None:
    mine = image("deregistered-image")
    asked = shell.good("ec2-deregister", mine, "--dry-run")
    assert (asked.stdout, "would have succeeded" in asked.stderr) == ("", True)
    assert shell.good("ec2-deregister", mine).stdout == f"IMAGE\t{mine}\n"
    done = shell.run("ec2-deregister", mine)
    assert (done.code, done.stdout) == (4, "")
    assert f"the AMI {mine}: DeregisterImage was refused: InvalidAMIID" in done.stderr


# Key pairs.


def test_a_key_pair_that_ssh_takes_as_it_is_printed(shell: Shell, ec2: Any) -> None:
    shell.good("ec2-describe-keypairs")
    done = shell.script(
        "ec2-add-keypair gsg-keypair > id_rsa-gsg-keypair; chmod 600 id_rsa-gsg-keypair; "
        "ssh-keygen -y -f id_rsa-gsg-keypair"
    )
    assert (done.code, done.stdout.split()[0]) == (0, "ssh-rsa"), done.stderr
    printed = (shell.path / "id_rsa-gsg-keypair").read_text()
    known = ec2.describe_key_pairs(KeyNames=["gsg-keypair"])["KeyPairs"][0]["KeyFingerprint"]
    assert printed.startswith(f"KEYPAIR\tgsg-keypair\t{known}\n-----BEGIN RSA PRIVATE KEY-----\n")
    assert printed.endswith("-----END RSA PRIVATE KEY-----\n")
    assert shell.good("ec2-describe-keypairs", "gsg-keypair").stdout == f"KEYPAIR\tgsg-keypair\t{known}\n"
    again = shell.run("ec2-add-keypair", "gsg-keypair")
    assert (again.code, "InvalidKeyPair.Duplicate" in again.stderr) == (4, True)
    for _ in range(2):
        assert shell.good("ec2-delete-keypair", "gsg-keypair").stdout == "KEYPAIR\tgsg-keypair\n"
    assert shell.run("ec2-describe-keypairs", "gsg-keypair").code == 4


def test_a_key_pair_in_a_file_for_nobody_else(shell: Shell) -> None:
    done = shell.good("ec2-add-keypair", "kept", "-f", "kept.pem")
    path = shell.path / "kept.pem"
    assert (done.stdout.count("\n"), path.stat().st_mode & 0o777) == (1, 0o600)
    assert path.read_text().startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    nowhere = shell.run("ec2-add-keypair", "lost", "-f", "nowhere/lost.pem")
    assert (nowhere.code, "ec2-delete-keypair lost" in nowhere.stderr) == (1, True)


def test_a_key_of_ones_own(shell: Shell) -> None:
    shell.script("ssh-keygen -q -t rsa -N '' -f mine; ssh-keygen -E md5 -lf mine.pub")
    done = shell.good("ec2-import-keypair", "mine", "-f", "mine.pub")
    assert re.fullmatch(r"KEYPAIR\tmine\t([0-9a-f]{2}:){15}[0-9a-f]{2}\n", done.stdout)
    secret = shell.run("ec2-import-keypair", "secret", "-f", "mine")
    assert (secret.code, "is a private key, and was not sent" in secret.stderr) == (2, True)


# Groups.


def test_a_group_from_its_beginning_to_its_end(shell: Shell, ec2: Any) -> None:
    made = shell.good("ec2-add-group", "websrv", "-d", "web servers").stdout
    assert re.fullmatch(r"GROUP\tsg-[0-9a-f]+\twebsrv\tweb servers\n", made)
    identifier = made.split("\t")[1]
    assert shell.good("ec2-authorize", "websrv", "-P", "tcp", "-p", "80", "-s", "205.192.0.0/16").stdout == (
        "GROUP\t\t\twebsrv\t\t\nPERMISSION\t\twebsrv\tALLOWS\ttcp\t80\t80\tFROM\tCIDR\t205.192.0.0/16\tingress\n"
    )
    shell.good("ec2-authorize", identifier, "-P", "icmp", "-t", "-1:-1")
    shell.good("ec2-authorize", "websrv", "-o", "default", "-p", "22")
    owner = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]
    shown = shell.good("ec2-describe-group", "websrv").stdout
    head = f"PERMISSION\t{owner['OwnerId']}\twebsrv\tALLOWS"
    first, *rules = shown.splitlines()
    assert first == f"GROUP\t{identifier}\t{owner['OwnerId']}\twebsrv\tweb servers\t"
    assert sorted(rules) == [
        f"{head}\ticmp\t-1\t-1\tFROM\tCIDR\t0.0.0.0/0\tingress",
        f"{head}\ttcp\t22\t22\tFROM\tUSER\t{owner['OwnerId']}\tNAME default\tID {owner['GroupId']}\tingress",
        f"{head}\ttcp\t80\t80\tFROM\tCIDR\t205.192.0.0/16\tingress",
    ]
    shell.good("ec2-revoke", "websrv", "-p", "80", "-s", "205.192.0.0/16")
    assert "205.192" not in shell.good("ec2-describe-group", identifier).stdout
    assert shell.good("ec2-delete-group", "websrv").stdout == "RETURN\ttrue\n"
    gone = shell.run("ec2-describe-group", "websrv")
    assert (gone.code, "InvalidGroup.NotFound" in gone.stderr) == (4, True)


def test_a_rule_twice(shell: Shell) -> None:
    shell.good("ec2-authorize", "default", "-p", "4321")
    again = shell.run("ec2-authorize", "default", "-p", "4321")
    assert (again.code, again.stdout, "InvalidPermission.Duplicate" in again.stderr) == (4, "", True)


# Instances.


def test_an_instance_whose_bundle_lost_a_part(shell: Shell, image: Callable[[str], str], region: Status) -> None:
    """It is pending, and then it is over, and says why: no machine is needed for that."""
    mine = image("lost-part")
    s3 = client("s3", region.endpoint_url)
    lost = next(each["Key"] for each in s3.list_objects_v2(Bucket="lost-part")["Contents"] if ".part." in each["Key"])
    s3.delete_object(Bucket="lost-part", Key=lost)
    shell.good("ec2-add-keypair", "lost-part", "-f", "key.pem")
    started = shell.good("ec2-run-instances", mine, "-k", "lost-part", "-d", "role=db", "-t", "m1.large").stdout
    reservation, instance = columns(started)
    assert (reservation[0], reservation[3], len(instance)) == ("RESERVATION", "default", 32)
    assert (instance[2], instance[5:8], instance[9]) == (mine, ["pending", "lost-part", "0"], "m1.large")
    done = shell.good("ec2-describe-instances", instance[1])
    deadline = time.monotonic() + PATIENCE
    while columns(done.stdout)[1][5] != "terminated":
        assert time.monotonic() < deadline, done.stdout
        time.sleep(0.5)
        done = shell.good("ec2-describe-instances", instance[1])
    assert f"note: {instance[1]} is terminated: " in done.stderr
    assert lost in done.stderr
    assert shell.good("ec2-terminate-instances", instance[1]).stdout == (
        f"INSTANCE\t{instance[1]}\tterminated\tterminated\n"
    )
    console = shell.good("ec2-get-console-output", instance[1]).stdout
    assert re.fullmatch(rf"{instance[1]}\n\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000\n\n", console)
    ssh = shell.run("ami-factory", "ssh", instance[1])
    assert (ssh.code, f"error: {instance[1]} is terminated" in ssh.stderr, lost in ssh.stderr) == (4, True, True)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["ec2-run-instances", "ami-12345678"], "InvalidAMIID.NotFound", id="no AMI"),
        pytest.param(["ec2-describe-instances", "i-12345678"], "InvalidInstanceID.NotFound", id="no instance"),
        pytest.param(["ec2-describe-instances", "me"], "InvalidInstanceID.Malformed", id="no id"),
        pytest.param(["ec2-terminate-instances", "i-12345678"], "InvalidInstanceID.NotFound", id="nothing to end"),
        pytest.param(["ec2-reboot-instances", "i-12345678"], "InvalidInstanceID.NotFound", id="nothing to restart"),
        pytest.param(["ec2-get-console-output", "i-12345678"], "InvalidInstanceID.NotFound", id="no console"),
    ],
)
def test_what_there_is_not(words: list[str], code: str, shell: Shell) -> None:
    done = shell.run(*words)
    assert (done.code, done.stdout, f"was refused: {code}" in done.stderr) == (4, "", True), done.stderr


def test_no_instances(shell: Shell) -> None:
    done = shell.good("ec2-describe-instances", "-F", "instance-type=c1.xlarge")
    assert (done.stdout, done.stderr) == ("", "region: local (emulated)\n")
