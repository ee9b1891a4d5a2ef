"""The first-boot agent and the metadata client, run for real against a small metadata service."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.instance import USER_DATA, Instance
from tests.support.metadata import metadata_service

INSTANCE = {"instance-id": "i-0123abcd", "local-hostname": "ip-10-0-0-1.ec2.internal"}
SCRIPT = "#!/bin/sh\n"


def boot(root: Path, user_data: str, values: Mapping[str, str] = INSTANCE) -> tuple[int, str]:
    with metadata_service({**values, USER_DATA: user_data}) as (address, _):
        return first_boot(root, address)


def first_boot(root: Path, address: str, **environment: str) -> tuple[int, str]:
    """Exit code and console of one boot."""
    instance = Instance(root=root, metadata=address)
    return instance.run("first-boot", AMI_FACTORY_HOSTNAME=str(root / "hostname"), **environment)


def test_a_script_is_run_once_for_each_instance(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f'{SCRIPT}echo "$INSTANCE_ID $HOME $(pwd) $(umask)" >>{mark}\necho out\necho err >&2\n'
    console = (
        "first-boot: i-0123abcd: the user data are a script: it runs, its output goes to "
        "/var/log/ami-factory-user-data.log\n"
        "first-boot: | out\n"
        "first-boot: | err\n"
        "first-boot: i-0123abcd: the script ended well\n"
    )
    assert boot(tmp_path, script) == (0, console)
    assert (tmp_path / "var/log/ami-factory-user-data.log").read_text() == "out\nerr\n"
    assert (tmp_path / "hostname").read_text() == "ip-10-0-0-1\n"
    assert boot(tmp_path, script) == (0, "first-boot: i-0123abcd was set up before\n")
    # The image of an instance, launched again, is another instance.
    assert boot(tmp_path, script, {**INSTANCE, "instance-id": "i-4567"})[0] == 0
    assert mark.read_text() == "i-0123abcd /root / 0022\ni-4567 /root / 0022\n"


def test_a_script_that_fails(tmp_path: Path) -> None:
    code, console = boot(tmp_path, f"{SCRIPT}echo no room\nexit 3\n")
    assert (code, console.splitlines()[1:]) == (
        1,
        ["first-boot: | no room", "first-boot: i-0123abcd: the script ended with exit code 3"],
    )
    # It is not tried again at the next boot: half of it may have been done.
    assert boot(tmp_path, SCRIPT) == (0, "first-boot: i-0123abcd was set up before\n")


def test_cloud_config_without_cloud_init(tmp_path: Path) -> None:
    code, console = boot(tmp_path, "#cloud-config\npackages: [x]\n")
    assert (code, console) == (
        1,
        (
            "first-boot: i-0123abcd: the user data are #cloud-config, which nothing here understands: "
            "add cloud-init to the recipe, or give a script\n"
        ),
    )


@pytest.mark.parametrize("user_data", ["#cloud-config\n", f"{SCRIPT}exit 3\n"])
def test_where_cloud_init_is(tmp_path: Path, user_data: str) -> None:
    """It runs scripts as well, and one is not to be run twice."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/cloud-init").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "bin/cloud-init").chmod(0o755)
    with metadata_service({**INSTANCE, USER_DATA: user_data}) as (address, _):
        code, console = first_boot(tmp_path, address, PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    assert (code, console) == (0, "first-boot: i-0123abcd: the user data are left to cloud-init\n")


@pytest.mark.parametrize(
    ("user_data", "said"),
    [
        pytest.param("", "no user data", id="empty"),
        pytest.param("a=1\n", "the user data are no script: left for programs to read", id="data"),
        pytest.param("\n#!/bin/sh\n", "the user data are no script: left for programs to read", id="not at the start"),
    ],
)
def test_user_data_that_are_not_run(tmp_path: Path, user_data: str, said: str) -> None:
    assert boot(tmp_path, user_data) == (0, f"first-boot: i-0123abcd: {said}\n")


def test_no_user_data(tmp_path: Path) -> None:
    with metadata_service(INSTANCE, required=True) as (address, asked):
        assert first_boot(tmp_path, address) == (0, "first-boot: i-0123abcd: no user data\n")
    assert asked[-1] == "GET /latest/user-data with a token"


def test_version_1(tmp_path: Path) -> None:
    with metadata_service({**INSTANCE, USER_DATA: SCRIPT}, token_status=404) as (address, asked):
        assert first_boot(tmp_path, address)[0] == 0
    assert [each for each in asked if "with a token" in each] == []


def test_no_service(tmp_path: Path) -> None:
    assert first_boot(tmp_path, "http://127.0.0.1:9") == (
        1,
        (
            "instance-metadata: meta-data/instance-id: HTTP status 000\n"
            "first-boot: the metadata service does not answer\n"
        ),
    )
    assert [each.name for each in tmp_path.iterdir()] == ["usr"]


@pytest.mark.parametrize("name", ["a b", "$(id)", "-x", "../x"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    console = "first-boot: host name left as it is: the metadata service gives none that is usable\n"
    assert boot(tmp_path, "", {**INSTANCE, "local-hostname": name}) == (
        0,
        f"{console}first-boot: i-0123abcd: no user data\n",
    )
    assert boot(tmp_path, "", {"instance-id": name}) == (1, "first-boot: the metadata service gives no instance id\n")


def test_a_fixed_host_name_stays(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text("fixed\n")
    assert boot(tmp_path, "") == (0, "first-boot: i-0123abcd: no user data\n")
    assert not (tmp_path / "hostname").exists()


def test_what_is_kept_is_roots_alone(tmp_path: Path) -> None:
    """User data may hold secrets."""
    boot(tmp_path, f"{SCRIPT}echo secret\n")
    kept = {
        path: path.stat().st_mode & 0o077 for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()
    }
    assert {path.name: mode for path, mode in kept.items() if path.name != "hostname"} == {
        "user-data": 0,
        "first-boot-instance": 0,
        "ami-factory-user-data.log": 0,
    }


def test_metadata_client(tmp_path: Path) -> None:
    with metadata_service(INSTANCE, required=True) as (address, _):
        instance = Instance(root=tmp_path, metadata=address)
        assert instance.run("instance-metadata", "meta-data/instance-id") == (0, "i-0123abcd")
        assert instance.run("instance-metadata", "meta-data/nothing") == (2, "")
    said = "instance-metadata: user-data: HTTP status 000\n"
    assert instance.run("instance-metadata", "user-data") == (1, said)
    assert instance.run("instance-settings", "A") == (1, said)


def test_settings(tmp_path: Path) -> None:
    text = '#!/bin/sh\nA_KEY=x:y/z==\nA_NAME="web"\nA_BAD=a b\n A_BAD=in\n# A_BAD=no\nAB_C=d\nA_RUN=$(id)\nexit\n'
    with metadata_service({USER_DATA: text}) as (address, _):
        instance = Instance(root=tmp_path, metadata=address)
        assert instance.run("instance-settings", "A") == (0, "A_KEY=x:y/z==\nA_NAME=web\n")
        instance.write("etc/ami-factory/settings", "A_NAME='file'\n")
        assert instance.run("instance-settings", "A") == (0, "A_NAME=file\n")


def test_web_page(tmp_path: Path) -> None:
    with metadata_service({**INSTANCE, "instance-type": "m1.small"}) as (address, _):
        instance = Instance(root=tmp_path, metadata=address)
        page = tmp_path / "var/www/html/index.html"
        instance.write("var/www/html/index.html", '<meta name="generator" content="ami-factory">of another instance')
        assert instance.run("web-page") == (0, "")
        assert "This is instance i-0123abcd, of type m1.small." in page.read_text()
        instance.write("var/www/html/index.html", "somebody's own")
        assert instance.run("web-page") == (0, "")
        assert page.read_text() == "somebody's own"
