"""The pure half of configure: files of each renderer, units and accounts of a tree, sshd's configuration."""

from pathlib import Path

import pytest

from builder.errors import BuilderError, RecipeError
from builder.stages.configure import ssh, units
from builder.stages.configure.network import network_files
from builder.stages.configure.run import console_units
from builder.stages.configure.spec import NetworkSpec, ServicesSpec

XEN = "ro console=hvc0 net.ifnames=0"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Debian's units: ssh.service with an alias, a template, a script of SysV."""
    system = tmp_path / "usr/lib/systemd/system"
    etc = tmp_path / "etc/systemd/system"
    for directory in (system, etc, tmp_path / "etc/init.d"):
        directory.mkdir(parents=True)
    for name in ("ssh.service", "serial-getty@.service", "systemd-networkd.service", "cron.service", "README"):
        (system / name).write_text("")
    (tmp_path / "lib").symlink_to("/usr/lib")
    (tmp_path / "etc/init.d/network").write_text("")
    (etc / "sshd.service").symlink_to("/lib/systemd/system/ssh.service")
    (etc / "masked.service").symlink_to("/dev/null")
    return tmp_path


def test_networkd_takes_both_names() -> None:
    [file] = network_files(NetworkSpec(renderer="networkd", hostname=""), XEN)
    assert (file.path, file.mode) == ("/etc/systemd/network/10-ami-factory.network", 0o644)
    assert file.text == (
        "[Match]\nName=eth0 enX0\n\n[Network]\nDHCP=ipv4\n\n"
        "[DHCPv4]\nClientIdentifier=mac\nUseDomains=yes\nUseHostname=no\n"
    )


def test_networkmanager_gets_a_keyfile_that_only_root_reads() -> None:
    [file] = network_files(NetworkSpec(renderer="networkmanager", hostname=""), XEN)
    assert (file.path, file.mode) == ("/etc/NetworkManager/system-connections/ami-factory.nmconnection", 0o600)
    assert "interface-name=eth0;enX0;\n" in file.text
    assert file == network_files(NetworkSpec(renderer="networkmanager", hostname=""), XEN)[0]


@pytest.mark.parametrize(
    ("command_line", "names"), [(XEN, ["ifcfg-eth0"]), ("ro console=hvc0", ["ifcfg-eth0", "ifcfg-enX0"])]
)
def test_ifcfg_names_no_interface_that_cannot_be(command_line: str, names: list[str]) -> None:
    general, *interfaces = network_files(NetworkSpec(renderer="ifcfg", hostname="web"), command_line)
    assert (general.path, "HOSTNAME=web" in general.text) == ("/etc/sysconfig/network", True)
    assert [each.path.rpartition("/")[2] for each in interfaces] == names
    assert all("BOOTPROTO=dhcp" in each.text and "ONBOOT=yes" in each.text for each in interfaces)


def test_units_are_found_by_their_real_names(tree: Path) -> None:
    found = units.find_units(tree)
    assert found == {
        "ssh.service": "ssh.service",
        "sshd.service": "ssh.service",
        "serial-getty@.service": "serial-getty@.service",
        "systemd-networkd.service": "systemd-networkd.service",
        "cron.service": "cron.service",
        "network.service": "network.service",
        "masked.service": "masked.service",
    }
    assert units.ssh_unit(found) == "ssh.service"
    assert units.network_units("networkd", found) == ("systemd-networkd.service",)
    assert units.network_units("ifcfg", found) == ("network.service",)


@pytest.mark.parametrize(
    ("services", "says"),
    [
        pytest.param(ServicesSpec(enable=("corn",)), 'has no unit "corn"; did you mean cron.service', id="enable-typo"),
        pytest.param(
            ServicesSpec(disable=("crond",)), 'services.disable: the tree has no unit "crond"', id="disable-typo"
        ),
        pytest.param(ServicesSpec(mask=("sshd",)), "services.mask: sshd is needed", id="mask-ssh-by-its-alias"),
        pytest.param(ServicesSpec(disable=("systemd-networkd",)), "systemd-networkd is needed", id="no-network"),
    ],
)
def test_units_that_cannot_be_are_the_recipes_error(tree: Path, services: ServicesSpec, says: str) -> None:
    needed = ["ssh.service", "systemd-networkd.service"]
    with pytest.raises(RecipeError, match=says):
        units.check_services(services, needed, units.find_units(tree))


def test_the_hint_is_about_what_is_wrong(tree: Path) -> None:
    found = units.find_units(tree)
    hints = []
    for services in (ServicesSpec(disable=("ssh.service",)), ServicesSpec(disable=("crond",))):
        with pytest.raises(RecipeError) as caught:
            units.check_services(services, ["ssh.service"], found)
        hints.append(caught.value.hint)
    assert hints == [
        "leave ssh.service out of services.disable",
        "correct the name, or add the package that has the unit to distribution.packages",
    ]


def test_all_wrong_units_at_once(tree: Path) -> None:
    wrong = ServicesSpec(enable=("one", "serial-getty@hvc0.service"), disable=("two",), mask=("three.timer", "cron"))
    with pytest.raises(RecipeError) as caught:
        units.check_services(wrong, [], units.find_units(tree))
    assert len([caught.value.brief, *caught.value.detail.splitlines()]) == 3


def test_a_tree_without_a_server_or_renderer_says_what_to_add(tmp_path: Path) -> None:
    for ask in (lambda: units.ssh_unit({}), lambda: units.network_units("networkmanager", {})):
        with pytest.raises(BuilderError) as caught:
            ask()
        assert "distribution.packages" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "drop_in"),
    [
        ("# comment\n\nInclude /etc/ssh/sshd_config.d/*.conf\nPort 22\n", True),
        ("include sshd_config.d/*.conf\n", True),
        ("PermitRootLogin yes\nInclude /etc/ssh/sshd_config.d/*.conf\n", False),
        ("#Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n", False),
        ("", False),
    ],
)
def test_a_drop_in_only_counts_when_it_comes_first(text: str, drop_in: bool) -> None:
    assert ssh.includes_drop_ins(text) is drop_in


def test_accounts_of_well_formed_lines_only() -> None:
    text = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:100::/home/ann:/bin/sh\nx:x:a:b::/:/\n"
    assert ssh.read_accounts(text) == {"root": (0, 0, "/root"), "ann": (1000, 100, "/home/ann")}


def test_a_console_is_enabled_where_systemd_does_not_do_it(tree: Path) -> None:
    assert console_units(tree, "ro console=tty0 console=hvc0") == ["serial-getty@hvc0.service"]
    assert console_units(tree, "ro quiet") == []
    (tree / "usr/lib/systemd/system-generators").mkdir()
    (tree / "usr/lib/systemd/system-generators/systemd-getty-generator").write_text("")
    assert console_units(tree, XEN) == []
