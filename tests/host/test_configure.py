"""Configure, as the worker runs it, on a small tree with the host's own systemctl."""

import dataclasses
import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError, RecipeError
from builder.formats.layer_tar import Entry
from builder.stages.configure.spec import BootSpec, ConfigureSpec, NetworkSpec, ServicesSpec, SshSpec, UserKeys
from tests.support.layers import directory, file, link, write_layer

pytestmark = pytest.mark.host

KEY = "ssh-ed25519 AAAAC3Nza root"
UNIT = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
SPEC = ConfigureSpec(
    network=NetworkSpec(renderer="networkd", hostname=""),
    ssh=SshSpec(authorized_keys=(KEY,), metadata_key=True),
    users=(UserKeys(name="ann", authorized_keys=("ssh-rsa AAAA ann",)),),
    services=ServicesSpec(enable=("cron",), disable=("noise.service",), mask=("loud.service",)),
    fstab="/dev/xvda1 / ext4 defaults 0 1\n/dev/xvda2 /data/scratch auto nofail,x-systemd.device-timeout=30 0 0\n",
    boot=BootSpec(
        root_device="/dev/xvda1",
        command_line="ro console=hvc0",
        menu="/boot/grub/menu.lst",
        grub_root="(hd0)",
        title="a title",
    ),
    timezone="Europe/Berlin",
    locale="C.UTF-8",
    source_epoch=1_700_000_000,
)
KERNEL = {"vmlinuz": "/boot/vmlinuz-6.1-pv", "initrd": "/boot/initrd.img-6.1"}


def programs(*names: str) -> list[tuple[Entry, bytes]]:
    """Programs of the host with the libraries that they load, at the places where those are."""
    paths: set[str] = set()
    for name in names:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"this host has no {name}")
        paths.add(str(Path(found).resolve()))
        listed = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
        paths.update(str(Path(each).resolve()) for each in re.findall(r"(?:=> |^\t)(/\S+) \(", listed, re.MULTILINE))
        for each in re.findall(r"(?:=> |^\t)(/\S+) \(", listed, re.MULTILINE):
            paths.add(f"{Path(each).parent.resolve()}/{Path(each).name}")
    return [file(path.lstrip("/"), Path(path).read_bytes(), mode=0o755) for path in sorted(paths)]


