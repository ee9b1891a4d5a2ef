"""Security groups, as any AWS client sees them, and what the packet filter is told of them."""

import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import botocore.session
import pytest
from botocore.exceptions import ClientError

from builder.machine.network import Permission
from builder.region import control
from builder.region.ec2.groups.describe import filters_of
from builder.region.ec2.region import Region
from builder.region.network import permissions
from tests.support.bundles import make_bundle
from tests.support.regions import WithoutPower, client, refused, region_at, served

EVERYWHERE = "0.0.0.0/0"
SSH: dict[str, Any] = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A region whose instances stay pending, with an image to start."""

    region: Region
    ec2: Any
    image: str

    def group(self, name: str) -> dict[str, Any]:
        (found,) = self.ec2.describe_security_groups(GroupNames=[name])["SecurityGroups"]
        return dict(found)

    def rules(self, name: str) -> list[tuple[Any, ...]]:
        """What a group lets in, as plain values."""
        return [
            (each["IpProtocol"], each.get("FromPort"), each.get("ToPort"), source)
            for each in self.group(name)["IpPermissions"]
            for source in (
                *(found["CidrIp"] for found in each["IpRanges"]),
                *(found["GroupName"] for found in each["UserIdGroupPairs"]),
            )
        ]

    def run(self, *groups: str) -> str:
        answer = self.ec2.run_instances(ImageId=self.image, MinCount=1, MaxCount=1, SecurityGroups=list(groups))
        return str(answer["Instances"][0]["InstanceId"])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    region = region_at(tmp_path_factory.mktemp("desk"), WithoutPower)
    bundle = make_bundle(tmp_path_factory.mktemp("bundle"), region.identity.certificate)
    with served(region) as url:
        ec2, s3 = client("ec2", url), client("s3", url)
        s3.create_bucket(Bucket="images", ObjectOwnership="BucketOwnerPreferred")
        for file, content in bundle.files().items():
            s3.put_object(Bucket="images", Key=file, Body=content, ACL="aws-exec-read")
        image = ec2.register_image(Name="desk", ImageLocation=f"images/{bundle.manifest_name}")["ImageId"]
        yield Desk(region=region, ec2=ec2, image=image)


@pytest.fixture
def ec2(desk: Desk) -> Any:
    return desk.ec2


@pytest.fixture
def name(desk: Desk) -> str:
    """Of a group that is there."""
    made = f"group-{secrets.token_hex(6)}"
    desk.ec2.create_security_group(GroupName=made, Description="for a test")
    return made


class TestGroups:
    def test_the_default_one_is_always_there(self, desk: Desk) -> None:
        found = desk.group("default")
        pair = {"GroupId": found["GroupId"], "GroupName": "default"}
        account = desk.region.account
        assert {name: value for name, value in found.items() if name != "GroupId"} == {
            "GroupName": "default",
            "Description": "default group",
            "OwnerId": account,
            "SecurityGroupArn": f"arn:aws:ec2:us-east-1:{account}:security-group/{found['GroupId']}",
            "Tags": [],
            "IpPermissionsEgress": [],
            "IpPermissions": [
                {
                    "IpProtocol": protocol,
                    "FromPort": first,
                    "ToPort": last,
                    "IpRanges": [],
                    "Ipv6Ranges": [],
                    "PrefixListIds": [],
                    "UserIdGroupPairs": [{**pair, "UserId": account}],
                }
                for protocol, first, last in (("icmp", -1, -1), ("tcp", 0, 65535), ("udp", 0, 65535))
            ],
        }

    def test_created(self, desk: Desk, ec2: Any) -> None:
        tags = [{"Key": "a", "Value": "b"}]
        made = ec2.create_security_group(
            GroupName="web servers",
            Description="what the article runs",
            TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}],
        )
        assert re.fullmatch("sg-[0-9a-f]{17}", made["GroupId"])
        found = desk.group("web servers")
        assert (found["GroupId"], found["Description"], found["IpPermissions"], found["Tags"], made["Tags"]) == (
            made["GroupId"], "what the article runs", [], tags, tags,
        )  # fmt: skip
        assert "VpcId" not in found

    def test_created_twice(self, ec2: Any, name: str) -> None:
        with refused("InvalidGroup.Duplicate", f"'{name}' already exists"):
            ec2.create_security_group(GroupName=name, Description="again")

    @pytest.mark.parametrize(
        ("wanted", "code", "saying"),
        [
            ({"GroupName": "default"}, "InvalidGroup.Reserved", "reserved"),
            ({"GroupName": "sg-0123"}, "InvalidParameterValue", "sg-*"),
            ({"GroupName": ""}, "InvalidParameterValue", "groupName"),
            ({"GroupName": "x" * 256}, "InvalidParameterValue", "groupName"),
            ({"GroupName": "ü"}, "InvalidParameterValue", "groupName"),
            ({"GroupName": "a\nb"}, "InvalidParameterValue", "groupName"),
            ({"Description": ""}, "InvalidParameterValue", "groupDescription"),
            ({"VpcId": "vpc-01234567"}, "InvalidVpcID.NotFound", "vpc-01234567"),
        ],
    )
    def test_not_created(self, ec2: Any, wanted: dict[str, str], code: str, saying: str) -> None:
        with refused(code, saying):
            ec2.create_security_group(**{"GroupName": "another", "Description": "d", **wanted})

    def test_deleted(self, ec2: Any, name: str) -> None:
        ec2.authorize_security_group_ingress(GroupName=name, **SSH, CidrIp=EVERYWHERE)
        ec2.authorize_security_group_ingress(GroupName=name, SourceSecurityGroupName=name)
        (found,) = ec2.describe_security_groups(GroupNames=[name])["SecurityGroups"]
        ec2.create_tags(Resources=[found["GroupId"]], Tags=[{"Key": "a", "Value": "b"}])
        answer = ec2.delete_security_group(GroupId=found["GroupId"])
        assert (answer["Return"], answer["GroupId"]) == (True, found["GroupId"])
        for call in (
            lambda: ec2.describe_security_groups(GroupNames=[name]),
            lambda: ec2.describe_security_groups(GroupIds=[found["GroupId"]]),
            lambda: ec2.delete_security_group(GroupName=name),
            lambda: ec2.authorize_security_group_ingress(GroupName=name, **SSH, CidrIp=EVERYWHERE),
            lambda: ec2.revoke_security_group_ingress(GroupId=found["GroupId"], **SSH, CidrIp=EVERYWHERE),
            lambda: ec2.create_tags(Resources=[found["GroupId"]], Tags=[{"Key": "a", "Value": "b"}]),
        ):
            with refused("InvalidGroup.NotFound", "does not exist"):
                call()
        own = [{"Name": "group-id", "Values": [found["GroupId"]]}]
        assert ec2.describe_security_group_rules(Filters=own)["SecurityGroupRules"] == []
        resource = [{"Name": "resource-id", "Values": [found["GroupId"]]}]
        assert ec2.describe_tags(Filters=resource)["Tags"] == []

    def test_not_deleted(self, desk: Desk, ec2: Any, name: str) -> None:
        with refused("InvalidGroup.Reserved"):
            ec2.delete_security_group(GroupName="default")
        with refused("InvalidGroupId.Malformed"):
            ec2.delete_security_group(GroupId="sg-nonsense")
        with refused("MissingParameter"):
            ec2.delete_security_group()
        with refused("InvalidParameterCombination"):
            ec2.delete_security_group(GroupName=name, GroupId=desk.group(name)["GroupId"])

        ec2.create_security_group(GroupName=f"{name}-user", Description="d")
        ec2.authorize_security_group_ingress(GroupName=f"{name}-user", SourceSecurityGroupName=name)
        with refused("InvalidGroup.InUse", f"{name}-user"):
            ec2.delete_security_group(GroupName=name)
        ec2.delete_security_group(GroupName=f"{name}-user")

        instance = desk.run(name)
        with refused("InvalidGroup.InUse", "There are active instances using security group"):
            ec2.delete_security_group(GroupName=name)
        assert desk.group(name)["GroupName"] == name
        ec2.terminate_instances(InstanceIds=[instance])

    def test_as_many_as_there_may_be(self, tmp_path: Path) -> None:
        region = region_at(tmp_path, WithoutPower)
        with region.state.transaction() as database:
            rows = [(f"sg-{number:017x}", f"g{number}", "d", "2026") for number in range(499)]
            database.executemany("INSERT INTO security_groups VALUES (?, ?, ?, ?)", rows)
        with served(region) as url, refused("SecurityGroupLimitExceeded", "500"):
            client("ec2", url).create_security_group(GroupName="one more", Description="d")


class TestAuthorize:
    def test_flat_parameters(self, desk: Desk, ec2: Any, name: str) -> None:
        answer = ec2.authorize_security_group_ingress(GroupName=name, **SSH, CidrIp=EVERYWHERE)
        ec2.authorize_security_group_ingress(
            GroupId=desk.group(name)["GroupId"], IpProtocol="icmp", FromPort=8, ToPort=-1, CidrIp="10.1.2.3/8"
        )
        assert desk.rules(name) == [("icmp", 8, -1, "10.0.0.0/8"), ("tcp", 22, 22, EVERYWHERE)]
        (rule,) = answer["SecurityGroupRules"]
        account, group, identifier = desk.region.account, desk.group(name)["GroupId"], rule["SecurityGroupRuleId"]
        assert answer["Return"] is True
        assert rule == {
            "SecurityGroupRuleId": identifier,
            "GroupId": group,
            "GroupOwnerId": account,
            "IsEgress": False,
            **SSH,
            "CidrIpv4": EVERYWHERE,
            "Tags": [],
            "SecurityGroupRuleArn": f"arn:aws:ec2:us-east-1:{account}:security-group-rule/{identifier}",
        }

    def test_a_group_stands_for_all_its_traffic(self, desk: Desk, ec2: Any, name: str) -> None:
        ec2.authorize_security_group_ingress(
            GroupName=name, SourceSecurityGroupName="default", SourceSecurityGroupOwnerId=desk.region.account
        )
        assert desk.rules(name) == [
            ("icmp", -1, -1, "default"), ("tcp", 0, 65535, "default"), ("udp", 0, 65535, "default"),
        ]  # fmt: skip

    def test_permissions(self, desk: Desk, ec2: Any, name: str) -> None:
        default = desk.group("default")["GroupId"]
        tags = [{"Key": "a", "Value": "b"}]
        answer = ec2.authorize_security_group_ingress(
            GroupName=name,
            IpPermissions=[
                {
                    "IpProtocol": "6",
                    "FromPort": 80,
                    "ToPort": 81,
                    "IpRanges": [
                        {"CidrIp": "192.0.2.0/24", "Description": "the office"},
                        {"CidrIp": "203.0.113.7/32"},
                    ],
                    "UserIdGroupPairs": [{"GroupName": name}],
                },
                {"IpProtocol": "UDP", "FromPort": 53, "ToPort": 53, "UserIdGroupPairs": [{"GroupId": default}]},
                {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "198.51.100.0/24"}]},
            ],
            TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": tags}],
        )
        assert desk.rules(name) == [
            ("-1", None, None, "198.51.100.0/24"),
            ("tcp", 80, 81, "192.0.2.0/24"),
            ("tcp", 80, 81, "203.0.113.7/32"),
            ("tcp", 80, 81, name),
            ("udp", 53, 53, "default"),
        ]
        rules = answer["SecurityGroupRules"]
        assert [each["Tags"] for each in rules] == [tags] * 5
        assert [each.get("Description") for each in rules] == [None, None, "the office", None, None]
        assert {each["ReferencedGroupInfo"]["GroupId"] for each in rules if "ReferencedGroupInfo" in each} == {
            default, desk.group(name)["GroupId"],
        }  # fmt: skip
        assert desk.group(name)["IpPermissions"][1]["IpRanges"][0]["Description"] == "the office"

    def test_what_is_there_is_not_added_again(self, desk: Desk, ec2: Any, name: str) -> None:
        ec2.authorize_security_group_ingress(GroupName=name, **SSH, CidrIp="100.68.0.0/18")
        spoken = '"peer: 100.68.0.0/18, TCP, from port: 22, to port: 22, ALLOW" already exists'
        with refused("InvalidPermission.Duplicate", spoken):
            ec2.authorize_security_group_ingress(
                GroupName=name,
                IpPermissions=[
                    {**SSH, "IpRanges": [{"CidrIp": "9.9.9.9/32"}]},
                    {**SSH, "IpProtocol": "6", "IpRanges": [{"CidrIp": "100.68.0.18/18"}]},
                ],
            )
        with refused("InvalidParameterValue", "must not appear multiple times"):
            twice = [{"CidrIp": "9.9.9.9/32"}, {"CidrIp": "9.9.9.9/32", "Description": "again"}]
            ec2.authorize_security_group_ingress(GroupName=name, IpPermissions=[{**SSH, "IpRanges": twice}])
        assert desk.rules(name) == [("tcp", 22, 22, "100.68.0.0/18")]

    @pytest.mark.parametrize(
        ("permission", "code", "saying"),
        [
            ({"IpProtocol": "tcpp"}, "InvalidParameterValue", "Invalid value 'tcpp' for IP protocol"),
            ({"IpProtocol": "50"}, "InvalidPermission.Malformed", 'Unsupported IP protocol "50"'),
            ({"IpProtocol": "256"}, "InvalidParameterValue", "IP protocol"),
            ({"IpProtocol": None}, "MissingParameter", "ipProtocol"),
            ({"FromPort": None}, "InvalidParameterValue", "Must specify both from and to ports with TCP/UDP"),
            ({"FromPort": -1, "ToPort": -1}, "InvalidParameterValue", "port (-1) out of range"),
            ({"ToPort": 65536}, "InvalidParameterValue", "port (65536) out of range"),
            ({"FromPort": 23}, "InvalidParameterValue", "Invalid TCP port range (23, 22)"),
            ({"IpProtocol": "icmp", "FromPort": 256}, "InvalidParameterValue", "ICMP type (256) out of range"),
            ({"IpProtocol": "icmp", "FromPort": -1, "ToPort": 0}, "InvalidParameterValue", "ICMP code (0)"),
            ({"IpProtocol": "icmp", "FromPort": None}, "InvalidParameterValue", "type and code"),
            ({"IpRanges": []}, "MissingParameter", "source"),
            ({"IpRanges": [{"Description": "x"}]}, "InvalidParameterValue", "CIDR block  is malformed"),
            ({"IpRanges": [{"CidrIp": "10.0.0.1"}]}, "InvalidParameterValue", "CIDR block 10.0.0.1 is malformed"),
            ({"IpRanges": [{"CidrIp": "10.0.0.0/33"}]}, "InvalidParameterValue", "malformed"),
            ({"IpRanges": [{"CidrIp": "10.0.0.0/255.0.0.0"}]}, "InvalidParameterValue", "malformed"),
            ({"IpRanges": [{"CidrIp": "10.0.0.256/32"}]}, "InvalidParameterValue", "malformed"),
            ({"IpRanges": [{"CidrIp": "1.2.3.4/32; drop"}]}, "InvalidParameterValue", "malformed"),
            ({"IpRanges": [{"CidrIp": "::/0"}]}, "InvalidParameterValue", "malformed"),
            ({"Ipv6Ranges": [{"CidrIpv6": "::/0"}]}, "InvalidParameterValue", "no IPv6"),
            ({"PrefixListIds": [{"PrefixListId": "pl-1"}]}, "InvalidParameterValue", "no prefix lists"),
            ({"IpRanges": [{"CidrIp": EVERYWHERE, "Description": "ü"}]}, "InvalidParameterValue", "description"),
            ({"UserIdGroupPairs": [{"GroupName": "nobody's"}]}, "InvalidGroup.NotFound", "nobody's"),
            ({"UserIdGroupPairs": [{"GroupId": "sg-1"}]}, "InvalidGroupId.Malformed", "sg-1"),
            ({"UserIdGroupPairs": [{"UserId": "amazon-elb", "GroupName": "x"}]}, "InvalidGroup.NotFound", "elb/x"),
            ({"UserIdGroupPairs": [{"UserId": "1"}]}, "MissingParameter", "groupName or groupId"),
            ({"UserIdGroupPairs": [{"GroupName": "default", "VpcId": "vpc-1"}]}, "InvalidParameterValue", "VPCs"),
        ],
    )
    def test_what_is_no_rule(
        self, desk: Desk, ec2: Any, name: str, permission: dict[str, Any], code: str, saying: str
    ) -> None:
        wanted = {**SSH, "IpRanges": [{"CidrIp": EVERYWHERE}], **permission}
        given = {key: value for key, value in wanted.items() if value is not None}
        with refused(code, saying):
            good = {**SSH, "FromPort": 1, "IpRanges": [{"CidrIp": EVERYWHERE}]}
            ec2.authorize_security_group_ingress(GroupName=name, IpPermissions=[good, given])
        assert desk.rules(name) == []

    @pytest.mark.parametrize(
        ("wanted", "code", "saying"),
        [
            ({}, "MissingParameter", "ipPermissions"),
            (SSH, "MissingParameter", "cidrIp"),
            ({"CidrIp": EVERYWHERE}, "MissingParameter", "ipProtocol"),
            ({"SourceSecurityGroupOwnerId": "1"}, "MissingParameter", "sourceSecurityGroupName"),
            ({**SSH, "SourceSecurityGroupName": "default"}, "InvalidParameterCombination", "IpProtocol"),
            (
                {**SSH, "CidrIp": EVERYWHERE, "IpPermissions": [{**SSH, "IpRanges": [{"CidrIp": EVERYWHERE}]}]},
                "InvalidParameterCombination",
                "'ipProtocol'",
            ),
        ],
    )
    def test_flat_parameters_that_do_not_fit(
        self, ec2: Any, name: str, wanted: dict[str, Any], code: str, saying: str
    ) -> None:
        with refused(code, saying):
            ec2.authorize_security_group_ingress(GroupName=name, **wanted)

    def test_as_many_rules_as_there_may_be(self, desk: Desk, ec2: Any, name: str) -> None:
        def of(*numbers: int) -> list[dict[str, Any]]:
            return [{**SSH, "IpRanges": [{"CidrIp": f"10.0.0.{each}/32"} for each in numbers]}]

        ec2.authorize_security_group_ingress(GroupName=name, IpPermissions=of(*range(99)))
        with refused("RulesPerSecurityGroupLimitExceeded", "100"):
            ec2.authorize_security_group_ingress(GroupName=name, IpPermissions=of(200, 201))
        ec2.authorize_security_group_ingress(GroupName=name, IpPermissions=of(200))
        assert len(desk.rules(name)) == 100


class TestRevoke:
    def test_by_what_it_lets_in(self, desk: Desk, ec2: Any, name: str) -> None:
        both = [{**SSH, "IpRanges": [{"CidrIp": "192.0.2.0/24", "Description": "d"}, {"CidrIp": EVERYWHERE}]}]
        made = ec2.authorize_security_group_ingress(GroupName=name, IpPermissions=both)["SecurityGroupRules"]
        gone = ec2.revoke_security_group_ingress(GroupName=name, **SSH, CidrIp="192.0.2.9/24")
        assert gone["RevokedSecurityGroupRules"] == [
            {
                "SecurityGroupRuleId": next(
                    each["SecurityGroupRuleId"] for each in made if each["CidrIpv4"] == "192.0.2.0/24"
                ),
                "GroupId": desk.group(name)["GroupId"],
                "IsEgress": False,
                **SSH,
                "CidrIpv4": "192.0.2.0/24",
                "Description": "d",
            }
        ]
        assert desk.rules(name) == [("tcp", 22, 22, EVERYWHERE)]

    def test_as_described(self, desk: Desk, ec2: Any, name: str) -> None:
        """Scripts empty a group by revoking what they were shown."""
        ec2.authorize_security_group_ingress(GroupName=name, SourceSecurityGroupName=name)
        ec2.authorize_security_group_ingress(
            GroupName=name, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": EVERYWHERE}]}]
        )
        ec2.revoke_security_group_ingress(GroupName=name, IpPermissions=desk.group(name)["IpPermissions"])
        assert desk.rules(name) == []

    def test_by_id(self, desk: Desk, ec2: Any, name: str) -> None:
        ec2.authorize_security_group_ingress(GroupName=name, **SSH, CidrIp=EVERYWHERE)
        own = [{"Name": "group-id", "Values": [desk.group(name)["GroupId"]]}]
        (rule,) = ec2.describe_security_group_rules(Filters=own)["SecurityGroupRules"]
        ec2.create_tags(Resources=[rule["SecurityGroupRuleId"]], Tags=[{"Key": "a", "Value": "b"}])
        group = desk.group(name)["GroupId"]
        with refused("InvalidParameterCombination"):
            ids = [rule["SecurityGroupRuleId"]]
            ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=ids, CidrIp=EVERYWHERE)
        ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
        assert desk.rules(name) == []
        with refused("InvalidSecurityGroupRuleId.NotFound", rule["SecurityGroupRuleId"]):
            ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
        with refused("InvalidSecurityGroupRuleId.Malformed"):
            ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=["22"])
        resource = [{"Name": "resource-id", "Values": [rule["SecurityGroupRuleId"]]}]
        assert ec2.describe_tags(Filters=resource)["Tags"] == []

    def test_what_is_not_there(self, desk: Desk, ec2: Any, name: str) -> None:
        ec2.authorize_security_group_ingress(GroupName=name, **SSH, CidrIp=EVERYWHERE)
        with refused("InvalidPermission.NotFound", "does not exist in this security group"):
            ec2.revoke_security_group_ingress(
                GroupName=name,
                IpPermissions=[
                    {**SSH, "IpRanges": [{"CidrIp": EVERYWHERE}]},
                    {**SSH, "ToPort": 23, "IpRanges": [{"CidrIp": EVERYWHERE}]},
                ],
            )
        assert desk.rules(name) == [("tcp", 22, 22, EVERYWHERE)]

    def test_a_description_is_changed(self, desk: Desk, ec2: Any, name: str) -> None:
        ec2.authorize_security_group_ingress(GroupName=name, **SSH, CidrIp=EVERYWHERE)
        told = [{**SSH, "IpRanges": [{"CidrIp": EVERYWHERE, "Description": "everybody"}]}]
        ec2.update_security_group_rule_descriptions_ingress(GroupName=name, IpPermissions=told)
        assert desk.group(name)["IpPermissions"][0]["IpRanges"] == told[0]["IpRanges"]
        with refused("InvalidPermission.NotFound"):
            other = [{**SSH, "IpRanges": [{"CidrIp": "9.9.9.9/32"}]}]
            ec2.update_security_group_rule_descriptions_ingress(GroupName=name, IpPermissions=other)


class TestDescribe:
    def test_filters(self, desk: Desk, ec2: Any, name: str) -> None:
        ec2.authorize_security_group_ingress(GroupName=name, **{**SSH, "FromPort": 21}, CidrIp="192.0.2.0/24")
        ec2.authorize_security_group_ingress(GroupName=name, SourceSecurityGroupName=name)
        group = desk.group(name)["GroupId"]
        ec2.create_tags(Resources=[group], Tags=[{"Key": "team", "Value": name}])
        for filters in (
            {"group-name": f"{name[:-1]}?"},
            {"group-id": group, "description": "for a *", "owner-id": desk.region.account},
            {"tag:team": name, "tag-key": "team"},
            {"ip-permission.cidr": "192.0.2.0/24", "ip-permission.from-port": "21", "group-name": name},
            {"ip-permission.group-id": group, "ip-permission.protocol": "udp", "ip-permission.to-port": "65535"},
            {"ip-permission.group-name": name, "ip-permission.user-id": desk.region.account},
        ):
            wanted = [{"Name": key, "Values": [value]} for key, value in filters.items()]
            found = ec2.describe_security_groups(Filters=wanted)["SecurityGroups"]
            assert (filters, [each["GroupName"] for each in found]) == (filters, [name])
        for key, value in (("vpc-id", "*"), ("egress.ip-permission.cidr", "*"), ("ip-permission.ipv6-cidr", "*")):
            assert ec2.describe_security_groups(Filters=[{"Name": key, "Values": [value]}])["SecurityGroups"] == []
        with refused("InvalidParameterValue", "'colour' is invalid"):
            ec2.describe_security_groups(Filters=[{"Name": "colour", "Values": ["red"]}])

    def test_every_filter_of_the_reference(self) -> None:
        model = botocore.session.get_session().get_service_model("ec2")
        text = model.operation_model("DescribeSecurityGroups").input_shape.members["Filters"].documentation
        known = set(re.findall(r"<code>([a-z0-9.-]+)</code> -", text))
        assert known - filters_of("", {}).keys() == set()
        assert filters_of("", {}).keys() - known == set()

    def test_pages(self, desk: Desk, ec2: Any, name: str) -> None:
        for number in range(6):
            ec2.create_security_group(GroupName=f"{name}-{number}", Description="d")
        pages = list(ec2.get_paginator("describe_security_groups").paginate(PaginationConfig={"PageSize": 5}))
        names = [each["GroupName"] for page in pages for each in page["SecurityGroups"]]
        assert len(pages) > 1
        assert len(names) == len(set(names))
        assert {"default", f"{name}-5"} <= set(names)
        with refused("InvalidParameterValue", "between 5 and 1000"):
            ec2.describe_security_groups(MaxResults=1001)
        with refused("InvalidParameterValue", "between 5 and 1000"):
            ec2.describe_security_group_rules(MaxResults=1001)

    def test_rules(self, desk: Desk, ec2: Any, name: str) -> None:
        (made,) = ec2.authorize_security_group_ingress(GroupName=name, **SSH, CidrIp=EVERYWHERE)["SecurityGroupRules"]
        identifier = made["SecurityGroupRuleId"]
        for wanted in (
            {"SecurityGroupRuleIds": [identifier]},
            {"Filters": [{"Name": "security-group-rule-id", "Values": [identifier]}]},
            {"Filters": [{"Name": "group-id", "Values": [made["GroupId"]]}]},
        ):
            assert ec2.describe_security_group_rules(**wanted)["SecurityGroupRules"] == [made]
        with refused("InvalidSecurityGroupRuleId.NotFound"):
            ec2.describe_security_group_rules(SecurityGroupRuleIds=["sgr-01234567"])
        with refused("InvalidSecurityGroupRuleId.Malformed"):
            ec2.describe_security_group_rules(SecurityGroupRuleIds=["rule"])
        pages = list(ec2.get_paginator("describe_security_group_rules").paginate(PaginationConfig={"PageSize": 5}))
        assert made in [each for page in pages for each in page["SecurityGroupRules"]]

    def test_what_clients_are_told_that_look_for_a_vpc(self, desk: Desk, ec2: Any, name: str) -> None:
        attributes = ec2.describe_account_attributes(AttributeNames=["supported-platforms", "default-vpc"])
        assert [
            (each["AttributeName"], [value["AttributeValue"] for value in each["AttributeValues"]])
            for each in attributes["AccountAttributes"]
        ] == [("supported-platforms", ["EC2"]), ("default-vpc", ["none"])]
        default = [{"Name": "is-default", "Values": ["true"]}]
        assert (ec2.describe_vpcs(Filters=default)["Vpcs"], ec2.describe_subnets()["Subnets"]) == ([], [])
        with refused("InvalidVpcID.NotFound"):
            ec2.describe_vpcs(VpcIds=["vpc-01234567"])
        with refused("InvalidSubnetID.NotFound"):
            ec2.describe_subnets(SubnetIds=["subnet-01234567"])
        with refused("InvalidParameterValue", "colour"):
            ec2.describe_account_attributes(AttributeNames=["colour"])
        group = desk.group(name)["GroupId"]
        everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": EVERYWHERE}]}]
        for call in (ec2.authorize_security_group_egress, ec2.revoke_security_group_egress):
            with refused("InvalidParameterValue", "Only Amazon VPC security groups"):
                call(GroupId=group, IpPermissions=everything)


def test_as_the_first_tools_asked(desk: Desk, name: str) -> None:
    """Query parameters as in the API's first years, signed by version 2."""

    def ask(**wanted: str) -> str:
        query = urlencode({**wanted, "Version": "2008-02-01", "AWSAccessKeyId": "local", "Signature": "x"})
        with urlopen(f"{desk.ec2.meta.endpoint_url}/?{query}", timeout=10) as answer:
            return str(answer.read().decode())

    ssh = {"GroupName": name, "IpProtocol": "tcp", "FromPort": "22", "ToPort": "22", "CidrIp": EVERYWHERE}
    assert "<return>true</return>" in ask(Action="AuthorizeSecurityGroupIngress", **ssh)
    assert "<groupId>" in ask(Action="CreateSecurityGroup", GroupName=f"{name}-2", GroupDescription="what for")
    found = ask(Action="DescribeSecurityGroups", **{"GroupName.1": name, "GroupName.2": f"{name}-2"})
    assert re.findall("<groupName>(.*?)</groupName>", found) == [name, f"{name}-2"]
    assert re.findall("<groupDescription>(.*?)</groupDescription>", found) == ["for a test", "what for"]
    group = {"IpPermissions.1.Groups.1.GroupName": f"{name}-2", "IpPermissions.1.Groups.1.UserId": desk.region.account}
    ports = {"IpPermissions.1.FromPort": "80", "IpPermissions.1.ToPort": "80"}
    ask(
        Action="AuthorizeSecurityGroupIngress",
        GroupName=name,
        **{"IpPermissions.1.IpProtocol": "tcp"},
        **ports,
        **group,
    )
    assert desk.rules(name) == [("tcp", 22, 22, EVERYWHERE), ("tcp", 80, 80, f"{name}-2")]
    assert "<return>true</return>" in ask(Action="RevokeSecurityGroupIngress", **ssh)
    assert desk.rules(name) == [("tcp", 80, 80, f"{name}-2")]


