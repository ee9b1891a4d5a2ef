"""Which questions a plan is worth."""

from dataclasses import replace

import pytest

from builder.catalog import rights
from builder.factory import Selection
from builder.plan.compile import published_plan, variants
from builder.plan.step import Plan
from builder.preflight import question as q
from builder.preflight.questions import place_of, questions
from builder.recipe.model import Recipe
from tests.support.plans import TARGET, US_EAST, planned, prepared

PAIR = ("/c.pem", "/k.pem")
READY = prepared("quickstart")
PV = planned(READY, Selection(instance_types=("m1.small",), architectures=("x86_64",)), target=US_EAST)


def hvm(**volume: object) -> Plan:
    recipe = READY.loaded.recipe.model_copy(update={"volume": READY.loaded.recipe.volume.model_copy(update=volume)})
    picked = Selection(instance_types=("t3.micro",), architectures=("x86_64",), virtualization=("hvm",))
    return planned(READY, picked, recipe=recipe, target=US_EAST)


def tags(plan: Plan, kind: str) -> list[dict[str, object]]:
    register = plan.steps[-1]
    pairs = {
        "Name": register.spec["name"],
        "Project": "ami-factory",
        "ami-factory:instance-type": kind,
        "ami-factory:key": register.key,
        "ami-factory:recipe": dict(register.spec["tags"])["ami-factory:recipe"],
    }
    return [{"ResourceType": "image", "Tags": [{"Key": each, "Value": pairs[each]} for each in sorted(pairs)]}]


def test_of_a_bundle() -> None:
    name, bucket = PV.steps[-1].spec["name"], "ami-factory-123456789012-us-east-1"
    kernel = PV.steps[-1].spec["kernel_id"]
    assert questions(PV, PV.steps, pair=PAIR) == (
        q.WhoAsks(account="123456789012", strict=True, key="bundle.account"),
        q.RegionOpen(region="us-east-1"),
        q.BucketFit(
            bucket=bucket,
            account="123456789012",
            region="us-east-1",
            prefix="quickstart",
            acl="aws-exec-read",
            key="bundle.bucket",
        ),
        q.Allowed(
            actions=("s3:CreateBucket", "s3:ListBucket", "s3:PutBucketOwnershipControls"),
            resource=f"arn:aws:s3:::{bucket}",
            needed="storing bundles",
        ),
        q.Allowed(
            actions=("s3:DeleteObject", "s3:GetObject", "s3:GetObjectAcl", "s3:PutObject", "s3:PutObjectAcl"),
            resource=f"arn:aws:s3:::{bucket}/any",
            needed="storing bundles",
        ),
        q.DryRun(
            operation="RegisterImage",
            request={
                "Name": name,
                "Architecture": "x86_64",
                "VirtualizationType": "paravirtual",
                "RootDeviceName": "/dev/sda1",
                "TagSpecifications": tags(PV, "m1.small"),
                "ImageLocation": f"{bucket}/quickstart/any.manifest.xml",
            },
            needed="registering the AMI",
        ),
        q.NameFree(name=name, step=PV.steps[-1].key, key="register.name"),
        q.KernelThere(image_id=kernel, architecture="x86_64", key="kernel"),
        q.TypeRuns(
            instance_type="m1.small",
            architecture="x86_64",
            virtualization="paravirtual",
            root_device="instance-store",
            boot_mode="",
            ena=False,
            tpm=False,
            key="instance_types",
        ),
        q.PairFits(certificate="/c.pem", private_key="/k.pem", key="bundle.private_key"),
        q.Limit(service="ec2", code="L-B665C33B", what="AMIs", more=1),
    )


def test_of_a_snapshot() -> None:
    plan, bucket = hvm(), "ami-factory-123456789012-us-east-1"
    name = plan.steps[-1].spec["name"]
    assert questions(plan, plan.steps, pair=PAIR)[2:] == (
        q.BlocksReached(),
        q.Allowed(
            actions=("ebs:CompleteSnapshot", "ebs:PutSnapshotBlock", "ebs:StartSnapshot", "ec2:CreateTags"),
            resource="arn:aws:ec2:us-east-1::snapshot/snap-0123456789abcdef0",
            needed="making snapshots block by block",
        ),
        q.BucketFit(
            bucket=bucket, account="123456789012", region="us-east-1", prefix="snapshots", acl="", fallback=True
        ),
        q.DryRun(
            operation="ImportSnapshot",
            request={
                "DiskContainer": {"Format": "RAW", "UserBucket": {"S3Bucket": bucket, "S3Key": "snapshots/any.raw"}}
            },
            needed="making a snapshot by way of S3",
            fallback=True,
        ),
        q.EncryptedAnyway(key="volume.encrypted"),
        q.DryRun(
            operation="RegisterImage",
            request={
                "Name": name,
                "Architecture": "x86_64",
                "VirtualizationType": "hvm",
                "RootDeviceName": "/dev/xvda",
                "TagSpecifications": tags(plan, "t3.micro"),
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp3", "VolumeSize": 1}},
                ],
            },
            needed="registering the AMI",
        ),
        q.NameFree(name=name, step=plan.steps[-1].key, key="register.name"),
        q.TypeRuns(
            instance_type="t3.micro",
            architecture="x86_64",
            virtualization="hvm",
            root_device="ebs",
            boot_mode=plan.steps[-1].spec["boot_mode"],
            ena=True,
            tpm=False,
            key="instance_types",
        ),
        q.Limit(service="ec2", code="L-B665C33B", what="AMIs", more=1),
        q.Limit(service="ebs", code="L-309BACF6", what="snapshots", more=1),
    )


