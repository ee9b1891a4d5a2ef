"""Preflight against the local region: what it finds when all is well, and when something is denied, full or taken."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.factory import Selection
from builder.preflight.ask import Clients
from builder.preflight.check import examine, preflight
from builder.preflight.finding import Finding
from builder.preflight.questions import place_of, questions
from builder.region.identity import identity
from builder.stages.contract import Surroundings
from tests.support.bundles import make_user
from tests.support.desk import Desk
from tests.support.faults import faults
from tests.support.plans import TARGET, planned, prepared
from tests.support.regions import WithoutPower, client, refused, region_at, served

READY = prepared("quickstart")
ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("preflight")


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    with served(region_at(place, WithoutPower)) as address:
        yield address


@pytest.fixture(scope="module")
def pair(place: Path) -> tuple[str, str]:
    key, certificate = make_user(place)
    return str(certificate), str(key)


def found(
    url: str, pair: tuple[str, str], *, hvm: bool = False, sharing: bool = False, **volume: Any
) -> tuple[Finding, ...]:
    recipe = READY.loaded.recipe
    if hvm:
        recipe = recipe.model_copy(update={"volume": recipe.volume.model_copy(update=volume)})
    picked = Selection(
        architectures=("x86_64",),
        instance_types=("t3.micro" if hvm else "m1.small",),
        virtualization=("hvm" if hvm else "pv",),
    )
    plan = planned(READY, picked, recipe=recipe, target=TARGET)
    where = place_of(plan.steps)
    assert where is not None
    reached = Surroundings(state=Path(), cache=Path(), trees=Path(), endpoint_url=url)
    return examine(questions(plan, plan.steps, pair=pair, sharing=sharing), Clients(reached, where))


def name_of(findings: tuple[Finding, ...]) -> str:
    return next(each.what for each in findings if each.id == "name").split('"')[1]


def told(findings: tuple[Finding, ...], *severities: str) -> list[tuple[str, str, str]]:
    return [(f.id, f.severity.value, f.what) for f in findings if not severities or f.severity.value in severities]


def test_all_is_well(url: str, pair: tuple[str, str]) -> None:
    name = name_of(found(url, pair))
    assert told(found(url, pair)) == [
        ("credentials", "ok", f"the credentials are arn:aws:iam::{ACCOUNT}:root, of the account {ACCOUNT}"),
        ("region", "ok", "the account can use the region local"),
        ("bucket", "ok", f"there is no bucket ami-factory-{ACCOUNT}-local yet: it will be made"),
        ("rights", "ok", "IAM allows what storing bundles needs"),
        ("rights", "ok", "ec2:RegisterImage is allowed"),
        ("name", "ok", f'the name "{name}" is free'),
        ("kernel", "ok", "the kernel image aki-919dcaf8 is there (pv-grub-hd0_1.04-x86_64.gz.manifest.xml)"),
        ("instance-type", "ok", "m1.small is offered, and can start paravirtual AMIs of x86_64"),
        ("certificate", "ok", "certificate and private key for bundles belong together"),
        ("quota", "ok", "0 of 50000 AMIs"),
    ]
    assert told(found(url, pair, hvm=True, sharing=True))[2:4] == [
        ("snapshots", "ok", "the EBS direct API answers"),
        ("rights", "ok", "IAM allows what making snapshots block by block needs"),
    ]


def test_nothing_is_changed_by_asking(url: str, pair: tuple[str, str]) -> None:
    found(url, pair, hvm=True, sharing=True)
    found(url, pair, sharing=True)
    assert client("s3", url).list_buckets()["Buckets"] == []
    assert client("ec2", url).describe_images(Owners=["self"])["Images"] == []
    assert client("ec2", url).describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_all_that_is_wrong_is_one_list(url: str, pair: tuple[str, str], place: Path) -> None:
    """Denials, a full quota and another's key, all at once."""
    (place / "other").mkdir()
    other = make_user(place / "other")
    rules = [
        {"fault": "deny", "service": "ec2", "operation": "RegisterImage"},
        {"fault": "deny", "service": "s3", "operation": "PutObject"},
        {"fault": "quota", "quota": "L-B665C33B", "value": 0.0},
    ]
    with faults(url, *rules):
        findings = found(url, (pair[0], str(other[0])))
    assert told(findings, "warning", "error") == [
        (
            "rights",
            "warning",
            (
                "IAM's simulator denies s3:PutObject, s3:PutObjectAcl on "
                f"arn:aws:s3:::ami-factory-{ACCOUNT}-local/any, needed for storing bundles"
            ),
        ),
        (
            "rights",
            "error",
            (
                "ec2:RegisterImage is denied, needed for registering the AMI: "
                "You are not authorized to perform this operation."
            ),
        ),
        ("certificate", "error", f"the private key {other[0]} is not that of the certificate {pair[0]}"),
        ("quota", "error", "0 of 0 AMIs are there: the quota leaves no room for 1 more"),
    ]


