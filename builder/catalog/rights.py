"""The rights that AWS wants for what this program asks of it: every API operation, its IAM actions, what they are on.

Actions and their resources are the Service Authorization Reference's; the EBS direct API's that of the EBS User Guide,
"Control access to EBS direct APIs using IAM". docs/aws.md holds the policy that is made of this, and
tests/unit/catalog/test_rights.py compares the operations with those that the code calls. Run as a module it prints the
policy.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One API operation."""

    operation: str
    """As botocore has it, with its service: s3.HeadBucket."""
    actions: tuple[str, ...]
    on: str
    """What they are on: bucket, object, snapshot, key, parameter, or "" for actions that know no resource or any."""
    use: str
    """What it is wanted for: a key of USES."""
    needed: bool = True
    """False for what only tidies up or explains: without it the work gets done."""


USES: Mapping[str, str] = {
    "look": "LookAtImages",
    "bundle": "StoreBundles",
    "snapshot": "MakeSnapshots",
    "import": "ImportSnapshots",
    "register": "RegisterImages",
    "preflight": "AskBeforehand",
    "publish": "PublishImages",
    "prune": "RemoveOrphans",
    "classic": "ClassicCommands",
}
"""What rights are wanted for, and the name of the policy's statement."""

_ON: Mapping[str, tuple[str, ...]] = {
    "bucket": ("arn:{partition}:s3:::{bucket}",),
    "object": ("arn:{partition}:s3:::{bucket}/*",),
    "snapshot": ("arn:{partition}:ec2:*::snapshot/*",),
    "key": ("{key}",),
    "parameter": ("arn:{partition}:ssm:*:*:parameter/*",),
    "": ("*",),
}


def _rights(use: str, on: str, *rows: str, needed: bool = True) -> Iterable[Right]:
    """`s3.HeadBucket s3:ListBucket`: without actions they are named as the operation is."""
    for row in rows:
        operation, *actions = row.split()
        yield Right(
            operation=operation,
            actions=tuple(actions) or (operation.replace(".", ":"),),
            on=on,
            use=use,
            needed=needed,
        )