def test_the_filter_is_told_who_may_reach_whom(desk: Desk, ec2: Any, name: str) -> None:
    """The groups of instances, and the addresses of their members, as dom0 gets them."""
    ec2.create_security_group(GroupName=f"{name}-db", Description="d")
    ec2.authorize_security_group_ingress(GroupName=name, **SSH, CidrIp="203.0.113.0/24")
    ec2.authorize_security_group_ingress(
        GroupName=f"{name}-db",
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 3306, "ToPort": 3306, "UserIdGroupPairs": [{"GroupName": name}]},
            {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupName": f"{name}-db"}]},
        ],
    )
    web, other, database = desk.run(name), desk.run(name), desk.run(f"{name}-db")
    addresses = {
        instance["InstanceId"]: instance["PrivateIpAddress"]
        for each in ec2.describe_instances(InstanceIds=[web, other, database])["Reservations"]
        for instance in each["Instances"]
    }
    ssh = Permission(protocol="tcp", first=22, last=22, cidrs=("203.0.113.0/24",))
    found = permissions(desk.region.state)
    assert (found[web], found[other]) == ((ssh,), (ssh,))
    mysql, every = sorted(found[database], key=lambda each: each.protocol, reverse=True)
    assert (mysql.protocol, mysql.first, mysql.last, mysql.cidrs) == ("tcp", 3306, 3306, ())
    assert (set(mysql.addresses), every.protocol, every.addresses) == (
        {addresses[web], addresses[other]}, "all", (addresses[database],),
    )  # fmt: skip
    ec2.terminate_instances(InstanceIds=[web, other, database])


