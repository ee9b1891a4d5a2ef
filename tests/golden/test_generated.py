"""Every file that we generate for the distributions that we have recipes for, as far as no mirror is needed.

The tree below /etc is made by the same functions that the stage calls, in an empty one that has the few files they
look for. The sshd_config of Fedora and its line includes drop-ins, and they make host keys themselves; the other stands
for distributions that do not.
"""

from pathlib import Path

import pytest

from builder.host import tree_files
from builder.lock import asks
from builder.plan.repositories import deb_archives, package_sources
from builder.stages.archives import format_sources
from builder.stages.configure import run as configure
from builder.stages.configure import ssh, units
from builder.stages.configure.spec import BootSpec, ConfigureSpec, HvmSpec, NetworkSpec, ServicesSpec, SshSpec
from builder.stages.dnf import dnf_configuration, install_command
from builder.stages.mmdebstrap import dpkg_command, mmdebstrap_command
from builder.stages.values import LockedDeb, LockedPackage
from tests.support.golden import hold
from tests.support.plans import planned, prepared

MANAGED = ("sshd.service", "NetworkManager.service", "sshd-keygen.target")
DEBIAN_UNITS = ("ssh.service", "systemd-networkd.service", "systemd-resolved.service")
UNITS = {
    "amazon-linux-2023": ("sshd.service", "systemd-networkd.service", "systemd-resolved.service", "sshd-keygen.target"),
    "centos-stream-9": MANAGED,
    "centos-stream-10": MANAGED,
    "debian": DEBIAN_UNITS,
    "fedora": MANAGED,
    "rocky-9": MANAGED,
    "quickstart": DEBIAN_UNITS,
    "ubuntu": DEBIAN_UNITS,
}
NAMES = sorted(UNITS)
DEBS = ("debian", "ubuntu")
RPMS = tuple(name for name in NAMES if name not in DEBS)


def sshd_config(name: str) -> str:
    return "UsePAM yes\n" if name == "quickstart" else "Include /etc/ssh/sshd_config.d/*.conf\n"


def configure_spec(name: str) -> ConfigureSpec:
    """The spec of the recipe's first variant, from the plain data that a worker would get."""
    plan = planned(prepared(name))
    table = dict(next(each for each in plan.steps if each.stage == "configure").spec)
    services = {each: tuple(names) for each, names in table["services"].items()}
    return ConfigureSpec(
        network=NetworkSpec(**table["network"]),
        ssh=SshSpec(**{**table["ssh"], "authorized_keys": tuple(table["ssh"]["authorized_keys"])}),
        users=(),
        services=ServicesSpec(**services),
        fstab=table["fstab"],
        boot=BootSpec(**table["boot"]),
        timezone=table["timezone"],
        locale=table["locale"],
        source_epoch=table["source_epoch"],
        hvm=HvmSpec(**table["hvm"]) if "hvm" in table else None,
    )


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", RPMS)
@pytest.mark.parametrize("program", ["dnf", "dnf5"])
def test_dnf_configuration(name: str, program: str, rewrite_golden: bool) -> None:
    ready = prepared(name)
    recipe = ready.loaded.recipe
    text = dnf_configuration(
        package_sources(recipe, ready.sources.keys), excludes=recipe.distribution.excludes, program=program
    )
    for each in recipe.distribution.repositories:
        for kind in ("metalink", "mirrorlist"):
            if address := getattr(each, kind):
                assert f"{kind}={address}\n" in text
                text = text.replace(address, f"<{kind} of {each.id}>")
    hold(f"{name}/{program}.conf", text, rewrite=rewrite_golden)


@pytest.mark.parametrize("name", RPMS)
def test_install_command(name: str, rewrite_golden: bool) -> None:
    ready = prepared(name)
    plan = planned(ready)
    for stage in ("packages", "kernel"):
        spec = next(each for each in plan.steps if each.stage == stage).spec
        packages = [LockedPackage(**each) for each in spec["packages"]]
        for program in ("dnf", "dnf5"):
            command = install_command(
                packages, architecture=spec["architecture"], release=spec["release"], program=program
            )
            hold(f"{name}/{program}-{stage}.txt", "\n".join(command) + "\n", rewrite=rewrite_golden)


@pytest.mark.parametrize("name", DEBS)
def test_sources_of_apt(name: str, rewrite_golden: bool) -> None:
    ready = prepared(name)
    archives = deb_archives(ready.loaded.recipe, ready.sources.keys)
    text = format_sources(archives, {each.id: f"<address of {each.archive}>" for each in archives}, {}, "amd64")
    hold(f"{name}/apt.sources", text, rewrite=rewrite_golden)


@pytest.mark.parametrize("name", DEBS)
def test_install_command_of_debs(name: str, rewrite_golden: bool) -> None:
    plan = planned(prepared(name))
    specs = {each.stage: each.spec for each in plan.steps if each.stage in ("packages", "kernel")}
    locked = {stage: [LockedDeb(**each) for each in spec["debs"]] for stage, spec in specs.items()}
    commands = (mmdebstrap_command(locked["packages"], debian="amd64"), dpkg_command(locked["kernel"]))
    text = "\n".join("\n".join(command) + "\n" for command in commands)
    hold(f"{name}/mmdebstrap.txt", text, rewrite=rewrite_golden)


def test_tree(name: str, tmp_path: Path, rewrite_golden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name_of_call in ("os.chown", "os.fchown"):  # the tests may run as a user; owners are tests/host's
        monkeypatch.setattr(name_of_call, lambda *_, **__: None)
    spec = configure_spec(name)
    found = {each: each for each in UNITS[name]}
    for path, text in {"/etc/ssh/sshd_config": sshd_config(name), "/usr/bin/curl": ""}.items():
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).write_text(text)
    configure.set_time_and_language(tmp_path, spec)
    configure.write_fstab(tmp_path, spec.fstab)
    configure.write_menu(tmp_path, spec.boot, "/boot/vmlinuz-6", "/boot/initrd-6")
    needed = [units.ssh_unit(found), *units.network_units(spec.network.renderer, found)]
    needed += configure.configure_network(tmp_path, spec, found)
    needed += configure.configure_ssh(tmp_path, spec, found)
    needed += configure.console_units(tmp_path, spec.boot.command_line)
    (tmp_path / "usr/bin/curl").unlink()

    listed = "".join(f"enable {unit}\n" for unit in needed)
    for path in sorted(each for each in tmp_path.rglob("*") if each.is_symlink() or not each.is_dir()):
        inside = f"/{path.relative_to(tmp_path)}"
        if path.is_symlink():
            listed += f"\n=== {inside} -> {path.readlink()}\n"
        else:
            listed += f"\n=== {inside} {path.stat().st_mode & 0o7777:04o}\n{path.read_text()}"
    hold(f"{name}/tree.txt", listed, rewrite=rewrite_golden)
    assert tree_files.exists(tmp_path, ssh.DROP_IN) == (name != "quickstart")


def test_what_is_asked_of_the_resolver(name: str, rewrite_golden: bool) -> None:
    """A moved digest makes everybody's lock of this recipe stale."""
    ready = prepared(name)
    hold(
        f"{name}/asks.txt",
        asks(ready.loaded.recipe, ready.loaded.kernel, ready.sources.keys) + "\n",
        rewrite=rewrite_golden,
    )
