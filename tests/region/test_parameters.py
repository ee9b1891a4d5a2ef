"""Parameter Store, Service Quotas and STS, as any AWS client sees them."""

import os
import secrets
import signal
from pathlib import Path
from typing import Any

import pytest

from builder.region import control
from builder.region.control import Status
from tests.support.faults import faults
from tests.support.regions import client, refused, running
from tests.support.snapshots import snapshot

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def ssm(region: Status) -> Any:
    return client("ssm", region.endpoint_url)


@pytest.fixture
def path() -> str:
    return f"/test/{secrets.token_hex(6)}"


def put(ssm: Any, name: str, value: str, **members: Any) -> int:
    return int(ssm.put_parameter(Name=name, Value=value, **{"Type": "String", **members})["Version"])


class TestParameters:
    def test_put_and_got(self, ssm: Any, path: str) -> None:
        name = f"{path}/web"
        assert put(ssm, name, "1", Description="d", Tags=[{"Key": "a", "Value": "1"}]) == 1
        with refused("ParameterAlreadyExists"):
            put(ssm, name, "2")
        assert put(ssm, name, "2", Overwrite=True) == 2
        found = ssm.get_parameter(Name=name)["Parameter"]
        modified = found.pop("LastModifiedDate")
        arn = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter{name}"
        assert found == {
            "Name": name,
            "Type": "String",
            "Value": "2",
            "Version": 2,
            "ARN": arn,
            "DataType": "text",
        }
        assert ssm.get_parameter(Name=arn)["Parameter"]["LastModifiedDate"] == modified
        assert ssm.get_parameter(Name=f"{name}:1")["Parameter"]["Value"] == "1"
        with refused("ParameterVersionNotFound"):
            ssm.get_parameter(Name=f"{name}:3")
        with refused("ParameterNotFound"):
            ssm.get_parameter(Name=f"{path}/none")
        tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"]
        assert tags == [{"Key": "a", "Value": "1"}]

    def test_labels_move(self, ssm: Any, path: str) -> None:
        name = f"{path}/web"
        for value in ("1", "2", "3"):
            put(ssm, name, value, Overwrite=True)
        answer = ssm.label_parameter_version(Name=name, ParameterVersion=1, Labels=["latest", "aws-x", "9"])
        assert (answer["InvalidLabels"], answer["ParameterVersion"]) == (["aws-x", "9"], 1)
        ssm.label_parameter_version(Name=name, Labels=["latest"])
        assert ssm.get_parameter(Name=f"{name}:latest")["Parameter"]["Value"] == "3"
        history = ssm.get_parameter_history(Name=name)["Parameters"]
        assert [(each["Version"], each["Value"], each["Labels"]) for each in history] == [
            (1, "1", []),
            (2, "2", []),
            (3, "3", ["latest"]),
        ]
        answer = ssm.unlabel_parameter_version(Name=name, ParameterVersion=3, Labels=["latest", "other"])
        assert (answer["RemovedLabels"], answer["InvalidLabels"]) == (["latest"], ["other"])
        with refused("ParameterVersionNotFound"):
            ssm.label_parameter_version(Name=name, ParameterVersion=9, Labels=["a"])

    def test_paths_and_pages(self, ssm: Any, path: str) -> None:
        for number in range(12):
            put(ssm, f"{path}/a{number:02}", str(number))
        put(ssm, f"{path}/deep/er", "x")
        paginator = ssm.get_paginator("get_parameters_by_path")
        names = [
            each["Name"]
            for page in paginator.paginate(Path=path, PaginationConfig={"PageSize": 5})
            for each in page["Parameters"]
        ]
        assert names == [f"{path}/a{number:02}" for number in range(12)]
        deep = [each["Name"] for page in paginator.paginate(Path=path, Recursive=True) for each in page["Parameters"]]
        assert len(deep) == 13
        filters = [{"Key": "Name", "Option": "BeginsWith", "Values": [f"{path}/a0"]}]
        assert len(ssm.describe_parameters(ParameterFilters=filters)["Parameters"]) == 10
        answer = ssm.get_parameters(Names=[f"{path}/a01", f"{path}/none", f"{path}/a01:1"])
        assert [each["Value"] for each in answer["Parameters"]] == ["1", "1"]
        assert answer["InvalidParameters"] == [f"{path}/none"]
        answer = ssm.delete_parameters(Names=[f"{path}/a01", f"{path}/none"])
        assert (answer["DeletedParameters"], answer["InvalidParameters"]) == ([f"{path}/a01"], [f"{path}/none"])
        ssm.delete_parameter(Name=f"{path}/a02")
        with refused("ParameterNotFound"):
            ssm.delete_parameter(Name=f"{path}/a02")

    def test_tags(self, ssm: Any, ec2: Any, path: str) -> None:
        put(ssm, path, "1")
        which = {"ResourceType": "Parameter", "ResourceId": path}
        ssm.add_tags_to_resource(**which, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
        ssm.remove_tags_from_resource(**which, TagKeys=["a"])
        assert ssm.list_tags_for_resource(**which)["TagList"] == [{"Key": "b", "Value": "2"}]
        filters = [{"Key": "tag:b", "Values": ["2"]}, {"Key": "Name", "Values": [path]}]
        assert len(ssm.describe_parameters(ParameterFilters=filters)["Parameters"]) == 1
        assert all(each["ResourceType"] for each in ec2.describe_tags()["Tags"])
        with refused("InvalidResourceId"):
            ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=f"{path}/none")

    def test_secrets_are_told_to_who_asks(self, ssm: Any, path: str) -> None:
        put(ssm, path, "hidden", Type="SecureString")
        assert "hidden" not in ssm.get_parameter(Name=path)["Parameter"]["Value"]
        assert ssm.get_parameter(Name=path, WithDecryption=True)["Parameter"]["Value"] == "hidden"

    def test_images_are_looked_for(self, ssm: Any, ec2: Any, region: Status, path: str) -> None:
        """An answer is no promise: what names no image is not kept, though the call succeeds."""
        root = snapshot(client("ebs", region.endpoint_url), {})
        mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": root}}]
        image_id = ec2.register_image(Name=path.replace("/", "-"), BlockDeviceMappings=mapping)["ImageId"]
        image = {"DataType": "aws:ec2:image"}
        assert put(ssm, path, image_id, **image) == 1
        assert ssm.get_parameter(Name=path)["Parameter"]["DataType"] == "aws:ec2:image"
        assert put(ssm, path, "ami-0123456789abcdef0", Overwrite=True, **image) == 2
        assert ssm.get_parameter(Name=path)["Parameter"]["Value"] == image_id
        put(ssm, f"{path}/other", "ami-0123456789abcdef0", **image)
        with refused("ParameterNotFound"):
            ssm.get_parameter(Name=f"{path}/other")
        with refused("ValidationException"):
            put(ssm, f"{path}/other", "no image", **image)

    @pytest.mark.parametrize(
        ("name", "members", "code"),
        [
            pytest.param("/aws/x", {}, "AccessDeniedException", id="AWS's own"),
            pytest.param("ssm-x", {}, "AccessDeniedException", id="SSM's own"),
            pytest.param("a/b", {}, "ValidationException", id="a path that is none"),
            pytest.param("/a b", {}, "ValidationException", id="a space"),
            pytest.param("/a" * 16, {}, "HierarchyLevelLimitExceededException", id="deep"),
            pytest.param("/a", {"Value": "x" * 4097}, "ValidationException", id="large"),
            pytest.param("/a", {"Type": "Number"}, "ValidationException", id="no type"),
            pytest.param("/a", {"DataType": "image"}, "ValidationException", id="no data type"),
            pytest.param("/a", {"AllowedPattern": "["}, "InvalidAllowedPatternException", id="no pattern"),
            pytest.param("/a", {"AllowedPattern": "b"}, "ParameterPatternMismatchException", id="another pattern"),
        ],
    )
    def test_refusals(self, name: str, members: Any, code: str, ssm: Any) -> None:
        with refused(code):
            put(ssm, name, **{"value": members.pop("Value", "a"), **members})

    def test_a_hundred_versions(self, ssm: Any, path: str) -> None:
        for number in range(101):
            put(ssm, path, str(number), Overwrite=True)
        history = ssm.get_paginator("get_parameter_history").paginate(Name=path)
        numbers = [each["Version"] for page in history for each in page["Parameters"]]
        assert numbers == list(range(2, 102))
        ssm.label_parameter_version(Name=path, ParameterVersion=2, Labels=["kept"])
        with refused("ParameterMaxVersionLimitExceeded"):
            put(ssm, path, "x", Overwrite=True)

    def test_regions_and_accounts_have_their_own(self, ssm: Any, region: Status, path: str) -> None:
        put(ssm, path, "here")
        for other in (
            client("ssm", region.endpoint_url, region="local-2"),
            client("ssm", region.endpoint_url, key="210987654321"),
        ):
            with refused("ParameterNotFound"):
                other.get_parameter(Name=path)
            put(other, path, "there")
        assert ssm.get_parameter(Name=path)["Parameter"]["Value"] == "here"

    def test_they_survive_a_kill(self, tmp_path: Path) -> None:
        with running(tmp_path) as status:
            put(client("ssm", status.endpoint_url), "/a", "1")
            os.kill(status.pid, signal.SIGKILL)
            ssm = client("ssm", control.start(tmp_path).endpoint_url)
            assert ssm.get_parameter(Name="/a")["Parameter"]["Value"] == "1"


