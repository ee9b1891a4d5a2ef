"""The tables, whole: each column at its place, what is empty too."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from builder.classic import lines
from builder.classic.lines import Line, text

IMAGE: dict[str, Any] = {
    "ImageId": "ami-1a2b3c4d",
    "ImageLocation": "infoweek-test/infoweek-test.fs.manifest.xml",
    "OwnerId": "123456789012",
    "State": "available",
    "Public": False,
    "Architecture": "x86_64",
    "ImageType": "machine",
    "KernelId": "aki-919dcaf8",
    "RootDeviceType": "instance-store",
    "VirtualizationType": "paravirtual",
    "Hypervisor": "xen",
    "Name": "never shown",
    "BlockDeviceMappings": [
        {"DeviceName": "/dev/sda2", "VirtualName": "ephemeral0"},
        {"DeviceName": "/dev/sdh", "Ebs": {"SnapshotId": "snap-1", "VolumeSize": 8, "DeleteOnTermination": True}},
        {"DeviceName": "/dev/sdc", "NoDevice": ""},
    ],
    "Tags": [{"Key": "ami-factory:key", "Value": "3f9c"}, {"Key": "empty", "Value": ""}],
}
PENDING: dict[str, Any] = {
    "InstanceId": "i-2ddc0374",
    "ImageId": "ami-0d153248",
    "PublicDnsName": "",
    "PrivateDnsName": "",
    "State": {"Code": 0, "Name": "pending"},
    "AmiLaunchIndex": 0,
    "InstanceType": "m1.small",
}
RUNNING: dict[str, Any] = {
    **PENDING,
    "PublicDnsName": "127.17.3.9",
    "PrivateDnsName": "ip-10-248-1-17.ec2.internal",
    "State": {"Code": 16, "Name": "running"},
    "KeyName": "gsg-keypair",
    "AmiLaunchIndex": 1,
    "ProductCodes": [{"ProductCodeId": "A1"}, {"ProductCodeId": "B2"}],
    "LaunchTime": datetime(2012, 10, 12, 14, 47, 45, tzinfo=UTC),
    "Placement": {"AvailabilityZone": "us-east-1a", "GroupName": "", "Tenancy": "default"},
    "KernelId": "aki-919dcaf8",
    "RamdiskId": "ari-1",
    "Monitoring": {"State": "disabled"},
    "PublicIpAddress": "127.17.3.9",
    "PrivateIpAddress": "10.248.1.17",
    "RootDeviceType": "instance-store",
    "VirtualizationType": "paravirtual",
    "Hypervisor": "xen",
    "ClientToken": "once",
    "SecurityGroups": [{"GroupId": "sg-1", "GroupName": "default"}, {"GroupId": "sg-2", "GroupName": "websrv"}],
    "EbsOptimized": False,
    "BlockDeviceMappings": [
        {
            "DeviceName": "/dev/sdh",
            "Ebs": {
                "VolumeId": "vol-1",
                "AttachTime": datetime(2012, 10, 12, 14, 47, 49, tzinfo=UTC),
                "DeleteOnTermination": True,
            },
        }
    ],
    "Tags": [{"Key": "Name", "Value": "web"}],
}


def test_an_image_with_its_disks_and_tags() -> None:
    assert text(lines.image(IMAGE)) == (
        "IMAGE\tami-1a2b3c4d\tinfoweek-test/infoweek-test.fs.manifest.xml\t123456789012\tavailable\tprivate\t\tx86_64\t"
        "machine\taki-919dcaf8\t\t\tinstance-store\tparavirtual\txen\n"
        "BLOCKDEVICEMAPPING\tEPHEMERAL\t/dev/sda2\tephemeral0\n"
        "BLOCKDEVICEMAPPING\tEBS\t/dev/sdh\t\tsnap-1\t8\ttrue\t\t\n"
        "TAG\timage\tami-1a2b3c4d\tami-factory:key\t3f9c\n"
        "TAG\timage\tami-1a2b3c4d\tempty\t"
    )


def test_a_public_image_of_somebody_with_an_alias() -> None:
    found = {**IMAGE, "ImageOwnerAlias": "amazon", "Public": True, "BlockDeviceMappings": [], "Tags": []}
    (line,) = lines.image(found)
    assert line[3:6] == ("amazon", "available", "public")


def test_a_reservation_with_its_instances() -> None:
    found = {"ReservationId": "r-54a9ea12", "OwnerId": "123456789012", "Groups": [], "Instances": [RUNNING, PENDING]}
    assert text(lines.reservation(found)) == (
        "RESERVATION\tr-54a9ea12\t123456789012\tdefault,websrv\n"
        "INSTANCE\ti-2ddc0374\tami-0d153248\t127.17.3.9\tip-10-248-1-17.ec2.internal\trunning\tgsg-keypair\t1\tA1,B2\t"
        "m1.small\t2012-10-12T14:47:45+0000\tus-east-1a\taki-919dcaf8\tari-1\t\tmonitoring-disabled\t127.17.3.9\t"
        "10.248.1.17\t\t\tinstance-store\t\t\t\t\tparavirtual\txen\tonce\tsg-1,sg-2\tdefault\tfalse\t\n"
        "BLOCKDEVICE\t/dev/sdh\tvol-1\t2012-10-12T14:47:49.000Z\ttrue\n"
        "TAG\tinstance\ti-2ddc0374\tName\tweb\n"
        "INSTANCE\ti-2ddc0374\tami-0d153248\t\t\tpending\t\t0\t\tm1.small" + "\t" * 22
    )


def test_every_instance_has_as_many_columns() -> None:
    assert [len(next(lines.instance(each))) for each in (PENDING, RUNNING)] == [32, 32]


def test_groups_of_a_reservation_of_classic() -> None:
    (line,) = lines.reservation({"ReservationId": "r-1", "Groups": [{"GroupId": "sg-1", "GroupName": "default"}]})
    assert line == ("RESERVATION", "r-1", "", "default")


def test_a_change_of_state() -> None:
    found = {"InstanceId": "i-1", "PreviousState": {"Name": "running"}, "CurrentState": {"Name": "shutting-down"}}
    assert lines.change(found) == ("INSTANCE", "i-1", "running", "shutting-down")


def test_a_group_and_what_it_lets_in() -> None:
    found = {
        "GroupId": "sg-33d1045a",
        "OwnerId": "693041077886",
        "GroupName": "default",
        "Description": "default\tgroup",
        "IpPermissions": [
            {
                "IpProtocol": "tcp",
                "FromPort": 0,
                "ToPort": 65535,
                "UserIdGroupPairs": [{"UserId": "693041077886", "GroupName": "default", "GroupId": "sg-33d1045a"}],
                "IpRanges": [{"CidrIp": "10.0.0.0/8"}],
                "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
            },
            {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        ],
        "IpPermissionsEgress": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
        "Tags": [{"Key": "Name", "Value": "all"}],
    }
    assert text(lines.group(found)) == (
        "GROUP\tsg-33d1045a\t693041077886\tdefault\tdefault group\t\n"
        "PERMISSION\t693041077886\tdefault\tALLOWS\ttcp\t0\t65535\tFROM\tUSER\t693041077886\tNAME default\t"
        "ID sg-33d1045a\tingress\n"
        "PERMISSION\t693041077886\tdefault\tALLOWS\ttcp\t0\t65535\tFROM\tCIDR\t10.0.0.0/8\tingress\n"
        "PERMISSION\t693041077886\tdefault\tALLOWS\ttcp\t0\t65535\tFROM\tCIDR\t::/0\tingress\n"
        "PERMISSION\t693041077886\tdefault\tALLOWS\ticmp\t-1\t-1\tFROM\tCIDR\t0.0.0.0/0\tingress\n"
        "PERMISSION\t693041077886\tdefault\tALLOWS\tall\t\t\tTO\tCIDR\t0.0.0.0/0\tegress\n"
        "TAG\tsecurity-group\tsg-33d1045a\tName\tall"
    )


def test_what_was_asked_of_a_group() -> None:
    """As ec2-api-tools 1.6 printed it."""
    asked = [{"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    assert text(lines.changed_group("default", asked)) == (
        "GROUP\t\t\tdefault\t\t\nPERMISSION\t\tdefault\tALLOWS\ticmp\t-1\t-1\tFROM\tCIDR\t0.0.0.0/0\tingress"
    )


def test_a_key_pair() -> None:
    assert lines.key_pair({"KeyName": "gsg", "KeyFingerprint": "1f:51"}) == ("KEYPAIR", "gsg", "1f:51")


def test_a_console_does_nothing_to_a_terminal() -> None:
    found = {"InstanceId": "i-1", "Timestamp": "2010-10-14T01:12:41.000Z", "Output": "a\r\r\n\x1b[31mb\tc\x7f\rd\r\n"}
    assert lines.console(found, raw=False) == "i-1\n2010-10-14T01:12:41+0000\na\n^[[31mb\tc^?^Md\n"
    assert lines.console(found, raw=True) == "i-1\n2010-10-14T01:12:41+0000\na\r\r\n\x1b[31mb\tc\x7f\rd\r\n"


def test_a_console_that_is_silent_so_far() -> None:
    assert lines.console({"InstanceId": "i-1", "Timestamp": datetime(2010, 1, 1, tzinfo=UTC)}, raw=False) == (
        "i-1\n2010-01-01T00:00:00+0000\n"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(None, "", id="none"),
        pytest.param("2010-10-14T01:12:41.000Z", "2010-10-14T01:12:41+0000", id="text"),
        pytest.param(
            datetime(2012, 9, 26, 4, 6, 49, tzinfo=timezone(timedelta(hours=2))), "2012-09-26T02:06:49+0000", id="zone"
        ),
    ],
)
def test_time(value: Any, shown: str) -> None:
    assert lines.time(value) == shown


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        pytest.param({}, "IMAGE\t\tx\nTAG\timage", id="as it is"),
        pytest.param({"empty": "(nil)"}, "IMAGE\t(nil)\tx\nTAG\timage", id="empty fields"),
        pytest.param({"tags": False}, "IMAGE\t\tx", id="no tags"),
    ],
)
def test_text(settings: dict[str, Any], shown: str) -> None:
    table: list[Line] = [("IMAGE", "", "x"), ("TAG", "image")]
    assert text(table, **settings) == shown
