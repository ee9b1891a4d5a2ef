"""Each probe: a machine where all is well, and one where it is not. Most look at a made-up machine under tmp_path."""

import fcntl
import getpass
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from builder import doctor
from builder.doctor import Finding, Scene, Severity
from builder.errors import HostError
from builder.host import sandbox
from builder.host.packages import Package, missing_packages, required_packages


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A machine under tmp_path on which nothing is wrong."""
    for name in ("store/work", "store/leases", "boot", "modules/6.1.0-1", "apt", "proc/self"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "boot/vmlinuz-6.1.0-1").touch()
    (tmp_path / "proc/self/mountinfo").write_text("22 1 254:0 / / rw - ext4 /dev/vda rw\n")
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text(f"somebody:100000:65536\n{getpass.getuser()}:165536:65536\n")
    return Scene(
        store=tmp_path / "store",
        cache=tmp_path / "cache",
        state=tmp_path / "state",
        region_directory=tmp_path / "state/region",
        environment={},
        proc=tmp_path / "proc",
        boot=tmp_path / "boot",
        modules=tmp_path / "modules",
        apt=tmp_path / "apt",
        subordinate=(tmp_path / "subuid", tmp_path / "subgid"),
        missing=lambda: (),
    )


def only(probe: doctor.Probe, scene: Scene) -> Finding:
    (finding,) = doctor._look(probe, scene)
    return finding


def problem(id: str, what: str, remedy: str = "", severity: Severity = Severity.WARNING) -> Finding:
    return Finding(id=id, severity=severity, what=what, remedy=remedy)


@pytest.mark.parametrize(
    "probe",
    [
        doctor.probe_packages,
        doctor.probe_subordinate_ids,
        doctor.probe_appliance_kernel,
        doctor.probe_clock,
        doctor.probe_leftovers,
        doctor.probe_leases,
        doctor.probe_mounts,
        doctor.probe_daemons,
        doctor.probe_keys,
    ],
)
def test_all_is_well(probe: doctor.Probe, scene: Scene) -> None:
    assert only(probe, scene).severity is Severity.OK


def test_packages_that_are_missing(scene: Scene) -> None:
    lacking = (Package(name="dnf", sign="dnf", purpose="installs packages"),)
    assert only(doctor.probe_packages, replace(scene, missing=lambda: lacking)) == problem(
        "packages", "dnf is not installed: installs packages", "apt-get install dnf", Severity.ERROR
    )


def test_subordinate_ids_that_are_missing(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "subgid").write_text("somebody:100000:65536\n")
    assert only(doctor.probe_subordinate_ids, scene) == problem(
        "subordinate-ids",
        f"{getpass.getuser()} has fewer than 65536 ids in {tmp_path}/subgid",
        f"usermod --add-subgids 231072-296607 {getpass.getuser()}",
        Severity.ERROR,
    )


def test_subordinate_ids_in_broken_files(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("::\nx\nroot:a:b\n")
    (tmp_path / "subgid").unlink()
    assert only(doctor.probe_subordinate_ids, scene).severity is Severity.ERROR


def test_no_namespace(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise HostError("no user namespaces", detail="unshare failed\nEPERM", hint="allow them")

    monkeypatch.setattr(doctor.namespace, "require_namespace", refused)
    assert only(doctor.probe_namespace, scene) == problem(
        "namespace", "no user namespaces (EPERM)", "allow them", Severity.ERROR
    )


@pytest.mark.host
def test_namespace_layers_and_guestfs_here(scene: Scene) -> None:
    found = [only(each, scene) for each in (doctor.probe_namespace, doctor.probe_layers, doctor.probe_guestfs)]
    assert [each.severity for each in found] == [Severity.OK] * 3, found


@pytest.mark.host
def test_layers_on_a_file_system_that_cannot(scene: Scene) -> None:
    found = only(doctor.probe_layers, replace(scene, store=Path("/proc/self")))
    assert found.severity is Severity.ERROR


def test_a_kernel_that_cannot_be_read(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = scene.boot / "vmlinuz-6.1.0-1"
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root reads everything
    assert only(doctor.probe_appliance_kernel, scene) == problem(
        "appliance-kernel", f"{kernel} cannot be read: verify needs it", f"chmod +r {kernel}", Severity.ERROR
    )


def test_a_kernel_without_modules_is_none(scene: Scene) -> None:
    (scene.modules / "6.1.0-1").rmdir()
    assert only(doctor.probe_appliance_kernel, scene).severity is Severity.ERROR
    named = replace(scene, environment={"SUPERMIN_KERNEL": str(scene.boot / "vmlinuz-6.1.0-1")})
    assert only(doctor.probe_appliance_kernel, named).severity is Severity.OK


def test_32_bit_programs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(doctor.probe_i386, scene).id == "i386"
    sandbox.require_i386.cache_clear()
    monkeypatch.setattr(sandbox, "_I386_PROGRAM", b"not a program")
    assert only(doctor.probe_i386, scene) == problem(
        "i386",
        "this kernel does not run 32-bit x86 programs, which an i386 tree is made of",
        'boot it with ia32_emulation=1, or leave "i386" out of the recipe\'s architectures',
    )


@pytest.mark.parametrize(
    ("blocks", "files", "severity"),
    [
        pytest.param(1 * 2**18, 10**6, Severity.ERROR, id="full"),
        pytest.param(4 * 2**18, 10**6, Severity.WARNING, id="narrow"),
        pytest.param(20 * 2**18, 10**3, Severity.WARNING, id="few-inodes"),
        pytest.param(20 * 2**18, 10**6, Severity.OK, id="roomy"),
    ],
)
def test_room_in_the_store(
    blocks: int, files: int, severity: Severity, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = SimpleNamespace(f_bavail=blocks, f_frsize=4096, f_files=10**7, f_favail=files)
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    assert only(doctor.probe_store, scene).severity is severity


def test_a_store_that_is_not_there_yet(scene: Scene) -> None:
    missing = replace(scene, store=scene.store / "a" / "b")
    assert str(scene.store) in only(doctor.probe_store, missing).what


def test_a_clock_that_is_behind(scene: Scene) -> None:
    found = only(doctor.probe_clock, replace(scene, now=lambda: 0.0))
    assert (found.severity, found.remedy) == (Severity.ERROR, "timedatectl set-ntp true")


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_archive_of_the_hosts_own_configuration(scene: Scene, listening: int) -> None:
    assert only(doctor.probe_archive, scene).severity is Severity.WARNING
    (scene.apt / "sources.list").write_text(
        f"# deb http://nowhere.invalid/ a b\ndeb http://127.0.0.1:{listening}/d s c\n"
    )
    assert only(doctor.probe_archive, scene).severity is Severity.OK
    (scene.apt / "sources.list.d").mkdir()
    (scene.apt / "sources.list.d/x.sources").write_text("Types: deb\nURIs: http://127.0.0.1:1/debian\n")
    assert only(doctor.probe_archive, scene) == problem(
        "archive", "127.0.0.1 cannot be reached: only what is in the cache can be built", "check the network"
    )
    proxied = replace(scene, environment={"http_proxy": f"http://127.0.0.1:{listening}"})
    assert only(doctor.probe_archive, proxied).severity is Severity.OK


def test_a_workspace_and_a_lease_of_a_dead_build(scene: Scene) -> None:
    for name in ("work/dead", "work/alive"):
        (scene.store / name).mkdir()
    held = scene.store / "work/alive.lock"
    for path in (held, scene.store / "work/dead.lock", scene.store / "leases/abc"):
        path.touch()
    with held.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert only(doctor.probe_leftovers, scene) == problem(
            "leftovers", f"1 workspaces of builds that died in {scene.store}/work", "ami-factory store gc"
        )
    assert only(doctor.probe_leases, scene).severity is Severity.WARNING


def test_a_mount_in_the_store(scene: Scene) -> None:
    point = scene.store / "trees/a b"
    escaped = str(point).replace(" ", "\\040")
    with (scene.proc / "self/mountinfo").open("a") as file:
        file.write(
            f"23 22 254:0 / {scene.store} rw - ext4 /dev/vdb rw\n24 23 0:44 / {escaped} rw - overlay overlay rw\n"
        )
    assert only(doctor.probe_mounts, scene) == problem("mounts", f"{point} is still mounted", f"umount '{point}'")


def process(scene: Scene, pid: int, parent: int, *command: str) -> None:
    entry = scene.proc / str(pid)
    entry.mkdir()
    (entry / "cmdline").write_bytes(b"\0".join(each.encode() for each in command) + b"\0")
    (entry / "stat").write_text(f"{pid} (a (b) c) S {parent} 1 1 0")


def test_a_daemon_that_outlived_its_build(scene: Scene) -> None:
    home = str(scene.cache / "gnupg")
    process(scene, 7, 1, "gpg-agent", "--homedir", home, "--daemon")
    process(scene, 8, 6, "gpg-agent", "--homedir", home, "--daemon")  # its build lives
    process(scene, 9, 1, "gpg-agent", "--homedir", "/home/other/.gnupg")  # not ours
    process(scene, 10, 1, sys.executable, "-m", "builder.region", str(scene.region_directory))  # the region's daemon
    process(scene, 11, 1, "/usr/bin/qemu-system-x86_64", "-drive", f"file={scene.store}/x")
    assert only(doctor.probe_daemons, scene) == problem("daemons", "gpg-agent (process 7) outlived its build", "kill 7")


def test_private_keys_that_others_can_read(scene: Scene) -> None:
    (scene.state / "keys").mkdir(mode=0o700)
    scene.state.chmod(0o755)
    assert only(doctor.probe_keys, scene).severity is Severity.OK
    (scene.state / "keys").chmod(0o755)
    assert only(doctor.probe_keys, scene).remedy == f"chmod 700 '{scene.state}'"


def test_every_line_of_the_package_list_is_whole() -> None:
    listed = required_packages()
    assert [each.name for each in listed] == sorted({each.name for each in listed}, key=[e.name for e in listed].index)
    assert all(each.sign and each.purpose for each in listed)


def test_missing_packages_are_found_by_their_sign() -> None:
    assert [each.name for each in missing_packages(lambda sign, path: sign != "dnf")] == ["dnf"]


def test_every_probe_is_called() -> None:
    assert {each.__name__ for each in doctor.PROBES} == {name for name in vars(doctor) if name.startswith("probe_")}
