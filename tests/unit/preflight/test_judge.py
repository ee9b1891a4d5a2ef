"""From answers to findings, each held as a whole."""

from dataclasses import replace
from typing import Any

import pytest

from builder.cloud.ec2 import Image
from builder.cloud.encryption import Key
from builder.cloud.instance_types import Offered
from builder.cloud.kernel_images import KernelImage
from builder.cloud.limits import Used
from builder.cloud.rights import Verdict
from builder.cloud.sts import Caller
from builder.errors import Exit, RegionError
from builder.preflight import question as q
from builder.preflight.ask import Asked, Failure, Room
from builder.preflight.check import refuse
from builder.preflight.finding import Finding, Severity
from builder.preflight.judge import judge

OK, UNCHECKED, WARNING, ERROR = Severity.OK, Severity.UNCHECKED, Severity.WARNING, Severity.ERROR
ARN = "arn:aws:kms:us-east-1:111122223333:key/k"
WHO = q.WhoAsks(account="111122223333", strict=True, key="bundle.account")
OPEN = q.RegionOpen(region="ap-east-1")
REGISTER = q.DryRun(operation="RegisterImage", request={}, needed="registering the AMI")
COPY = q.DryRun(operation="CopyImage", request={}, needed="copying AMIs to other regions", later=True)
IMPORT = q.DryRun(operation="ImportSnapshot", request={}, needed="making a snapshot by way of S3", fallback=True)
BUCKET = q.BucketFit(bucket="b", account="1", region="r", prefix="p", acl="aws-exec-read", key="bundle.bucket")
STORING = q.Allowed(actions=("s3:CreateBucket", "s3:ListBucket"), resource="arn:aws:s3:::b", needed="storing bundles")
BLOCKS = q.Allowed(actions=("ebs:StartSnapshot",), resource="arn", needed="making snapshots block by block")
AMIS = q.Limit(service="ec2", code="L-B665C33B", what="AMIs", more=2)
NAME = q.NameFree(name="web", step="ab" * 32, key="register.name")
KERNEL = q.KernelThere(image_id="aki-01234567", architecture="x86_64", key="kernel")
TYPE = q.TypeRuns(
    instance_type="t3.micro",
    architecture="x86_64",
    virtualization="hvm",
    root_device="ebs",
    boot_mode="legacy-bios",
    ena=True,
    tpm=False,
    key="instance_types",
)
OFFERED = Offered(
    name="t3.micro",
    architectures=("x86_64",),
    virtualization=("hvm",),
    root_devices=("ebs",),
    boot_modes=("legacy-bios", "uefi"),
    ena="required",
    tpm="supported",
)
KEY = q.KeyUsable(arn=ARN, region="us-east-1", key="volume.kms_key")
PAIR = q.PairFits(certificate="/c.pem", private_key="/k.pem", key="bundle.private_key")
MORE = "remove some, or ask for more: aws service-quotas request-service-quota-increase --service-code ec2 "
MORE += "--quota-code L-B665C33B --desired-value N"


def image(key: str) -> Image:
    return Image(id="ami-1", name="web", state="available", location="b/m", created="2026-11-01", key=key)


def key(state: str = "Enabled", usage: str = "ENCRYPT_DECRYPT", spec: str = "SYMMETRIC_DEFAULT") -> Key:
    return Key(arn=ARN, state=state, usage=usage, spec=spec)


def kind(**other: Any) -> Offered:
    known = {name: getattr(OFFERED, name) for name in OFFERED.__slots__}
    return Offered(**{**known, **other})


OWN_KERNELS = "correct the id in kernels/*.toml; the region's own: aws ec2 describe-images --owners amazon "
OWN_KERNELS += "--filters Name=image-type,Values=kernel"
OTHER_TYPE = "no instance of t3.micro starts from this AMI: it takes arm64, not x86_64; it boots by uefi, and "
OTHER_TYPE += "register.boot_mode is legacy-bios"


HD00_FOR_HD0 = "the kernel image aki-01234567 (pv-grub-hd00_1.04-x86_64.gz) boots images with partitions, and this "
HD00_FOR_HD0 += "one is without partitions"
HD0_FOR_HD00 = "the kernel image aki-01234567 (pv-grub-hd0_1.04-x86_64.gz) boots images without partitions, and this "
HD0_FOR_HD00 += "one is with partitions"
OTHER_LOADER = "correct its id in kernels/*.toml: [aki] is for images without, [aki_partitioned] for those with"