def base(place: Path, *more: tuple[Entry, bytes]) -> tuple[str, Path, dict[str, Any]]:
    """A merged-/usr tree with systemctl, units, an SSH server's files and the traps a tree can hold."""
    system = "usr/lib/systemd/system"
    entries = [
        *programs("systemctl"),
        *(link(name, f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64")),
        *(file(f"{system}/{name}.service", UNIT) for name in ("cron", "noise", "loud", "systemd-networkd")),
        file(f"{system}/ssh.service", UNIT + "Alias=sshd.service\n"),
        file(f"{system}/systemd-resolved.service", UNIT),
        file("usr/lib/systemd/system-generators/systemd-getty-generator", "", mode=0o755),
        link("etc/systemd/system/multi-user.target.wants/noise.service", f"/{system}/noise.service"),
        file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n"),
        file("etc/shadow", "root::19000::::::\nann:!:19000::::::\n", mode=0o640, gid=42),
        file("etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n"),
        file("etc/ssh/ssh_host_rsa_key", "the build's"),
        file("etc/machine-id", "ab" * 16),
        file("etc/hostname", "build\n"),
        link("etc/resolv.conf", "/run/host-resolv.conf"),
        file("var/lib/systemd/random-seed", "seed"),
        file("var/log/apt/history.log", "log"),
        link("data", "/tmp"),
        file("usr/share/zoneinfo/Europe/Berlin", "zone"),
        file("usr/bin/curl", "", mode=0o755),
        *more,
    ]
    given = {entry.path.decode() for entry, _ in entries}
    parents = {str(parent) for path in given for parent in Path(path).parents} - given - {"."}
    extra = [directory(path) for path in sorted(parents | {"root", "home", "home/ann", "tmp"} - given)]
    return write_layer(place, "packages", [*entries, *extra])


def layer(place: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(place / "output/layer.tar") as archive:
        return {each.name: each for each in archive}


def text(place: Path, name: str) -> str:
    with tarfile.open(place / "output/layer.tar") as archive:
        return (archive.extractfile(name) or io.BytesIO()).read().decode()


def configure(stage: Callable[..., Any], place: Path, spec: ConfigureSpec, tree: Any) -> dict[str, Any]:
    (place / "kernel").mkdir(parents=True, exist_ok=True)
    inputs = [tree, ("kernel", place / "kernel", KERNEL)]
    return dict(stage("configure.run", spec, place=place, inputs=inputs, trees=str(place.parent / "trees")))


def test_binds_a_tree_and_does_it_twice_alike(stage: Callable[..., Any], trees: Path) -> None:
    tree = base(trees / "base")
    first = configure(stage, trees / "first", SPEC, tree)
    assert configure(stage, trees / "second", SPEC, tree)["digest"] == first["digest"]
    found = layer(trees / "first")
    wants = "etc/systemd/system/multi-user.target.wants"
    links = {name: each.linkname for name, each in found.items() if each.issym()}
    assert links["etc/localtime"] == "../usr/share/zoneinfo/Europe/Berlin"
    assert links["etc/resolv.conf"] == "../run/systemd/resolve/stub-resolv.conf"
    assert links["etc/systemd/system/loud.service"] == "/dev/null"
    assert {name.removeprefix(f"{wants}/") for name in links if name.startswith(wants)} == {
        "ssh.service", "systemd-networkd.service", "systemd-resolved.service", "cron.service",
        "ami-factory-ssh-key.service", "ami-factory-host-keys.service", "ami-factory-host-keys-late.service",
        "ami-factory-hostname.service",
    }  # fmt: skip
    owners = {name: (oct(found[name].mode), found[name].uid, found[name].gid) for name in found}
    assert owners["root/.ssh"] == ("0o700", 0, 0)
    assert owners["root/.ssh/authorized_keys"] == ("0o600", 0, 0)
    assert owners["home/ann/.ssh"] == ("0o700", 1000, 1000)
    assert owners["home/ann/.ssh/authorized_keys"] == ("0o600", 1000, 1000)
    assert owners["etc/shadow"] == ("0o640", 0, 42)
    assert owners["usr/libexec/ami-factory/fetch-ssh-key"] == ("0o755", 0, 0)
    assert owners["etc/machine-id"] == ("0o444", 0, 0)
    # systemctl removes a directory of links that has become empty, and makes it anew.
    gone = {name for name in found if Path(name).name.startswith(".wh.")}
    assert gone == {
        "etc/.wh.hostname", "etc/ssh/.wh.ssh_host_rsa_key", "var/lib/systemd/.wh.random-seed",
        "var/log/apt/.wh.history.log", f"{wants}/.wh..wh..opq",
    }  # fmt: skip


def test_what_the_files_say(stage: Callable[..., Any], trees: Path) -> None:
    configure(stage, trees / "one", SPEC, base(trees / "base"))
    assert text(trees / "one", "etc/fstab") == SPEC.fstab
    assert text(trees / "one", "boot/grub/menu.lst") == (
        "default 0\ntimeout 0\n\ntitle a title\n\troot (hd0)\n"
        "\tkernel /boot/vmlinuz-6.1-pv root=/dev/xvda1 ro console=hvc0\n\tinitrd /boot/initrd.img-6.1\n"
    )
    assert text(trees / "one", "etc/ssh/sshd_config.d/00-ami-factory.conf").splitlines()[1:] == [
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
    ]
    assert text(trees / "one", "root/.ssh/authorized_keys") == f"{KEY}\n"
    assert text(trees / "one", "etc/shadow") == "root:*:19000::::::\nann:!:19000::::::\n"
    assert text(trees / "one", "etc/locale.conf") == "LANG=C.UTF-8\n"
    assert "tmp/scratch" in layer(trees / "one")  # where /data/scratch is, in the tree


def test_an_old_server_and_fedoras_host_keys(stage: Callable[..., Any], trees: Path) -> None:
    tree = base(
        trees / "base",
        file("usr/lib/systemd/system/sshd-keygen.target", "[Unit]\n"),
        file("etc/default/old", ""),
    )
    spec = dataclasses.replace(SPEC, ssh=SshSpec(authorized_keys=(), metadata_key=False), users=(), timezone="UTC")
    spec = dataclasses.replace(spec, network=NetworkSpec(renderer="networkd", hostname="web"))
    configure(stage, trees / "one", spec, tree)
    found = layer(trees / "one")
    assert not [name for name in found if "ami-factory-" in name or "authorized_keys" in name]
    assert text(trees / "one", "etc/hostname") == "web\n"
    assert text(trees / "one", "etc/hosts").endswith("127.0.1.1 web\n")
    assert text(trees / "one", "etc/default/locale") == "LANG=C.UTF-8\n"


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        pytest.param({"timezone": "Europe/Berlim"}, RecipeError, 'no zone "Europe/Berlim"', id="timezone"),
        pytest.param(
            {"services": ServicesSpec(enable=("crom",))}, RecipeError, 'no unit "crom"; did you mean', id="unit"
        ),
        pytest.param(
            {"users": (UserKeys(name="eve", authorized_keys=("k",)),)}, RecipeError, 'no user "eve"', id="user"
        ),
        pytest.param(
            {"network": NetworkSpec(renderer="ifcfg", hostname="")}, BuilderError, "network.service", id="renderer"
        ),
    ],
)
def test_what_a_recipe_can_get_wrong(
    stage: Callable[..., Any], trees: Path, change: dict[str, Any], kind: type[BuilderError], says: str
) -> None:
    spec = dataclasses.replace(SPEC, **change)
    with pytest.raises(BuilderError) as caught:
        configure(stage, trees / "one", spec, base(trees / "base"))
    assert says in caught.value.brief
    assert caught.value.exit == kind.exit
    assert caught.value.hint
