"""EC2's image calls, as any AWS client sees them: plain boto3, every answer held against botocore's model."""

import re
import secrets
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.exceptions import ClientError

from builder.region.control import Status
from builder.region.identity import identity
from tests.support.bundles import TestBundle, make_bundle
from tests.support.regions import client, refused

ACCOUNT = "123456789012"
KERNEL = "aki-919dcaf8"


def upload(s3: Any, bucket: str, bundle: TestBundle, *, prefix: str = "b/", acl: str = "aws-exec-read") -> str:
    """The bundle's files in S3; the location to register."""
    for name, content in bundle.files().items():
        s3.put_object(Bucket=bucket, Key=f"{prefix}{name}", Body=content, ACL=acl)
    return f"{bucket}/{prefix}{bundle.manifest_name}"


@pytest.fixture
def location(s3: Any, bucket: str, bundle: TestBundle) -> str:
    return upload(s3, bucket, bundle)


@pytest.fixture
def name() -> str:
    return f"image-{secrets.token_hex(6)}"


def describe(ec2: Any, image_id: str) -> dict[str, Any]:
    (image,) = ec2.describe_images(ImageIds=[image_id])["Images"]
    return dict(image)


class TestRegister:
    def test_keeps_every_attribute(self, ec2: Any, location: str, name: str) -> None:
        image_id = ec2.register_image(
            Name=name,
            Description="what it is",
            ImageLocation=f"/{location}",
            BlockDeviceMappings=[
                {"DeviceName": "/dev/sda2", "VirtualName": "ephemeral0"},
                {"DeviceName": "/dev/sdb", "NoDevice": ""},
            ],
            RootDeviceName="/dev/sda1",
            ImdsSupport="v2.0",
            TagSpecifications=[
                {"ResourceType": "image", "Tags": [{"Key": "b", "Value": "2"}]},
                {"ResourceType": "image", "Tags": [{"Key": "a", "Value": "ä&<"}]},
            ],
        )["ImageId"]
        assert re.fullmatch(r"ami-[0-9a-f]{17}", image_id)
        image = describe(ec2, image_id)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", image.pop("CreationDate"))
        assert image == {
            "ImageId": image_id,
            "ImageLocation": location,
            "ImageType": "machine",
            "Name": name,
            "Description": "what it is",
            "Architecture": "x86_64",
            "KernelId": KERNEL,
            "OwnerId": ACCOUNT,
            "Public": False,
            "State": "available",
            "VirtualizationType": "paravirtual",
            "Hypervisor": "xen",
            "EnaSupport": False,
            "ImdsSupport": "v2.0",
            "RootDeviceType": "instance-store",
            "RootDeviceName": "/dev/sda1",
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/sda2", "VirtualName": "ephemeral0"},
                {"DeviceName": "/dev/sdb", "NoDevice": ""},
            ],
            "PlatformDetails": "Linux/UNIX",
            "UsageOperation": "RunInstances",
            "ProductCodes": [],
            "Tags": [{"Key": "a", "Value": "ä&<"}, {"Key": "b", "Value": "2"}],
        }

    def test_hvm(self, ec2: Any, s3: Any, bucket: str, region: Status, work: Path, name: str) -> None:
        plain = make_bundle(work, identity(region.directory).certificate, kernel_id="", mappings=())
        location = upload(s3, bucket, plain)
        image_id = ec2.register_image(
            Name=name,
            ImageLocation=location,
            VirtualizationType="hvm",
            EnaSupport=True,
            SriovNetSupport="simple",
            BootMode="uefi",
            TpmSupport="v2.0",
        )["ImageId"]
        image = describe(ec2, image_id)
        kept = ("VirtualizationType", "EnaSupport", "SriovNetSupport", "BootMode", "TpmSupport", "RootDeviceName")
        assert {each: image[each] for each in kept} == {
            "VirtualizationType": "hvm",
            "EnaSupport": True,
            "SriovNetSupport": "simple",
            "BootMode": "uefi",
            "TpmSupport": "v2.0",
            "RootDeviceName": "/dev/sda1",
        }
        assert "KernelId" not in image

    def test_one_name_many_callers(self, ec2: Any, location: str, name: str) -> None:
        def attempt(_: int) -> str:
            try:
                return str(ec2.register_image(Name=name, ImageLocation=location)["ImageId"])
            except ClientError as error:
                return str(error.response["Error"]["Code"])

        with ThreadPoolExecutor(8) as pool:
            answers = sorted(pool.map(attempt, range(8)))
        assert answers[:7] == ["InvalidAMIName.Duplicate"] * 7
        assert answers[7].startswith("ami-")

    def test_a_name_is_free_again_after_deregistering(self, ec2: Any, location: str, name: str) -> None:
        first = ec2.register_image(Name=name, ImageLocation=location)["ImageId"]
        with refused("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {first}"):
            ec2.register_image(Name=name, ImageLocation=location)
        ec2.deregister_image(ImageId=first)
        assert ec2.register_image(Name=name, ImageLocation=location)["ImageId"] != first

    def test_a_dry_run_registers_nothing(self, ec2: Any, location: str, name: str) -> None:
        with refused("DryRunOperation"):
            ec2.register_image(Name=name, ImageLocation=location, DryRun=True)
        assert ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [name]}])["Images"] == []

    @pytest.mark.parametrize(
        ("changes", "code", "saying"),
        [
            pytest.param({"Name": "a{b}c"}, "InvalidAMIName.Malformed", "3 and 128", id="name"),
            pytest.param({"Name": "x" * 129}, "InvalidAMIName.Malformed", "3 and 128", id="long-name"),
            pytest.param({"Description": "d" * 256}, "InvalidParameterValue", "255", id="description"),
            pytest.param({"Architecture": "i386"}, "InvalidParameterValue", "manifest says x86_64", id="architecture"),
            pytest.param({"Architecture": "vax"}, "InvalidParameterValue", "vax", id="unknown-architecture"),
            pytest.param({"KernelId": "aki-8f9dcae6"}, "InvalidParameterValue", "is for i386", id="kernel-of-other"),
            pytest.param({"KernelId": "aki-00000000"}, "InvalidAMIID.NotFound", "aki-00000000", id="kernel-unknown"),
            pytest.param({"KernelId": "kernel"}, "InvalidAMIID.Malformed", '"kernel"', id="kernel-malformed"),
            pytest.param({"RamdiskId": "ari-00000000"}, "InvalidAMIID.NotFound", "ari-00000000", id="ramdisk-unknown"),
            pytest.param({"EnaSupport": True}, "InvalidParameterCombination", "hvm", id="ena-pv"),
            pytest.param({"BootMode": "uefi"}, "InvalidParameterCombination", "hvm", id="uefi-pv"),
            pytest.param(
                {"VirtualizationType": "hvm", "KernelId": KERNEL}, "InvalidParameterCombination", "", id="kernel-hvm"
            ),
            pytest.param({"VirtualizationType": "xen"}, "InvalidParameterValue", "xen", id="virtualization"),
            pytest.param({"RootDeviceName": "vda"}, "InvalidParameterValue", "vda", id="root-device"),
            pytest.param({"BillingProducts": ["bp-1"]}, "UnauthorizedOperation", "", id="billing"),
            pytest.param(
                {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": "snap-1"}}]},
                "UnsupportedOperation",
                "beside a bundle",
                id="ebs",
            ),
            pytest.param(
                {"BlockDeviceMappings": [{"DeviceName": "/dev/sda2", "VirtualName": "floppy"}]},
                "InvalidBlockDeviceMapping",
                "floppy",
                id="virtual-name",
            ),
            pytest.param(
                {"BlockDeviceMappings": [{"DeviceName": each, "NoDevice": ""} for each in ("sdb", "/dev/sdb")]},
                "InvalidBlockDeviceMapping",
                "more than one",
                id="device-twice",
            ),
            pytest.param(
                {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]},
                "InvalidParameterValue",
                "instance",
                id="tags-of-another-kind",
            ),
            pytest.param(
                {"TagSpecifications": [{"ResourceType": "image", "Tags": [{"Key": "aws:x", "Value": "b"}]}]},
                "InvalidParameterValue",
                "reserved",
                id="reserved-tag",
            ),
            pytest.param({"ImageLocation": "nowhere"}, "InvalidParameterValue", "bucket/key", id="location"),
            pytest.param({"ImageLocation": ""}, "MissingParameter", "ImageLocation", id="no-location"),
            pytest.param({"ImageLocation": "no-such-bucket-here/m"}, "InvalidManifest", "HTTP 404", id="no-bucket"),
        ],
    )
    def test_refuses(self, ec2: Any, location: str, name: str, changes: dict[str, Any], code: str, saying: str) -> None:
        with refused(code, saying):
            ec2.register_image(**{"Name": name, "ImageLocation": location, **changes})
        assert ec2.describe_images(Filters=[{"Name": "name", "Values": [name]}])["Images"] == []


