"""Units, timers, kernel settings and modules as texts; whole values."""

from pathlib import Path

import pytest

from builder.errors import RecipeError
from builder.stages.configure.network import TextFile
from builder.stages.configure.run import set_up_selinux
from builder.stages.configure.spec import ModulesSpec, TimerSpec, UnitSpec
from builder.stages.configure.system import kernel_files, selinux_config, unit_files


def test_units_are_written_as_they_are() -> None:
    units = (UnitSpec(name="web.service", text="[Service]\n"), UnitSpec(name="ssh.service.d/own.conf", text=""))
    assert tuple(unit_files(units, ())) == (
        TextFile(path="/etc/systemd/system/web.service", text="[Service]\n"),
        TextFile(path="/etc/systemd/system/ssh.service.d/own.conf", text=""),
    )


def test_a_timer_of_a_command_is_two_files() -> None:
    timer = TimerSpec(
        name="backup", run="/usr/bin/backup --all", user="joe", calendar="daily", random_delay="1h", persistent=True
    )
    assert tuple(unit_files((), (timer,))) == (
        TextFile(
            path="/etc/systemd/system/backup.timer",
            text="[Unit]\nDescription=When backup runs\n\n[Timer]\nOnCalendar=daily\nRandomizedDelaySec=1h\n"
            "Persistent=yes\n\n[Install]\nWantedBy=timers.target\n",
        ),
        TextFile(
            path="/etc/systemd/system/backup.service",
            text="[Unit]\nDescription=backup\n\n[Service]\nType=oneshot\nUser=joe\nExecStart=/usr/bin/backup --all\n",
        ),
    )


def test_a_timer_of_a_service_that_is_there_is_one() -> None:
    (file,) = unit_files((), (TimerSpec(name="t", service="x.service", boot="5min", every="1h"),))
    assert file.text == (
        "[Unit]\nDescription=When t runs\n\n[Timer]\nOnBootSec=5min\nOnUnitInactiveSec=1h\nUnit=x.service\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )


def test_kernel_files() -> None:
    sysctl = (("net.ipv4.ip_forward", "1"), ("vm.swappiness", "10"))
    modules = ModulesSpec(load=("loop", "nbd"), blacklist=("floppy",))
    assert tuple(kernel_files(sysctl, modules)) == (
        TextFile(path="/etc/sysctl.d/98-ami-factory.conf", text="net.ipv4.ip_forward = 1\nvm.swappiness = 10\n"),
        TextFile(path="/etc/modules-load.d/ami-factory.conf", text="loop\nnbd\n"),
        TextFile(path="/etc/modprobe.d/ami-factory.conf", text="blacklist floppy\n"),
    )
    assert tuple(kernel_files((), None)) == ()


def test_the_mode_of_selinux(tmp_path: Path) -> None:
    text = "# comment\nSELINUX=enforcing\nSELINUXTYPE=targeted\n"
    assert selinux_config(text, "permissive") == "SELINUX=permissive\n# comment\nSELINUXTYPE=targeted\n"
    with pytest.raises(RecipeError, match="the tree has no /etc/selinux/config"):
        set_up_selinux(tmp_path, "enforcing")