def test_without_the_ebs_direct_api_the_other_way_is_checked(url: str, pair: tuple[str, str]) -> None:
    denied = {"fault": "deny", "service": "ebs"}
    with faults(url, denied):
        findings = told(found(url, pair, hvm=True))
    assert findings[2][:2] == ("snapshots", "warning")
    assert findings[3][:2] == ("rights", "warning")
    assert findings[4:6] == [
        ("bucket", "ok", f"there is no bucket ami-factory-{ACCOUNT}-local yet: it will be made"),
        ("rights", "ok", "ec2:ImportSnapshot is allowed"),
    ]
    with faults(url, denied, {"fault": "deny", "service": "ec2", "operation": "ImportSnapshot"}):
        assert [each[0] for each in told(found(url, pair, hvm=True), "error")] == ["rights"]


def test_credentials_that_have_expired_are_said_once(url: str, pair: tuple[str, str]) -> None:
    with faults(url, {"fault": "expired"}):
        findings = found(url, pair)
    assert told(findings) == [
        (
            "credentials",
            "error",
            (
                "the account in local: your credentials have expired: "
                "GetCallerIdentity: ExpiredToken: The security token included in the request is expired"
            ),
        ),
        (
            "region",
            "unchecked",
            (
                "the region is not checked: the region us-east-1: your credentials have expired: "
                "DescribeRegions: RequestExpired: The security token included in the request is expired"
            ),
        ),
        ("certificate", "ok", "certificate and private key for bundles belong together"),
        ("rest", "unchecked", "8 more questions were not asked"),
    ]


@pytest.mark.parametrize("service", ["iam", "servicequotas"])
def test_what_may_not_be_asked_stops_nothing(service: str, url: str, pair: tuple[str, str]) -> None:
    with faults(url, {"fault": "deny", "service": service}):
        findings = found(url, pair, sharing=True)
    assert {each.severity.value for each in findings} == {"ok", "unchecked"}
    assert all(
        each.remedy.startswith("the credentials need the right") for each in findings if each.severity.value != "ok"
    )


def test_a_region_that_is_busy_stops_nothing(url: str, pair: tuple[str, str]) -> None:
    """Every answer may fail that is not the first: an error comes of none."""
    with faults(url, {"fault": "error", "after": 2}):
        findings = found(url, pair, hvm=True, sharing=True)
    assert {each.severity.value for each in findings} == {"ok", "unchecked"}
    assert sum(each.severity.value == "unchecked" for each in findings) > 8


def test_a_region_that_does_not_answer() -> None:
    findings = found("http://127.0.0.1:1", ("/nowhere", "/nowhere"))
    assert told(findings, "error")[0] == (
        "credentials",
        "error",
        (
            "the account in local: http://127.0.0.1:1 does not answer: "
            'Could not connect to the endpoint URL: "http://127.0.0.1:1/"'
        ),
    )


def test_a_bucket_that_ec2_could_not_read(url: str, pair: tuple[str, str]) -> None:
    s3 = client("s3", url)
    bucket = f"ami-factory-{ACCOUNT}-local"
    s3.create_bucket(Bucket=bucket)  # ACLs are off, as S3's default is
    try:
        errors = told(found(url, pair), "error")
        assert errors == [
            (
                "bucket",
                "error",
                (
                    f"the bucket {bucket} does not allow ACLs, so EC2 could not read the bundle: "
                    "Its Object Ownership is BucketOwnerEnforced, and EC2 gets to read a bundle by the ACL "
                    "aws-exec-read, or by a policy."
                ),
            )
        ]
    finally:
        s3.delete_bucket(Bucket=bucket)


def test_a_name_that_is_taken(url: str, pair: tuple[str, str]) -> None:
    ec2, ebs = client("ec2", url), client("ebs", url)
    name = name_of(found(url, pair, hvm=True))
    snapshot = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=0)
    root = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}]
    image = ec2.register_image(
        Name=name, RootDeviceName="/dev/xvda", BlockDeviceMappings=root, VirtualizationType="hvm", Architecture="x86_64"
    )["ImageId"]
    (error,) = told(found(url, pair, hvm=True), "error")
    assert error[0] == "name"
    assert error[2].startswith(f'the name "{name}" is taken by {image}, made 20')
    assert error[2].endswith("not built by ami-factory")
    ec2.deregister_image(ImageId=image)
    ec2.delete_snapshot(SnapshotId=snapshot)
    assert told(found(url, pair, hvm=True), "error") == []