def replace(old: str, new: str) -> Callable[[bytes], bytes]:
    def edit(manifest: bytes) -> bytes:
        assert old.encode() in manifest
        return manifest.replace(old.encode(), new.encode(), 1)

    return edit


def swap_user_and_type(manifest: bytes) -> bytes:
    return re.sub(rb"(<user>.*?</user>)(<type>.*?</type>)", rb"\2\1", manifest)


def bundled_one_byte_more(manifest: bytes) -> bytes:
    return re.sub(rb"<bundled_size>(\d+)<", lambda found: b"<bundled_size>%d<" % (int(found[1]) + 1), manifest)


class TestBundles:
    @pytest.mark.parametrize(
        ("edit", "saying"),
        [
            pytest.param(swap_user_and_type, "out of order", id="order"),
            pytest.param(replace("<?xml version='1.0'?>", ""), "declaration", id="no-declaration"),
            pytest.param(replace("2007-10-10", "2030-01-01"), "2030-01-01", id="version"),
            pytest.param(replace(f"<user>{ACCOUNT}", "<user>999999999999"), "999999999999", id="account"),
            pytest.param(replace("<type>machine", "<type>ramdisk"), "machine images", id="type"),
            pytest.param(replace("x86_64", "ppc"), "ppc", id="architecture"),
            pytest.param(replace("<device>sda2", "<device>xvdal"), "Invalid device name 'xvdal'", id="device"),
            pytest.param(replace("ephemeral0", "floppy"), "Invalid virtual name 'floppy'", id="virtual"),
            pytest.param(replace(".part.", ".part.9"), "HTTP 403", id="part-missing"),
            pytest.param(bundled_one_byte_more, "bundled_size", id="size"),
            pytest.param(replace("<size>2048", "<size>10737418241"), "10 GiB", id="too-large"),
            pytest.param(replace("</manifest>", ""), "not XML", id="cut-off"),
            pytest.param(lambda text: re.sub(rb"<signature>.*</signature>", b"", text), "signature", id="no-signature"),
            pytest.param(lambda text: text[:20], "Invalid AMI manifest", id="rubbish"),
        ],
    )
    def test_a_wrong_manifest_is_refused(
        self,
        ec2: Any,
        s3: Any,
        bucket: str,
        location: str,
        bundle: TestBundle,
        name: str,
        edit: Callable[[bytes], bytes],
        saying: str,
    ) -> None:
        key = location.removeprefix(f"{bucket}/")
        s3.put_object(Bucket=bucket, Key=key, Body=edit(bundle.manifest), ACL="aws-exec-read")
        with refused("InvalidManifest", saying):
            ec2.register_image(Name=name, ImageLocation=location)

    def test_another_regions_bundle_is_refused(self, ec2: Any, s3: Any, bucket: str, work: Path, name: str) -> None:
        """OpenSSL answers a wrong padding with random bytes since 3.2: the text must be looked at."""
        other = make_bundle(work, identity(work / "elsewhere").certificate)
        with refused("InvalidManifest", "not made for this region's EC2 certificate"):
            ec2.register_image(Name=name, ImageLocation=upload(s3, bucket, other))

    @pytest.mark.parametrize("which", ["manifest", "part"])
    def test_what_ec2_may_not_read_is_refused(
        self, ec2: Any, s3: Any, bucket: str, location: str, bundle: TestBundle, name: str, which: str
    ) -> None:
        file = bundle.manifest_name if which == "manifest" else next(iter(bundle.parts))
        s3.put_object_acl(Bucket=bucket, Key=f"b/{file}", ACL="private")
        address = f"http://s3.amazonaws.com:80/{bucket}/b/{file}"
        with refused("InvalidManifest", f"HTTP 403 (Forbidden) response for URL {address}: check your S3 ACLs"):
            ec2.register_image(Name=name, ImageLocation=location)
        owner = s3.get_object_acl(Bucket=bucket, Key=f"b/{file}")["Owner"]["ID"]
        za_team = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
        s3.put_object_acl(Bucket=bucket, Key=f"b/{file}", GrantRead=f'id="{za_team}"', GrantFullControl=f'id="{owner}"')
        ec2.register_image(Name=name, ImageLocation=location)

    def test_public_read_will_do(self, ec2: Any, s3: Any, bucket: str, bundle: TestBundle, name: str) -> None:
        with refused("AccessDenied"):
            upload(s3, bucket, bundle, acl="public-read")
        s3.delete_public_access_block(Bucket=bucket)
        ec2.register_image(Name=name, ImageLocation=upload(s3, bucket, bundle, acl="public-read"))

    def test_enforced_ownership_takes_ec2s_grant_away(
        self, ec2: Any, s3: Any, bucket: str, location: str, name: str
    ) -> None:
        controls = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls)
        with refused("InvalidManifest", "HTTP 403"):
            ec2.register_image(Name=name, ImageLocation=location)

    def test_a_part_of_another_digest_is_refused_when_s3_knows_it(
        self, ec2: Any, s3: Any, bucket: str, location: str, bundle: TestBundle, name: str
    ) -> None:
        file, content = next(iter(bundle.parts.items()))
        wrong = bytes([content[0] ^ 1]) + content[1:]
        options = {"Bucket": bucket, "Key": f"b/{file}", "ACL": "aws-exec-read", "ChecksumAlgorithm": "SHA1"}
        s3.put_object(Body=wrong, **options)
        with refused("InvalidManifest", f"the digest of {file}"):
            ec2.register_image(Name=name, ImageLocation=location)
        s3.put_object(Body=content, **options)
        ec2.register_image(Name=name, ImageLocation=location)

    def test_what_is_in_s3_unbundles(self, s3: Any, bucket: str, location: str, bundle: TestBundle) -> None:
        parts = b"".join(s3.get_object(Bucket=bucket, Key=f"b/{each}")["Body"].read() for each in bundle.parts)
        script = f"openssl enc -d -aes-128-cbc -K {bundle.key} -iv {bundle.iv} | gunzip | tar --extract --to-stdout"
        found = subprocess.run(["sh", "-c", script], input=parts, capture_output=True, check=True).stdout
        assert found == bytes(range(256)) * 8


