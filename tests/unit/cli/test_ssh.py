"""Where SSH is told that instances are, and who is not let in."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from builder.cli import ssh, ssh_config
from builder.cli.ssh_config import Host
from builder.cloud.ec2_instances import Instance, instance_of
from builder.errors import RegionError

DESCRIBED: dict[str, Any] = {
    "InstanceId": "i-1",
    "State": {"Code": 16, "Name": "running"},
    "PublicDnsName": "127.1.2.3",
    "PublicIpAddress": "127.1.2.3",
    "KeyName": "gsg",
    "SecurityGroups": [{"GroupId": "sg-1", "GroupName": "websrv"}],
}
RUNNING = Instance(
    id="i-1", state="running", reason="", address="127.1.2.3", port=22, key_pair="gsg", groups=("websrv",)
)


def changed(**more: Any) -> Instance:
    values = {name: getattr(RUNNING, name) for name in Instance.__dataclass_fields__}
    return Instance(**{**values, **more})


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({}, RUNNING, id="at its own port"),
        pytest.param({"PublicDnsName": "ec2.example"}, changed(address="ec2.example"), id="by its name"),
        pytest.param({"PublicDnsName": ""}, RUNNING, id="by its address"),
        pytest.param(
            {"Tags": [{"Key": "ami-factory:port:22", "Value": "127.1.2.3:40022"}]}, changed(port=40022), id="elsewhere"
        ),
        pytest.param({"Tags": [{"Key": "ami-factory:port:22", "Value": "-oProxyCommand=x:1"}]}, RUNNING, id="a word"),
        pytest.param(
            {
                "State": {"Code": 48, "Name": "terminated"},
                "PublicDnsName": "",
                "PublicIpAddress": "",
                "StateReason": {"Code": "Server.InternalError", "Message": "no kernel"},
            },
            changed(state="terminated", address="", reason="no kernel"),
            id="over",
        ),
    ],
)
def test_where_an_instance_is(more: dict[str, Any], expected: Instance) -> None:
    assert instance_of({**DESCRIBED, **more}) == expected


def test_the_configuration() -> None:
    hosts = [Host(name="i-1", address="127.1.2.3", port=22), Host(name="i-2", address="127.1.2.4", port=40022)]
    assert ssh_config.text(hosts, Path("/state 1/100%/known_hosts")) == (
        """\
# Written by `ami-factory ssh`, each time anew.

Host i-1
  HostName 127.1.2.3
  Port 22
  HostKeyAlias i-1

Host i-2
  HostName 127.1.2.4
  Port 40022
  HostKeyAlias i-2

Host i-*
  User root
  UserKnownHostsFile "/state 1/100%%/known_hosts"
  StrictHostKeyChecking accept-new
"""
    )


@pytest.mark.parametrize(
    ("words", "more", "expected"),
    [
        pytest.param((), {}, ["ssh", "-F", "c", "--", "i-1"], id="a shell"),
        pytest.param(
            ("uname", "-m"),
            {"identity": Path("k.pem"), "user": "web"},
            ["ssh", "-F", "c", "-i", "k.pem", "-o", "IdentitiesOnly=yes", "-l", "web", "--", "i-1", "uname", "-m"],
            id="a command",
        ),
    ],
)
def test_the_command(words: tuple[str, ...], more: dict[str, Any], expected: list[str]) -> None:
    assert ssh_config.command(Path("c"), "i-1", words, **more) == expected


def test_only_what_runs_is_in_the_configuration(tmp_path: Path) -> None:
    everyone = (RUNNING, changed(id="i-2", state="pending", address=""), changed(id="i-3", state="terminated"))
    path = ssh.write(tmp_path / "ssh", everyone)
    hosts = [line for line in path.read_text().splitlines() if line.startswith("Host ")]
    assert (hosts, [each.name for each in path.parent.iterdir()]) == (["Host i-1", "Host i-*"], ["config"])
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_somebody_is_at_home() -> None:
    with listening() as port:
        ssh.knock(changed(address="127.0.0.1", port=port))


def test_nobody_is_let_in() -> None:
    with listening() as port:
        pass
    with pytest.raises(RegionError) as caught:
        ssh.knock(changed(address="127.0.0.1", port=port))
    assert caught.value.brief == f"i-1 does not answer at 127.0.0.1, port {port}: Connection refused"
    assert caught.value.hint == "let yourself in: ec2-authorize websrv -p 22"


@pytest.mark.parametrize(
    ("instance", "brief", "hint"),
    [
        pytest.param(
            changed(state="pending", address=""),
            "i-1 is pending, and has no address",
            "run it again in a moment",
            id="pending",
        ),
        pytest.param(
            changed(state="terminated", reason="no kernel"),
            "i-1 is terminated",
            "see: ec2-describe-instances",
            id="over",
        ),
    ],
)
def test_nobody_is_there(instance: Instance, brief: str, hint: str) -> None:
    with pytest.raises(RegionError) as caught:
        ssh.knock(instance)
    assert (caught.value.brief, caught.value.detail, caught.value.hint) == (brief, instance.reason, hint)