def test_keys_of_kms(url: str, pair: tuple[str, str]) -> None:
    kms = client("kms", url)
    arn = kms.create_key(Description=secrets.token_hex(4))["KeyMetadata"]["Arn"]

    def of(arn: str) -> list[tuple[str, str, str]]:
        return [each for each in told(found(url, pair, hvm=True, encrypted=True, kms_key=arn)) if each[0] == "key"]

    assert of(arn) == [("key", "ok", f"the KMS key {arn} can be used")]
    kms.disable_key(KeyId=arn)
    assert of(arn) == [("key", "error", f"the KMS key {arn} cannot be used: it is Disabled")]
    kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
    assert of(arn) == [("key", "error", f"the KMS key {arn} cannot be used: it is PendingDeletion")]
    with refused("KMSInvalidStateException"):
        kms.enable_key(KeyId=arn)
    kms.cancel_key_deletion(KeyId=arn)
    kms.enable_key(KeyId=arn)
    assert of(arn) == [("key", "ok", f"the KMS key {arn} can be used")]
    nobodys = f"{arn.rpartition('/')[0]}/{'0' * 8}-0000-0000-0000-{'0' * 12}"
    assert of(nobodys) == [("key", "error", f"there is no KMS key {nobodys}")]
    signing = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["Arn"]
    assert of(signing) == [
        ("key", "error", f"the KMS key {signing} is for SIGN_VERIFY (RSA_2048): EBS encrypts with symmetric keys only")
    ]
    assert of("")[0][1] == "ok"


def test_what_was_asked_before_is_not_asked_again(url: str, pair: tuple[str, str]) -> None:
    plan = planned(READY, Selection(architectures=("x86_64",), instance_types=("m1.small",)), target=TARGET)
    reached = Surroundings(state=Path(), cache=Path(), trees=Path(), endpoint_url=url)
    findings, asked = preflight(plan, plan.steps, reached, pair=pair, places=str)
    assert (len(findings), len(asked)) == (10, 11)
    assert preflight(plan, plan.steps, reached, pair=pair, places=str, known=asked) == ((), ())
    local = [replace(each) for each in plan.steps if not each.remote]
    assert preflight(plan, local, reached, pair=pair, places=str) == ((), ())


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(path=tmp_path_factory.mktemp("desk"))
    made.set_up()
    made.variables["URL"] = made.run("region", "start", "--json").document["endpoint_url"]
    made.fill(made.plan())
    yield made
    made.run("region", "stop")


class TestVerbs:
    """The command itself, at a desk whose store has all that a build needs but what is in the region."""

    def test_a_build_stops_before_it_begins_with_all_errors(self, desk: Desk) -> None:
        rules = [
            {"fault": "deny", "service": "ec2", "operation": "RegisterImage"},
            {"fault": "quota", "quota": "L-B665C33B", "value": 1.0},
        ]
        with faults(desk.variables["URL"], *rules):
            done = desk.run("build", "web.toml", "--json")
            planned = desk.run("plan", "web.toml", "--online", "--json")
        assert (done.code, planned.code) == (4, 4)
        document = done.document
        assert document["brief"] == "nothing was begun: the region would refuse the build"
        assert document["detail"].splitlines() == [
            (
                "ec2:RegisterImage is denied, needed for registering the AMI: "
                "You are not authorized to perform this operation."
            ),
            "  allow it to these credentials; docs/aws.md has the least policy",
            "0 of 1 AMIs are there: the quota leaves no room for 2 more",
            (
                "  remove some, or ask for more: aws service-quotas request-service-quota-increase --service-code ec2 "
                "--quota-code L-B665C33B --desired-value N"
            ),
        ]
        (recipe,) = planned.document["recipes"]
        errors = [each["what"] for each in recipe["preflight"] if each["severity"] == "error"]
        assert errors == document["detail"].splitlines()[::2]
        assert client("s3", desk.variables["URL"]).list_buckets()["Buckets"] == []

    def test_an_error_says_where_the_recipe_has_it(self, desk: Desk) -> None:
        recipe = desk.path / "web.toml"
        before = recipe.read_text()
        try:
            recipe.write_text(f'{before}\n[bundle]\nbucket = "plain-{desk.path.name[-8:].lower().strip("_")}"\n')
            bucket = recipe.read_text().splitlines()[-1].split('"')[1]
            client("s3", desk.variables["URL"]).create_bucket(Bucket=bucket)
            done = desk.run("plan", "web.toml", "--online", "--json")
            client("s3", desk.variables["URL"]).delete_bucket(Bucket=bucket)
        finally:
            recipe.write_text(before)
        (error,) = [each for each in done.document["recipes"][0]["preflight"] if each["severity"] == "error"]
        line = len(before.splitlines()) + 3
        assert (error["key"], error["where"]) == ("bundle.bucket", f"web.toml:{line}:1")

    def test_one_or_the_other(self, desk: Desk) -> None:
        done = desk.run("plan", "web.toml", "--online", "--offline")
        assert (done.code, done.stderr.splitlines()[0]) == (2, "error: --online and --offline do not go together")


def test_the_account_is_the_regions(place: Path) -> None:
    assert identity(place).account == ACCOUNT