class TestQuotas:
    def test_they_are_listed_and_got(self, region: Status) -> None:
        quotas = client("service-quotas", region.endpoint_url)
        listed = quotas.list_service_quotas(ServiceCode="ebs")["Quotas"]
        by_name = {each["QuotaName"]: each["Value"] for each in listed}
        assert by_name["Snapshots per Region"] == 100_000
        assert by_name["Concurrent snapshot copies per destination Region"] == 20
        public = quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-0E3CBAB9")["Quota"]
        assert (public["QuotaName"], public["Value"], public["Adjustable"]) == ("Public AMIs", 100, True)
        default = quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode="L-0E3CBAB9")["Quota"]
        assert default["Value"] == 5
        assert len(quotas.list_aws_default_service_quotas(ServiceCode="ec2")["Quotas"]) == 4
        with refused("NoSuchResourceException"):
            quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-00000000")
        with refused("NoSuchResourceException"):
            quotas.list_service_quotas(ServiceCode="none")

    def test_they_are_kept(self, tmp_path: Path) -> None:
        with running(tmp_path) as status:
            ebs, ec2 = (client(each, status.endpoint_url) for each in ("ebs", "ec2"))
            quotas = client("service-quotas", status.endpoint_url)
            root = snapshot(ebs, {})
            mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": root}}]
            one, two = (
                ec2.register_image(Name=f"name-{each}", BlockDeviceMappings=mapping)["ImageId"] for each in (1, 2)
            )
            rules = (
                {"fault": "quota", "quota": "L-0E3CBAB9", "value": 1},
                {"fault": "quota", "quota": "L-70015FFA", "value": 1},
                {"fault": "quota", "quota": "L-309BACF6", "value": 1},
            )
            with faults(status.endpoint_url, *rules):
                asked = quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-0E3CBAB9")["Quota"]
                assert asked["Value"] == 1
                everyone = {"Add": [{"Group": "all"}]}
                ec2.modify_image_attribute(ImageId=one, LaunchPermission=everyone)
                with refused("ResourceLimitExceeded", "public images"):
                    ec2.modify_image_attribute(ImageId=two, LaunchPermission=everyone)
                users = [{"UserId": f"{number:012}"} for number in range(2)]
                with refused("ResourceLimitExceeded"):
                    ec2.modify_image_attribute(ImageId=two, LaunchPermission={"Add": users})
                with refused("ServiceQuotaExceededException"):
                    ebs.start_snapshot(VolumeSize=1)


def test_who_asks(region: Status) -> None:
    """An access key of twelve digits is the account of that number."""
    for key, account in (("local", ACCOUNT), ("amazon", "137112412989"), ("210987654321", "210987654321")):
        assert client("sts", region.endpoint_url, key=key).get_caller_identity()["Account"] == account
