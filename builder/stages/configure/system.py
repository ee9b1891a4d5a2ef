"""Files for what a recipe says in tables: units, timers, kernel settings and modules. Pure."""

from collections.abc import Iterator

from builder.stages.configure.network import TextFile
from builder.stages.configure.spec import ModulesSpec, TimerSpec, UnitSpec

UNITS = "/etc/systemd/system"
# Later files win (sysctl.d(5)), and 99-sysctl.conf is the link by which Debian has /etc/sysctl.conf read.
SYSCTL = "/etc/sysctl.d/98-ami-factory.conf"
MODULES = "/etc/modules-load.d/ami-factory.conf"
BLACKLIST = "/etc/modprobe.d/ami-factory.conf"


def unit_files(units: tuple[UnitSpec, ...], timers: tuple[TimerSpec, ...]) -> Iterator[TextFile]:
    """The author's units, and two for each timer, or one where the service is there."""
    for unit in units:
        yield TextFile(path=f"{UNITS}/{unit.name}", text=unit.text)
    for timer in timers:
        yield TextFile(path=f"{UNITS}/{timer.name}.timer", text=_timer(timer))
        if timer.run:
            yield TextFile(path=f"{UNITS}/{timer.name}.service", text=_service(timer))


def _timer(timer: TimerSpec) -> str:
    said = {
        "OnCalendar": timer.calendar,
        "OnBootSec": timer.boot,
        "OnUnitInactiveSec": timer.every,
        "RandomizedDelaySec": timer.random_delay,
        "Persistent": "yes" if timer.persistent else "",
        "Unit": timer.service,
    }
    lines = "".join(f"{name}={value}\n" for name, value in said.items() if value)
    return f"[Unit]\nDescription=When {timer.name} runs\n\n[Timer]\n{lines}\n[Install]\nWantedBy=timers.target\n"


def _service(timer: TimerSpec) -> str:
    user = f"User={timer.user}\n" if timer.user else ""
    return f"[Unit]\nDescription={timer.name}\n\n[Service]\nType=oneshot\n{user}ExecStart={timer.run}\n"


def kernel_files(sysctl: tuple[tuple[str, str], ...], modules: ModulesSpec | None) -> Iterator[TextFile]:
    """Settings in the order of their names, modules in the recipe's."""
    if sysctl:
        yield TextFile(path=SYSCTL, text="".join(f"{name} = {value}\n" for name, value in sysctl))
    if modules is not None and modules.load:
        yield TextFile(path=MODULES, text="".join(f"{name}\n" for name in modules.load))
    if modules is not None and modules.blacklist:
        yield TextFile(path=BLACKLIST, text="".join(f"blacklist {name}\n" for name in modules.blacklist))


def selinux_config(text: str, mode: str) -> str:
    """/etc/selinux/config with another mode, all else as it was (selinux(8): SELINUX=)."""
    lines = [line for line in text.splitlines() if not line.strip().startswith("SELINUX=")]
    return "".join(f"{line}\n" for line in (f"SELINUX={mode}", *lines))