RIGHTS: tuple[Right, ...] = (
    *_rights("look", "", "ec2.DescribeImages", "ec2.DescribeSnapshots"),
    Right(operation="sts.GetCallerIdentity", actions=(), on="", use="look"),  # nobody needs a right to it
    *_rights(
        "bundle",
        "bucket",
        "s3.HeadBucket s3:ListBucket",
        "s3.ListObjectsV2 s3:ListBucket",
        "s3.CreateBucket s3:CreateBucket s3:PutBucketOwnershipControls",
    ),
    *_rights(
        "bundle",
        "bucket",
        "s3.GetBucketLocation",
        "s3.GetBucketOwnershipControls",
        "s3.GetBucketPolicy",
        "s3.GetPublicAccessBlock s3:GetBucketPublicAccessBlock",
        "s3.GetBucketEncryption s3:GetEncryptionConfiguration",
        needed=False,
    ),
    *_rights(
        "bundle",
        "object",
        "s3.PutObject s3:PutObject s3:PutObjectAcl",
        "s3.HeadObject s3:GetObject",
        "s3.GetObject",
        "s3.GetObjectAcl",
        "s3.PutObjectAcl",
        "s3.DeleteObjects s3:DeleteObject",
    ),
    *_rights(
        "snapshot",
        "snapshot",
        "ebs.StartSnapshot",
        "ebs.PutSnapshotBlock",
        "ebs.CompleteSnapshot",
        "ec2.CreateTags",
    ),
    *_rights(
        "snapshot",
        "snapshot",
        "ebs.ListSnapshotBlocks",
        "ebs.GetSnapshotBlock",
        "ec2.DeleteSnapshot",
        needed=False,
    ),
    *_rights(
        "import",
        "object",
        "s3.CreateMultipartUpload s3:PutObject",
        "s3.UploadPart s3:PutObject",
        "s3.CompleteMultipartUpload s3:PutObject",
        "s3.ListParts s3:ListMultipartUploadParts",
    ),
    *_rights("import", "", "ec2.ImportSnapshot", "ec2.DescribeImportSnapshotTasks"),
    *_rights("register", "", "ec2.RegisterImage ec2:RegisterImage ec2:CreateTags"),
    *_rights(
        "preflight",
        "",
        "ec2.DescribeRegions",
        "ec2.DescribeInstanceTypes",
        "ec2.GetEbsEncryptionByDefault",
        "ec2.GetEbsDefaultKmsKeyId",
        "service-quotas.GetServiceQuota servicequotas:GetServiceQuota",
        "service-quotas.GetAWSDefaultServiceQuota servicequotas:GetAWSDefaultServiceQuota",
        "service-quotas.ListServiceQuotas servicequotas:ListServiceQuotas",
        "iam.SimulatePrincipalPolicy",
        needed=False,
    ),
    *_rights("preflight", "key", "kms.DescribeKey", needed=False),
    *_rights(
        "publish",
        "",
        "ec2.CopyImage ec2:CopyImage ec2:CreateTags",
        "ec2.DescribeImageAttribute",
        "ec2.ModifyImageAttribute",
        "ec2.DescribeSnapshotAttribute",
        "ec2.ModifySnapshotAttribute",
        "ec2.EnableImageDeprecation",
        "ec2.DisableImageDeprecation",
        "ec2.EnableImageDeregistrationProtection",
        "ec2.DisableImageDeregistrationProtection",
    ),
    *_rights(
        "publish",
        "",
        "ec2.GetImageBlockPublicAccessState",
        "ec2.GetSnapshotBlockPublicAccessState",
        "ec2.DeregisterImage",
        needed=False,
    ),
    *_rights("publish", "parameter", "ssm.GetParameters", "ssm.PutParameter", "ssm.DeleteParameter"),
    *_rights("prune", "", "ec2.DeregisterImage", "ec2.DeleteSnapshot"),
    *_rights(
        "prune", "bucket", "s3.ListObjectsV2 s3:ListBucket", "s3.ListMultipartUploads s3:ListBucketMultipartUploads"
    ),
    *_rights("prune", "object", "s3.AbortMultipartUpload", "s3.DeleteObjects s3:DeleteObject"),
    *_rights("classic", "bucket", "s3.DeleteBucket"),
    *_rights(
        "classic",
        "",
        "ec2.DeregisterImage",
        "ec2.ModifyImageAttribute",
        "ec2.RunInstances",
        "ec2.DescribeInstances",
        "ec2.TerminateInstances",
        "ec2.RebootInstances",
        "ec2.GetConsoleOutput",
        "ec2.CreateKeyPair",
        "ec2.ImportKeyPair",
        "ec2.DescribeKeyPairs",
        "ec2.DeleteKeyPair",
        "ec2.CreateSecurityGroup",
        "ec2.DescribeSecurityGroups",
        "ec2.DeleteSecurityGroup",
        "ec2.AuthorizeSecurityGroupIngress",
        "ec2.RevokeSecurityGroupIngress",
    ),
)

ENCRYPTING = (
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncrypt*",
)
"""On a KMS key that a snapshot is encrypted with, of whoever makes it: EBS asks KMS in the caller's name ("Requirements
for Amazon EBS encryption", EBS User Guide)."""


def actions(use: str, on: str) -> tuple[str, ...]:
    """The actions that a use cannot do without, on one kind of resource, sorted."""
    found = {name for each in RIGHTS if each.use == use and each.on == on and each.needed for name in each.actions}
    return tuple(sorted(found))


def resource(on: str, *, partition: str = "aws", bucket: str = "", key: str = "*") -> str:
    """The ARN, or the pattern of ARNs, that stands for a kind of resource in a policy."""
    return _ON[on][0].format(partition=partition, bucket=bucket, key=key)


def policy(
    uses: Iterable[str], *, bucket: str = "ami-factory-*", key: str = "", partition: str = "aws"
) -> dict[str, Any]:
    """The least policy for some uses. `key`: the ARN of a KMS key that snapshots are encrypted with, if they are."""
    statements = []
    for use in uses:
        kinds = dict.fromkeys(each.on for each in RIGHTS if each.use == use)
        for on in kinds:
            names = {name for each in RIGHTS if (each.use, each.on) == (use, on) for name in each.actions}
            if names and (on != "key" or key):
                statements.append(
                    _statement(
                        f"{USES[use]}{_place(on)}", names, resource(on, partition=partition, bucket=bucket, key=key)
                    )
                )
    if key:
        statements.append(_statement("EncryptSnapshots", ENCRYPTING, key))
    return {"Version": "2012-10-17", "Statement": statements}


def _place(on: str) -> str:
    return {"bucket": "InBucket", "object": "AsObjects", "key": "AboutKey", "parameter": "InParameters"}.get(on, "")


def _statement(name: str, names: Iterable[str], on: str) -> dict[str, Any]:
    return {"Sid": name, "Effect": "Allow", "Action": sorted(names), "Resource": on}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(policy([each for each in USES if each != "classic"]), indent=2) + "\n")
