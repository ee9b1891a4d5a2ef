"""The table of rights against the calls in the code, and against the page that shows the policy."""

import ast
import json
import re
from functools import cache

import pytest
from botocore import xform_name
from botocore.loaders import Loader

from builder.catalog import rights
from tests.support.plans import ROOT

SERVICES = ("s3", "ec2", "ebs", "sts", "ssm", "kms", "iam", "service-quotas")
# Words that are operations by chance: methods of cryptography's keys, names of stages.
CHANCE = {"kms.Decrypt", "kms.Encrypt", "kms.Sign", "kms.Verify"}
ASIDE = ("region", "catalog")
"""Rooms that call nobody: the region that answers, and the table itself."""


@cache
def operations() -> dict[str, frozenset[str]]:
    """`service.Operation` by the word that a call is written with: put_object, or PutSnapshotBlock."""
    found: dict[str, set[str]] = {}
    for service in SERVICES:
        for name in Loader().load_service_model(service, "service-2")["operations"]:
            for word in (xform_name(name), name):
                found.setdefault(word, set()).add(f"{service}.{name}")
    return {word: frozenset(names) for word, names in found.items()}


def words(tree: ast.Module) -> set[str]:
    """What is called as a method, and every text that may name what is called."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {each.attr for each in calls if isinstance(each, ast.Attribute)} | texts


def called() -> set[str]:
    paths = [each for each in (ROOT / "builder").rglob("*.py") if each.relative_to(ROOT).parts[1] not in ASIDE]
    found = set().union(*(words(ast.parse(each.read_text())) for each in paths)) & operations().keys()
    return set().union(*(operations()[each] for each in found)) - CHANCE


def test_every_operation_that_is_called_is_in_the_table_and_no_other() -> None:
    # Put together of parts in classic/groups.py.
    pieced = {"ec2.AuthorizeSecurityGroupIngress", "ec2.RevokeSecurityGroupIngress"}
    assert called() | pieced == {each.operation for each in rights.RIGHTS}


def test_every_operation_is_one() -> None:
    known = set().union(*operations().values())
    assert [each.operation for each in rights.RIGHTS if each.operation not in known] == []
    assert len({(each.operation, each.use) for each in rights.RIGHTS}) == len(rights.RIGHTS)
    assert {each.use for each in rights.RIGHTS} == set(rights.USES)


def test_the_page_shows_the_policy() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/aws.md").read_text(), re.DOTALL)
    assert json.loads(shown) == rights.policy([each for each in rights.USES if each != "classic"])


def test_a_policy_for_one_bucket_and_key() -> None:
    key = "arn:aws:kms:us-east-1:111122223333:key/k"
    assert rights.policy(["register", "preflight"], bucket="b", key=key)["Statement"] == [
        {
            "Sid": "RegisterImages",
            "Effect": "Allow",
            "Action": ["ec2:CreateTags", "ec2:RegisterImage"],
            "Resource": "*",
        },
        {
            "Sid": "AskBeforehand",
            "Effect": "Allow",
            "Action": [
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeRegions",
                "ec2:GetEbsDefaultKmsKeyId",
                "ec2:GetEbsEncryptionByDefault",
                "iam:SimulatePrincipalPolicy",
                "servicequotas:GetAWSDefaultServiceQuota",
                "servicequotas:GetServiceQuota",
                "servicequotas:ListServiceQuotas",
            ],
            "Resource": "*",
        },
        {"Sid": "AskBeforehandAboutKey", "Effect": "Allow", "Action": ["kms:DescribeKey"], "Resource": key},
        {"Sid": "EncryptSnapshots", "Effect": "Allow", "Action": sorted(rights.ENCRYPTING), "Resource": key},
    ]


@pytest.mark.parametrize("use", rights.USES)
def test_an_identifier_of_iam(use: str) -> None:
    """Sid: letters and digits only, each once."""
    names = [each["Sid"] for each in rights.policy([use])["Statement"]]
    assert all(name.isalnum() for name in names)
    assert len(set(names)) == len(names)