def aki(architecture: str, location: str = "pv.xml") -> KernelImage:
    return KernelImage(id="aki-01234567", owner="o", type="kernel", location=location, architecture=architecture)


CASES: list[tuple[q.Question, Any, str, Severity, str, str]] = [
    (WHO, Caller(account="111122223333", arn="arn:me"), "credentials", OK,
     "the credentials are arn:me, of the account 111122223333", ""),
    (WHO, Caller(account="999999999999", arn="arn:me"), "credentials", ERROR,
     "your credentials are of the account 999999999999, and the AMIs are for 111122223333",
     "choose others with --profile, or correct bundle.account in the recipe, or EC2_USER"),
    (OPEN, "opted-in", "region", OK, "the account can use the region ap-east-1", ""),
    (OPEN, "not-opted-in", "region", ERROR, "the account has not enabled the region ap-east-1",
     "aws account enable-region --region-name ap-east-1 (it takes some minutes), or another --region"),
    (OPEN, None, "region", ERROR, "AWS knows no region ap-east-1", "choose another one with --region"),
    (REGISTER, Verdict(allowed=True), "rights", OK, "ec2:RegisterImage is allowed", ""),
    (REGISTER, Verdict(allowed=False, words="Not you. Encoded authorization failure message: x-Y_z\n"), "rights", ERROR,
     "ec2:RegisterImage is denied, needed for registering the AMI: Not you.",
     "allow it to these credentials; docs/aws.md has the least policy"),
    (REGISTER, Verdict(allowed=None, words="InvalidSnapshot.NotFound: none"), "rights", UNCHECKED,
     "the right to ec2:RegisterImage is not checked: InvalidSnapshot.NotFound: none", ""),
    (COPY, Verdict(allowed=False, words="Not you."), "rights", WARNING,
     "ec2:CopyImage is denied, needed for copying AMIs to other regions: Not you.",
     "allow it to these credentials; docs/aws.md has the least policy"),
    (STORING, {"s3:CreateBucket": "allowed", "s3:ListBucket": "allowed"}, "rights", OK,
     "IAM allows what storing bundles needs", ""),
    (STORING, {"s3:CreateBucket": "implicitDeny", "s3:ListBucket": "allowed"}, "rights", WARNING,
     "IAM's simulator denies s3:CreateBucket on arn:aws:s3:::b, needed for storing bundles",
     "allow it to these credentials (docs/aws.md has the least policy), if no policy of the bucket or key itself does"),
    (STORING, None, "rights", UNCHECKED,
     "the rights for storing bundles are not checked: IAM tells the policies of users and roles only", ""),
    (BUCKET, True, "bucket", OK, "the bucket b is yours, and in the region", ""),
    (BUCKET, False, "bucket", OK, "there is no bucket b yet: it will be made", ""),
    (q.BlocksReached(), True, "snapshots", OK, "the EBS direct API answers", ""),
    (q.BlocksReached(), False, "snapshots", WARNING,
     "the EBS direct API is denied: the whole image will be sent to S3 and imported from there, which takes longer",
     "allow ebs:StartSnapshot, ebs:PutSnapshotBlock and ebs:CompleteSnapshot; docs/aws.md has the least policy"),
    (AMIS, Room(quota=100.0, used=Used(count=7)), "quota", OK, "7 of 100 AMIs", ""),
    (AMIS, Room(quota=100.0, used=Used(count=94)), "quota", WARNING,
     "94 of 100 AMIs are there: the quota is nearly used up", MORE),
    (AMIS, Room(quota=100.0, used=Used(count=99)), "quota", ERROR,
     "99 of 100 AMIs are there: the quota leaves no room for 2 more", MORE),
    (AMIS, Room(quota=100000.0, used=Used(count=10000, more=True)), "quota", OK, "more than 10000 of 100000 AMIs", ""),
    (AMIS, Room(quota=20.0), "quota", OK, "up to 20 AMIs", ""),
    (AMIS, Room(quota=None), "quota", UNCHECKED, "the quota of AMIs is not checked: the region tells none", ""),
    (NAME, None, "name", OK, 'the name "web" is free', ""),
    (NAME, image("ab" * 32), "name", OK, "ami-1 has the name already: it is this very AMI (available)", ""),
    (NAME, image("cd" * 32), "name", ERROR,
     'the name "web" is taken by ami-1, made 2026-11-01, built by ami-factory for the key cdcdcdcdcdcd',
     "change register.name in the recipe, or deregister it: aws ec2 deregister-image --image-id ami-1"),
    (NAME, image(""), "name", ERROR, 'the name "web" is taken by ami-1, made 2026-11-01, not built by ami-factory',
     "change register.name in the recipe, or deregister it: aws ec2 deregister-image --image-id ami-1"),
    (KERNEL, None, "kernel", ERROR, "the region has no kernel image aki-01234567",
     OWN_KERNELS),
    (KERNEL, aki("i386"), "kernel",
     ERROR, "the kernel image aki-01234567 is for i386, and the AMI for x86_64", "correct its id in kernels/*.toml"),
    (KERNEL, aki("x86_64"), "kernel",
     OK, "the kernel image aki-01234567 is there (pv.xml)", ""),
    (KERNEL, aki("x86_64", "pv-grub-hd00_1.04-x86_64.gz"), "kernel", ERROR,
     HD00_FOR_HD0, OTHER_LOADER),
    (replace(KERNEL, partitioned=True), aki("x86_64", "pv-grub-hd0_1.04-x86_64.gz"), "kernel", ERROR,
     HD0_FOR_HD00, OTHER_LOADER),
    (replace(KERNEL, partitioned=True), aki("x86_64", "pv-grub-hd00_1.04-x86_64.gz"), "kernel",
     OK, "the kernel image aki-01234567 is there (pv-grub-hd00_1.04-x86_64.gz)", ""),
    (TYPE, OFFERED, "instance-type", OK, "t3.micro is offered, and can start hvm AMIs of x86_64", ""),
    (TYPE, kind(boot_modes=(), ena="", tpm=""), "instance-type", OK,
     "t3.micro is offered, and can start hvm AMIs of x86_64", ""),
    (TYPE, None, "instance-type", WARNING,
     "the region does not offer t3.micro: the AMI is made for it, and cannot be started here",
     "choose another type with --instance-type, or another region"),
    (TYPE, kind(architectures=("arm64",), boot_modes=("uefi",)), "instance-type", ERROR,
     OTHER_TYPE, "choose another type"),
    (KEY, key(), "key", OK, f"the KMS key {ARN} can be used", ""),
    (KEY, key(state="Disabled"), "key", ERROR, f"the KMS key {ARN} cannot be used: it is Disabled",
     f"aws kms enable-key --key-id {ARN}"),
    (KEY, key(usage="SIGN_VERIFY", spec="RSA_2048"), "key", ERROR,
     f"the KMS key {ARN} is for SIGN_VERIFY (RSA_2048): EBS encrypts with symmetric keys only",
     "give another volume.kms_key: aws kms create-key"),
    (KEY, None, "key", ERROR, f"there is no KMS key {ARN}", "correct volume.kms_key: aws kms list-keys"),
    (q.KeyUsable(arn=ARN, region="eu-west-1"), key(), "key", ERROR,
     f"the KMS key {ARN} is in us-east-1, and the snapshot in eu-west-1",
     "EBS encrypts with keys of its own region: give another volume.kms_key"),
    (q.KeyUsable(arn="", region="eu-west-1"), None, "key", OK,
     "the account's own key for EBS will be made when it is first used", ""),
    (q.EncryptedAnyway(), True, "key", OK,
     "the account encrypts every snapshot: so will this one be, and no AMI of it can be public", ""),
    (q.EncryptedAnyway(), False, "key", OK, "the account encrypts no snapshot unasked", ""),
    (PAIR, True, "certificate", OK, "certificate and private key for bundles belong together", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("question", "answer", "id", "severity", "what", "remedy"),
    [pytest.param(*each, id=f"{number}-{each[2]}-{each[3].value}") for number, each in enumerate(CASES)],
)
def test_finding(question: q.Question, answer: Any, id: str, severity: Severity, what: str, remedy: str) -> None:
    found = judge([Asked(question=question, answer=answer)])
    assert found == (Finding(id=id, severity=severity, what=what, key=question.key, remedy=remedy),)


def test_every_question_has_a_case() -> None:
    # By name: dataclasses with slots are made twice.
    assert {type(each[0]).__name__ for each in CASES} == {each.__name__ for each in q.Question.__subclasses__()}


def test_a_key_that_is_another_certificates() -> None:
    (found,) = judge([Asked(question=PAIR, answer=False)])
    assert (found.severity, found.local) == (ERROR, True)
    assert found.what == "the private key /k.pem is not that of the certificate /c.pem"


DENIED = Failure(brief="the bucket: access denied", detail="HeadBucket: 403: no", hint="allow it", code="AccessDenied")
BUSY = Failure(brief="the bucket: the region is throttling", hint="run it again later", code="SlowDown", passing=True)


@pytest.mark.parametrize(
    ("question", "failure", "severity", "what", "remedy"),
    [
        (BUCKET, DENIED, ERROR, "the bucket: access denied: HeadBucket: 403: no", "allow it"),
        (BUCKET, BUSY, UNCHECKED, "the bucket b is not checked: the bucket: the region is throttling", ""),
        (AMIS, DENIED, UNCHECKED, "the quota of AMIs is not checked: the bucket: access denied: HeadBucket: 403: no",
         "allow it"),
        (WHO, DENIED, ERROR, "the bucket: access denied: HeadBucket: 403: no", "allow it"),
        (q.WhoAsks(account="1", strict=False), DENIED, UNCHECKED,
         "the account is not checked: the bucket: access denied: HeadBucket: 403: no", "allow it"),
    ],
    ids=["vital", "vital but passing", "of use", "credentials", "credentials elsewhere"],
)  # fmt: skip
def test_no_answer(question: q.Question, failure: Failure, severity: Severity, what: str, remedy: str) -> None:
    (found,) = judge([Asked(question=question, failure=failure)])
    assert (found.severity, found.what, found.remedy) == (severity, what, remedy)


def test_every_question_can_go_unanswered() -> None:
    for question in {type(each[0]): each[0] for each in CASES}.values():
        (found,) = judge([Asked(question=question, failure=BUSY)])
        assert found.severity is UNCHECKED, question
        assert "not checked" in found.what


def test_a_bucket_that_is_there_need_not_be_made() -> None:
    refused = {"s3:CreateBucket": "implicitDeny", "s3:ListBucket": "allowed"}
    found = judge([Asked(question=BUCKET, answer=True), Asked(question=STORING, answer=refused)])
    assert [each.severity for each in found] == [OK, OK]
    found = judge([Asked(question=BUCKET, answer=False), Asked(question=STORING, answer=refused)])
    assert [each.severity for each in found] == [OK, WARNING]


@pytest.mark.parametrize(
    ("reached", "simulated", "expected"),
    [
        (True, "allowed", [OK, OK]),
        (False, "allowed", [WARNING, OK, ERROR]),
        (True, "explicitDeny", [OK, WARNING, ERROR]),
    ],
)
def test_the_way_by_s3_matters_where_blocks_are_denied(reached: bool, simulated: str, expected: list[Severity]) -> None:
    found = judge(
        [
            Asked(question=q.BlocksReached(), answer=reached),
            Asked(question=BLOCKS, answer={"ebs:StartSnapshot": simulated}),
            Asked(question=IMPORT, answer=Verdict(allowed=False, words="no")),
        ]
    )
    assert [each.severity for each in found] == expected


def test_equal_findings_are_one() -> None:
    asked = Asked(question=q.EncryptedAnyway(), answer=False)
    assert len(judge([asked, asked])) == 1


def test_all_errors_at_once() -> None:
    findings = [
        Finding(id="name", severity=ERROR, what="taken", remedy="choose another"),
        Finding(id="quota", severity=WARNING, what="nearly", remedy="ask"),
        Finding(id="key", severity=ERROR, what="disabled"),
    ]
    with pytest.raises(RegionError) as caught:
        refuse(findings, lambda each: f"web.toml: {each.what}")
    error = caught.value
    assert (error.exit, error.brief) == (Exit.REGION, "nothing was begun: the region would refuse the build")
    assert error.detail == "web.toml: taken\n  choose another\nweb.toml: disabled"
    refuse(findings[1:2], str)