class TestDescribe:
    @pytest.fixture
    def image(self, ec2: Any, location: str, name: str) -> dict[str, Any]:
        image_id = ec2.register_image(
            Name=name,
            Description="a [strange] *one*",
            ImageLocation=location,
            BlockDeviceMappings=[{"DeviceName": "/dev/sda2", "VirtualName": "ephemeral0"}],
            TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "role", "Value": f"web-{name}"}]}],
        )["ImageId"]
        return describe(ec2, image_id)

    @pytest.mark.parametrize(
        ("filter_name", "member"),
        [
            ("architecture", "Architecture"),
            ("creation-date", "CreationDate"),
            ("description", "Description"),
            ("ena-support", "EnaSupport"),
            ("hypervisor", "Hypervisor"),
            ("image-id", "ImageId"),
            ("image-type", "ImageType"),
            ("is-public", "Public"),
            ("kernel-id", "KernelId"),
            ("manifest-location", "ImageLocation"),
            ("name", "Name"),
            ("owner-id", "OwnerId"),
            ("root-device-name", "RootDeviceName"),
            ("root-device-type", "RootDeviceType"),
            ("state", "State"),
            ("virtualization-type", "VirtualizationType"),
        ],
    )
    def test_filters_by_members(self, ec2: Any, image: dict[str, Any], filter_name: str, member: str) -> None:
        value = image[member]
        text = str(value).lower() if isinstance(value, bool) else value
        own = {"Name": "image-id", "Values": [image["ImageId"]]}

        def found(*values: str) -> bool:
            wanted = [own, {"Name": filter_name, "Values": list(values)}]
            return ec2.describe_images(Filters=wanted)["Images"] == [image]

        plain = text.replace("*", r"\*")
        assert (found(plain), found("nothing", plain), found(f"{plain[:2]}*"), found(f"?{plain[1:]}")) == (True,) * 4
        assert (found("nothing"), found(f"x{plain}"), found(f"?{plain}"), found(plain.upper() + "!")) == (False,) * 4

    @pytest.mark.parametrize(
        ("filter_name", "values", "passes"),
        [
            ("tag:role", ["web-*"], True),
            ("tag:role", ["db"], False),
            ("tag:none", ["*"], False),
            ("tag-key", ["role"], True),
            ("tag-key", ["r?le", "x"], True),
            ("tag-key", ["none"], False),
            ("block-device-mapping.device-name", ["/dev/sda2"], True),
            ("block-device-mapping.device-name", ["/dev/sdc"], False),
            ("block-device-mapping.snapshot-id", ["*"], False),
            ("owner-alias", ["amazon"], False),
            ("platform", ["windows"], False),
            ("description", [r"a [strange] \*one\*"], True),
            ("description", ["a ?strange? *"], True),
            ("description", ["*"], True),
        ],
    )
    def test_other_filters(
        self, ec2: Any, image: dict[str, Any], filter_name: str, values: list[str], passes: bool
    ) -> None:
        wanted = [{"Name": "name", "Values": [image["Name"]]}, {"Name": filter_name, "Values": values}]
        assert ec2.describe_images(Filters=wanted)["Images"] == ([image] if passes else [])

    def test_every_documented_filter_is_taken_and_no_other(self, ec2: Any) -> None:
        shape = botocore.session.get_session().get_service_model("ec2").shape_for("DescribeImagesRequest")
        listed = re.findall(r"<li> <p> <code>([a-z.-]+)</code> ", shape.members["Filters"].documentation)
        severities = {"informational", "low", "medium", "high", "critical"}
        documented = [each for each in listed if each not in severities]
        assert len(documented) > 40
        for each in documented:
            ec2.describe_images(Filters=[{"Name": each, "Values": ["x"]}])
        with refused("InvalidParameterValue", "The filter 'colour' is invalid"):
            ec2.describe_images(Filters=[{"Name": "colour", "Values": ["x"]}])

    def test_kernels(self, ec2: Any) -> None:
        pattern = {"Name": "manifest-location", "Values": ["*pv-grub-hd0_*"]}
        kernels = ec2.describe_images(
            Owners=["amazon"], Filters=[{"Name": "image-type", "Values": ["kernel"]}, pattern]
        )
        assert {each["ImageId"]: each["Architecture"] for each in kernels["Images"]} == {
            "aki-919dcaf8": "x86_64",
            "aki-8f9dcae6": "i386",
        }
        assert {each["ImageOwnerAlias"] for each in kernels["Images"]} == {"amazon"}

    def test_owners_and_users(self, ec2: Any, image: dict[str, Any]) -> None:
        def found(**wanted: Any) -> set[str]:
            return {each["ImageId"] for each in ec2.describe_images(**wanted)["Images"]} & {image["ImageId"], KERNEL}

        own = image["ImageId"]
        assert found() == {own, KERNEL}
        assert found(Owners=["self"]) == found(Owners=[ACCOUNT]) == {own}
        assert found(Owners=["amazon"]) == found(ExecutableUsers=["all"]) == {KERNEL}
        assert found(Owners=["self", "amazon"]) == {own, KERNEL}
        assert found(Owners=["111122223333"]) == found(ExecutableUsers=["self"]) == set()
        ec2.modify_image_attribute(ImageId=own, LaunchPermission={"Add": [{"UserId": "111122223333"}]})
        assert found(ExecutableUsers=["111122223333"]) == {own}
        ec2.modify_image_attribute(ImageId=own, OperationType="add", Attribute="launchPermission", UserGroups=["all"])
        assert found(ExecutableUsers=["all"]) == {own, KERNEL}
        assert describe(ec2, own)["Public"] is True
        with refused("InvalidUserID.Malformed", '"me"'):
            ec2.describe_images(Owners=["me"])

    def test_ids(self, ec2: Any, image: dict[str, Any]) -> None:
        with refused("InvalidAMIID.Malformed", 'Invalid id: "ami-1"'):
            ec2.describe_images(ImageIds=["ami-1"])
        with refused("InvalidAMIID.NotFound", "The image id '[ami-0123456789abcdef0]' does not exist"):
            ec2.describe_images(ImageIds=[image["ImageId"], "ami-0123456789abcdef0"])

    def test_pages(self, ec2: Any, image: dict[str, Any], location: str) -> None:
        tag = {"ResourceType": "image", "Tags": [{"Key": "page", "Value": image["Name"]}]}
        made = [
            ec2.register_image(Name=f"{image['Name']}-{each}", ImageLocation=location, TagSpecifications=[tag])[
                "ImageId"
            ]
            for each in range(5)
        ]
        wanted = {"Filters": [{"Name": "tag:page", "Values": [image["Name"]]}]}
        pages = [
            [each["ImageId"] for each in page["Images"]]
            for page in ec2.get_paginator("describe_images").paginate(**wanted, PaginationConfig={"PageSize": 2})
        ]
        assert [len(each) for each in pages] == [2, 2, 1]
        assert sorted(each for page in pages for each in page) == sorted(made)
        with refused("InvalidNextToken"):
            ec2.describe_images(NextToken="bm8=", **wanted)
        with refused("InvalidParameterValue", "maxResults"):
            ec2.describe_images(MaxResults=0)

    def test_deregistered(self, ec2: Any, image: dict[str, Any]) -> None:
        own = image["ImageId"]
        assert ec2.deregister_image(ImageId=own)["Return"] is True
        with refused("InvalidAMIID.NotFound"):
            ec2.describe_images(ImageIds=[own])
        for call in (
            lambda: ec2.deregister_image(ImageId=own),
            lambda: ec2.create_tags(Resources=[own], Tags=[{"Key": "a", "Value": "b"}]),
            lambda: ec2.describe_image_attribute(ImageId=own, Attribute="description"),
            lambda: ec2.modify_image_attribute(ImageId=own, Description={"Value": "x"}),
        ):
            with refused("InvalidAMIID.Unavailable", own):
                call()
        assert ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [own]}])["Tags"] == []