class Watched(WithoutPower):
    """Machines that remember how often they were told to look again."""

    looked = 0

    def regroup(self) -> None:
        self.looked += 1
        super().regroup()


def test_the_machines_look_again_when_rules_have_changed(tmp_path: Path) -> None:
    region = region_at(tmp_path, Watched)
    machines: Any = region.machines
    with served(region) as url:
        ec2 = client("ec2", url)
        rule = {"GroupName": "default", **SSH, "CidrIp": EVERYWHERE}
        counts = []
        ec2.authorize_security_group_ingress(**rule)
        counts.append(machines.looked)
        with refused("InvalidPermission.Duplicate"):
            ec2.authorize_security_group_ingress(**rule)
        counts.append(machines.looked)
        ec2.revoke_security_group_ingress(**rule)
        counts.append(machines.looked)
    assert counts == [1, 1, 2]


def test_equal_calls_at_one_time(desk: Desk, ec2: Any, name: str) -> None:
    """One of them is done, the others are told so."""

    def authorize(number: int) -> str:
        del number
        try:
            ec2.authorize_security_group_ingress(GroupName=name, **SSH, CidrIp=EVERYWHERE)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "done"

    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(authorize, range(8)))
    assert codes == ["InvalidPermission.Duplicate"] * 7 + ["done"]
    assert desk.rules(name) == [("tcp", 22, 22, EVERYWHERE)]


def test_what_was_revoked_of_the_default_group_stays_so(tmp_path: Path) -> None:
    with served(region_at(tmp_path, WithoutPower)) as url:
        ec2 = client("ec2", url)
        (default,) = ec2.describe_security_groups()["SecurityGroups"]
        ec2.revoke_security_group_ingress(GroupName="default", IpPermissions=default["IpPermissions"])
        ec2.create_security_group(GroupName="another", Description="d")
        found = {each["GroupName"]: each["IpPermissions"] for each in ec2.describe_security_groups()["SecurityGroups"]}
    assert found == {"default": [], "another": []}


def test_groups_survive_a_restart(tmp_path: Path) -> None:
    try:
        ec2 = client("ec2", control.start(tmp_path).endpoint_url)
        made = ec2.create_security_group(GroupName="mine", Description="d")["GroupId"]
        ec2.authorize_security_group_ingress(GroupId=made, **SSH, CidrIp=EVERYWHERE)
        before = ec2.describe_security_groups()["SecurityGroups"]
        control.stop(tmp_path)
        ec2 = client("ec2", control.start(tmp_path).endpoint_url)
        assert ec2.describe_security_groups()["SecurityGroups"] == before
    finally:
        control.stop(tmp_path)
