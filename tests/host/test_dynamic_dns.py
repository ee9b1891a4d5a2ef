"""An instance registers its name with a real BIND."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import USER_DATA, Instance
from tests.support.metadata import metadata_service
from tests.support.nameserver import KEY, ZONE, NameServer, name_server

pytestmark = pytest.mark.host
INSTANCE = {
    "instance-id": "i-1",
    "local-hostname": "ip-10-0-0-1.ec2.internal",
    "local-ipv4": "10.0.0.1",
    "public-ipv4": "127.1.2.3",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    with name_server(tmp_path_factory.mktemp("named")) as server:
        yield server


def settings(server: NameServer, **changed: str) -> str:
    values = {"SERVER": "127.0.0.1", "PORT": str(server.port), "ZONE": ZONE, "KEY": KEY, **changed}
    return "".join(f"DYNAMIC_DNS_{name}={value}\n" for name, value in values.items() if value)


def boot(root: Path, user_data: str, **metadata: str) -> tuple[int, str]:
    with metadata_service({**INSTANCE, **metadata, USER_DATA: user_data}) as (address, _):
        return Instance(root=root, metadata=address).run("dynamic-dns")


def test_its_own_name_and_address(server: NameServer, tmp_path: Path) -> None:
    assert boot(tmp_path, settings(server)) == (0, f"dynamic-dns: ip-10-0-0-1.{ZONE}. is 127.1.2.3\n")
    assert server.lookup("ip-10-0-0-1") == ["127.1.2.3"]


def test_the_next_instance_takes_the_name_over(server: NameServer, tmp_path: Path) -> None:
    """Settings in a script's user data; the address that the name had before is gone."""
    script = "#!/bin/sh\n" + settings(server, NAME="web", ADDRESS='"private"')
    assert boot(tmp_path, script)[0] == 0
    assert server.lookup("web") == ["10.0.0.1"]
    assert boot(tmp_path, script, **{"local-ipv4": "10.0.0.2"})[0] == 0
    assert server.lookup("web") == ["10.0.0.2"]


def test_settings_in_a_file(server: NameServer, tmp_path: Path) -> None:
    with metadata_service(INSTANCE) as (address, _):
        instance = Instance(root=tmp_path, metadata=address)
        instance.write("etc/ami-factory/settings", settings(server, NAME="file"))
        assert instance.run("dynamic-dns") == (0, f"dynamic-dns: file.{ZONE}. is 127.1.2.3\n")
    assert server.lookup("file") == ["127.1.2.3"]


def test_another_key_is_refused(server: NameServer, tmp_path: Path) -> None:
    code, said = boot(tmp_path, settings(server, NAME="thief", KEY="hmac-sha256:boot:b3RoZXI="))
    assert (code, said) == (
        1,
        f"dynamic-dns: thief.{ZONE}. was not registered: update failed: NOTAUTH(BADSIG)\n",
    )
    assert server.lookup("thief") == []


def test_without_settings(tmp_path: Path) -> None:
    assert boot(tmp_path, "") == (0, "dynamic-dns: not set up: there are no DYNAMIC_DNS settings\n")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"KEY": ""}, "DYNAMIC_DNS_KEY is not set", id="no key"),
        pytest.param({"KEY": "secret"}, "DYNAMIC_DNS_KEY is not of the form hmac-sha256:NAME:SECRET", id="key"),
        pytest.param({"ADDRESS": "both"}, "DYNAMIC_DNS_ADDRESS is neither public nor private", id="address"),
        pytest.param({"TTL": "1h"}, "the time to live or the port is not a number", id="time to live"),
        pytest.param({"NAME": "a@b"}, "the server, the zone or the name is not a domain name", id="name"),
        # A value with a space is no setting: nothing that follows it reaches nsupdate.
        pytest.param({"ZONE": "test update add"}, "DYNAMIC_DNS_ZONE is not set", id="words"),
    ],
)
def test_settings_that_are_wrong(server: NameServer, tmp_path: Path, changed: dict[str, str], said: str) -> None:
    assert boot(tmp_path, settings(server, **changed)) == (1, f"dynamic-dns: {said}\n")