class TestAttributes:
    @pytest.fixture
    def image_id(self, ec2: Any, location: str, name: str) -> str:
        return str(ec2.register_image(Name=name, ImageLocation=location, Description="first")["ImageId"])

    def test_every_attribute_can_be_described(self, ec2: Any, image_id: str) -> None:
        session = botocore.session.get_session().get_service_model("ec2")
        answers = {
            each: ec2.describe_image_attribute(ImageId=image_id, Attribute=each)
            for each in session.shape_for("ImageAttributeName").enum
        }
        for each in answers.values():
            del each["ResponseMetadata"]
        assert answers["description"] == {"ImageId": image_id, "Description": {"Value": "first"}}
        assert answers["kernel"] == {"ImageId": image_id, "KernelId": {"Value": KERNEL}}
        assert answers["launchPermission"] == {"ImageId": image_id, "LaunchPermissions": []}
        assert answers["bootMode"] == {"ImageId": image_id, "BootMode": {}}

    def test_description(self, ec2: Any, image_id: str) -> None:
        ec2.modify_image_attribute(ImageId=image_id, Description={"Value": "second"})
        assert describe(ec2, image_id)["Description"] == "second"
        ec2.modify_image_attribute(ImageId=image_id, Attribute="description", Value="third")
        assert describe(ec2, image_id)["Description"] == "third"

    def test_imds_support(self, ec2: Any, image_id: str) -> None:
        ec2.modify_image_attribute(ImageId=image_id, ImdsSupport={"Value": "v2.0"})
        assert describe(ec2, image_id)["ImdsSupport"] == "v2.0"
        with refused("InvalidParameterValue"):
            ec2.modify_image_attribute(ImageId=image_id, ImdsSupport={"Value": "v1.0"})

    def test_launch_permissions(self, ec2: Any, image_id: str) -> None:
        def permissions() -> list[dict[str, str]]:
            answer = ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
            return list(answer["LaunchPermissions"])

        users = ["111122223333", "444455556666"]
        ec2.modify_image_attribute(
            ImageId=image_id, LaunchPermission={"Add": [{"UserId": users[1]}, {"UserId": users[0]}, {"Group": "all"}]}
        )
        assert permissions() == [{"UserId": users[0]}, {"UserId": users[1]}, {"Group": "all"}]
        ec2.modify_image_attribute(ImageId=image_id, OperationType="remove", UserIds=users[:1], UserGroups=["all"])
        assert permissions() == [{"UserId": users[1]}]
        ec2.reset_image_attribute(ImageId=image_id, Attribute="launchPermission")
        assert permissions() == []

    @pytest.mark.parametrize(
        ("wanted", "code"),
        [
            ({"LaunchPermission": {"Add": [{"UserId": "me"}]}}, "InvalidAMIAttributeItemValue"),
            ({"LaunchPermission": {"Add": [{"Group": "some"}]}}, "InvalidAMIAttributeItemValue"),
            ({"LaunchPermission": {}}, "InvalidParameterCombination"),
            ({}, "InvalidParameterCombination"),
            ({"Description": {"Value": "a"}, "ImdsSupport": {"Value": "v2.0"}}, "InvalidParameterCombination"),
            ({"Attribute": "kernel", "Value": "aki-1"}, "InvalidParameterValue"),
            ({"Attribute": "launchPermission", "UserIds": ["111122223333"]}, "MissingParameter"),
            ({"ProductCodes": ["x"]}, "UnsupportedOperation"),
        ],
    )
    def test_refuses(self, ec2: Any, image_id: str, wanted: dict[str, Any], code: str) -> None:
        with refused(code):
            ec2.modify_image_attribute(ImageId=image_id, **wanted)

    def test_amazons_images_are_not_ours(self, ec2: Any) -> None:
        for call in (
            lambda: ec2.deregister_image(ImageId=KERNEL),
            lambda: ec2.modify_image_attribute(ImageId=KERNEL, Description={"Value": "x"}),
            lambda: ec2.create_tags(Resources=[KERNEL], Tags=[{"Key": "a", "Value": "b"}]),
        ):
            with refused("AuthFailure", "Not authorized for image:aki-919dcaf8"):
                call()

    def test_tags(self, ec2: Any, image_id: str) -> None:
        def tags(**wanted: Any) -> dict[str, str]:
            own = {"Name": "resource-id", "Values": [image_id]}
            found = ec2.describe_tags(Filters=[own, *wanted.get("also", ())])["Tags"]
            assert {(each["ResourceId"], each["ResourceType"]) for each in found} <= {(image_id, "image")}
            return {each["Key"]: each["Value"] for each in found}

        ec2.create_tags(Resources=[image_id], Tags=[{"Key": each, "Value": "1"} for each in "abcd"])
        ec2.create_tags(Resources=[image_id], Tags=[{"Key": "a", "Value": "2"}])
        assert tags() == {"a": "2", "b": "1", "c": "1", "d": "1"}
        assert tags(also=[{"Name": "value", "Values": ["2"]}]) == {"a": "2"}
        assert tags(also=[{"Name": "key", "Values": ["b", "c"]}]) == {"b": "1", "c": "1"}
        assert tags(also=[{"Name": "tag:d", "Values": ["1"]}]) == {"d": "1"}
        assert tags(also=[{"Name": "resource-type", "Values": ["instance"]}]) == {}
        ec2.delete_tags(
            Resources=[image_id], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b"}, {"Key": "c", "Value": "1"}]
        )
        assert tags() == {"a": "2", "d": "1"}
        ec2.delete_tags(Resources=[image_id])
        assert tags() == {}

    def test_wrong_tags(self, ec2: Any, image_id: str) -> None:
        many = [{"Key": f"k{each}", "Value": ""} for each in range(51)]
        for resources, tags, code in (
            ([image_id], many, "TagLimitExceeded"),
            ([image_id], [{"Key": "k" * 129, "Value": ""}], "InvalidParameterValue"),
            ([image_id], [{"Key": "k", "Value": "v" * 257}], "InvalidParameterValue"),
            ([image_id], [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}], "InvalidParameterValue"),
            (["i-0123456789abcdef0"], many[:1], "InvalidInstanceID.NotFound"),
            (["vol-0123456789abcdef0"], many[:1], "InvalidID"),
            (["ami-0123456789abcdef0"], many[:1], "InvalidAMIID.NotFound"),
        ):
            with refused(code):
                ec2.create_tags(Resources=resources, Tags=tags)
        assert "Tags" not in describe(ec2, image_id)