def test_of_an_encrypted_snapshot() -> None:
    arn = "arn:aws:kms:us-east-1:123456789012:key/k"
    plan = hvm(encrypted=True, kms_key=arn)
    asked = [each for each in questions(plan, plan.steps, pair=PAIR) if each.key == "volume.kms_key"]
    assert asked == [
        q.KeyUsable(arn=arn, region="us-east-1", key="volume.kms_key"),
        q.Allowed(
            actions=tuple(each for each in rights.ENCRYPTING if "*" not in each),
            resource=arn,
            needed="encrypting snapshots",
            key="volume.kms_key",
        ),
    ]
    plan = hvm(encrypted=True)
    asked = [each for each in questions(plan, plan.steps, pair=PAIR) if each.key == "volume.kms_key"]
    assert asked == [q.KeyUsable(arn="", region="us-east-1", key="volume.kms_key")]


def test_nothing_for_what_is_local() -> None:
    local = [each for each in PV.steps if not each.remote]
    assert questions(PV, local, pair=PAIR, sharing=True) == ()
    assert place_of(local) is None


def test_only_for_the_steps_that_run() -> None:
    asked = questions(PV, PV.steps[-1:], pair=PAIR)
    kinds = {q.WhoAsks, q.RegionOpen, q.DryRun, q.NameFree, q.KernelThere, q.TypeRuns, q.Limit}
    assert {type(each) for each in asked} == kinds


def test_each_once() -> None:
    """Two variants share bucket, rights and quota; what differs is asked for each."""
    both = planned(READY, Selection(instance_types=("m1.small", "m1.large"), architectures=("x86_64",)), target=US_EAST)
    asked = questions(both, both.steps, pair=PAIR)
    kinds = (q.BucketFit, q.Allowed, q.NameFree, q.TypeRuns)
    count = {kind: sum(type(each) is kind for each in asked) for kind in kinds}
    assert count == {q.BucketFit: 1, q.Allowed: 2, q.NameFree: 2, q.TypeRuns: 2}
    assert q.Limit(service="ec2", code="L-B665C33B", what="AMIs", more=2) in asked


def test_what_follows_a_build_is_asked_on_request() -> None:
    plan = hvm()
    usual = questions(plan, plan.steps, pair=PAIR)
    more = [each for each in questions(plan, plan.steps, pair=PAIR, sharing=True) if each not in usual]
    named = [each.operation if isinstance(each, q.DryRun) else getattr(each, "what", "") for each in more]
    assert named == [
        "public AMIs",
        "CopyImage",
        "ModifyImageAttribute",
        "copies of snapshots at a time",
        "ModifySnapshotAttribute",
    ]
    assert all(each.later for each in more if isinstance(each, q.DryRun))


@pytest.mark.parametrize(
    ("region", "endpoint", "aws"),
    [("us-east-1", "aws", True), ("us-east-1", "http://192.0.2.1", False), ("local", "local-0123456789ab", True)],
)
def test_whose_endpoint_it_is(region: str, endpoint: str, aws: bool) -> None:
    plan = planned(
        READY,
        Selection(instance_types=("m1.small",), architectures=("x86_64",)),
        target=replace(TARGET, region=region, endpoint=endpoint),
    )
    place = q.Place(region=region, partition="aws", account="123456789012", aws=aws)
    assert place_of(plan.steps) == place


def test_of_a_recipe_without_a_lock() -> None:
    """The same questions, but for the name, which is made of what is not known yet."""
    recipe: Recipe = READY.loaded.recipe
    wanted = variants(recipe, US_EAST, architectures=("x86_64",), instance_types=("m1.small",))
    early = published_plan(recipe, READY.loaded.kernel, READY.sources, US_EAST, wanted)
    assert [each.stage for each in early.steps] == ["bundle", "upload", "register"]
    before = questions(early, early.steps, pair=PAIR)
    after = questions(PV, PV.steps, pair=PAIR)
    assert [type(each) for each in after if each not in before] == [q.DryRun, q.NameFree]