class TestService:
    def test_who_and_where(self, region: Status, ec2: Any) -> None:
        who = client("sts", region.endpoint_url).get_caller_identity()
        assert (who["Account"], who["Arn"]) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
        names = [each["RegionName"] for each in ec2.describe_regions()["Regions"]]
        assert names == ["us-east-1", "local-2", "local-3"]
        one = ec2.describe_regions(RegionNames=["local-2"])["Regions"]
        assert [each["RegionName"] for each in one] == ["local-2"]
        zones = ec2.describe_availability_zones(Filters=[{"Name": "state", "Values": ["available"]}])
        assert [each["ZoneName"] for each in zones["AvailabilityZones"]] == ["us-east-1a", "us-east-1b"]
        with refused("InvalidParameterValue", "eu-west-1"):
            ec2.describe_regions(RegionNames=["eu-west-1"])

    def test_what_it_does_not_have_is_refused(self, region: Status, ec2: Any, s3: Any, bucket: str) -> None:
        def elsewhere(service: str) -> Any:
            return client(service, region.endpoint_url, checked=False)

        for call in (
            lambda: ec2.create_volume(AvailabilityZone="us-east-1a", Size=1),
            lambda: elsewhere("iam").list_users(),
            lambda: elsewhere("dynamodb").list_tables(),
            lambda: elsewhere("ssm").list_commands(),
            lambda: client("ec2", region.endpoint_url, region="local-2").describe_instances(),
            lambda: client("ec2", region.endpoint_url, region="local-2").create_key_pair(KeyName="k"),
            lambda: elsewhere("sts").get_session_token(),
        ):
            with refused("UnsupportedOperation", "local region"):
                call()
        for call in (
            lambda: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}),
            lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"", ServerSideEncryption="aws:kms"),
            lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"", StorageClass="GLACIER"),
        ):
            with refused("NotImplemented", "local region"):
                call()

    def test_a_caller_without_credentials(self, region: Status) -> None:
        nobody = client("ec2", region.endpoint_url, signature_version=UNSIGNED)
        with refused("AuthFailure"):
            nobody.describe_images()

    @pytest.mark.parametrize(
        ("form", "code"),
        [
            ("Action=DescribeImages&Colour=red", "UnknownParameter"),
            ("Action=DescribeImages&MaxResults=many", "InvalidParameterValue"),
            ("Action=DescribeEverything", "InvalidAction"),
            ("Action=RegisterImage", "MissingParameter"),
            ("Action=DescribeImages&ImageId.1=ami-1", "InvalidAMIID.Malformed"),
        ],
    )
    def test_wrong_requests(self, region: Status, form: str, code: str) -> None:
        answer = raw(
            region,
            f"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: AWS x\r\nConnection: close\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n{form}",
        )
        assert f"<Code>{code}</Code>" in answer
        assert answer.startswith("HTTP/1.1 400 ")

    def test_rubbish_does_not_hurt(self, region: Status, s3: Any) -> None:
        for request in (
            "\x00\x01\x02\r\n\r\n",
            "PUT /x/y HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
            "PUT /x/y HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "GET /%00%ff/../../etc/passwd?list-type=2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "PATCH / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        ):
            answer = raw(region, request)
            assert " 500 " not in answer.partition("\r\n")[0]
        assert s3.list_buckets()["Buckets"] is not None

    def test_listens_on_loopback_only(self, region: Status) -> None:
        inodes = set()
        for link in Path(f"/proc/{region.pid}/fd").iterdir():
            inodes |= set(re.findall(r"socket:\[(\d+)\]", str(link.readlink())))
        listening = []
        for table in ("tcp", "tcp6", "udp", "udp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[9] in inodes and (table.startswith("udp") or fields[3] == "0A"):
                    listening.append((table, fields[1]))
        port = int(region.endpoint_url.rpartition(":")[2])
        assert listening == [("tcp", f"0100007F:{port:04X}")]


def raw(region: Status, request: str) -> str:
    """What the region says to these bytes."""
    port = int(region.endpoint_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.decode("latin-1")


def test_boto3_resources_work_too(region: Status, bucket: str) -> None:
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="us-east-1")
    place = session.resource("s3", endpoint_url=region.endpoint_url).Bucket(bucket)
    place.put_object(Key="k", Body=b"v")
    assert [each.key for each in place.objects.all()] == ["k"]
    assert list(session.resource("ec2", endpoint_url=region.endpoint_url).images.filter(Owners=["111122223333"])) == []
