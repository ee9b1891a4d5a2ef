"""The boot proof: an image is booted as EC2 would, looked at over SSH, and told off or let go.

Levels: `login` boots it under Xen as an instance of one type; `full` also restarts it and takes its first ephemeral
disk away; `direct` boots it in plain QEMU, for a quick look.
"""

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from builder.canonical import to_plain
from builder.catalog.instance_types import InstanceType
from builder.machine import causes, checks, direct, doors, metadata, phases, prepare, ssh, workplace
from builder.machine.checks import Check
from builder.machine.diagnose import diagnose
from builder.machine.follow import NotBooted, Running, ended, follow
from builder.machine.guest import Disk, GuestSpec, classic_mac, classic_name
from builder.machine.host import Guest, XenHost
from builder.machine.network import Permission

ADDRESS = "10.251.50.35"
INSTANCE = "i-0f00db00"
_PATIENCE_SECONDS = 240.0  # emulated, on a busy machine
_TRY_SECONDS = 1.0


class Level(StrEnum):
    """How much is proved."""

    DIRECT = "direct"
    LOGIN = "login"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is booted, and as what."""

    image: Path
    architecture: str
    instance_type: str
    disks: tuple[Disk, ...]
    """Those of the instance type, besides the root."""
    root_device: str = "sda1"
    loader: str = "pv-grub-hd0"
    memory_mib: int = 512
    vcpus: int = 2
    injected: tuple[str, ...] = ()
    """Public keys that the image lets in as root."""
    metadata_key: bool = True
    """The image fetches the key that an instance is launched with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was seen."""

    level: Level
    instance_type: str
    seconds: tuple[tuple[str, float], ...]
    """Phase, and seconds since the beginning."""
    checks: tuple[Check, ...]
    cause: causes.Cause | None = None
    why: str = ""
    """One line; "" when all holds."""
    requests: tuple[str, ...] = field(default=(), repr=False)
    """What the metadata service was asked."""

    @property
    def holds(self) -> bool:
        return not self.why and all(each.holds for each in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it does not hold, a line each."""
        return (*((self.why,) if self.why else ()), *(f"{each.id}: {each.says}" for each in self.broken))

    @property
    def broken(self) -> tuple[Check, ...]:
        return tuple(each for each in self.checks if not each.holds)

    def document(self) -> str:
        """The result record, as JSON."""
        plain = {
            "format": 1,
            "level": self.level.value,
            "instance_type": self.instance_type,
            "holds": self.holds,
            "why": self.why,
            "milliseconds": {name: int(seconds * 1000) for name, seconds in self.seconds},
            "checks": to_plain(self.checks),
            "cause": to_plain(self.cause),
        }
        return json.dumps(plain, indent=1) + "\n"


Say = Callable[[str], object]


@dataclass(slots=True, kw_only=True)
class _Course:
    """One proof while it is made: its clock, its keys, what was seen."""

    subject: Subject
    level: Level
    cache: Path
    logs: Path
    scratch: Path
    say: Say
    began: float = field(default_factory=time.monotonic)
    seconds: list[tuple[str, float]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def reached(self, phase: str) -> None:
        self.seconds.append((phase, round(time.monotonic() - self.began, 1)))
        self.say(phase)

    def fetching(self, what: str, done: int, total: int) -> None:
        self.say(f"{what} the Xen host's packages: {done >> 20} of {total >> 20} MiB")

    def explain(self, console: str) -> causes.Cause | None:
        return diagnose(console, self.subject.image, self.scratch)

    def check(self, name: str, holds: bool, *, bad: str, good: str) -> None:
        self.checks.append(Check(id=name, holds=holds, says=good if holds else bad))


def guest_memory(kind: InstanceType, limit: int = 512) -> int:
    """MiB that a guest of a type is given here: all of an instance type's would be wasted on a look at it."""
    return min(limit, kind.memory_mib)


def prove(subject: Subject, level: Level, *, cache: Path, scratch: Path, logs: Path, say: Say) -> Proof:
    """Boot and look. What is wrong with the image is in the proof; HostError when this machine cannot boot anything.

    `logs` gets the console, QEMU's messages, what the metadata service was asked (`metadata.log`) and the record
    (`proof.json`). `say` is told each phase as it is reached. Nothing runs, or is left in `scratch`, afterwards.
    """
    logs.mkdir(parents=True, exist_ok=True)
    (cache / "machine").mkdir(parents=True, exist_ok=True)
    with (cache / "machine" / "proof.lock").open("w") as lock:  # one at a time: two take longer than twice as long
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _proved(subject, level, cache=cache, scratch=scratch, logs=logs, say=say)


def _proved(subject: Subject, level: Level, *, cache: Path, scratch: Path, logs: Path, say: Say) -> Proof:
    for each in logs.glob("*.console"):
        each.unlink()
    place, held = workplace.make(scratch)  # swept by the next one, should this one be killed
    course = _Course(subject=subject, level=level, cache=cache, logs=logs, scratch=place, say=say)
    why, cause = "", None
    try:
        (_prove_direct if level is Level.DIRECT else _prove_under_xen)(course)
    except NotBooted as error:
        why, cause = error.brief, error.cause
    finally:
        shutil.rmtree(place)
        os.close(held)
    proof = Proof(
        level=level,
        instance_type=subject.instance_type,
        seconds=tuple(course.seconds),
        checks=tuple(course.checks),
        cause=cause,
        why=why,
        requests=tuple(course.requests),
    )
    (logs / "proof.json").write_text(proof.document())
    (logs / "metadata.log").write_text("".join(f"{line}\n" for line in course.requests))
    return proof


def _prove_under_xen(course: _Course) -> None:
    """Boot, look, and for `full` twice more, all on one host."""
    told = _metadata(course)
    with XenHost(
        cache=course.cache,
        scratch=course.scratch,
        logs=course.logs,
        serve=lambda guest, peer: metadata.serve(peer, told, course.requests.append),
        progress=course.fetching,
        note=course.say,
    ) as host:
        course.reached("dom0")
        guest = host.create(_spec(course.subject, "console"))
        login = _let_in(course, host, guest)
        _follow(course, guest, login)
        _look(course, login, guest, address=ADDRESS)
        if course.level is Level.FULL:
            guest = _restarted(course, host, guest, login)
        _power_off(course, login, guest)
        host.remove(guest)
        if course.level is Level.FULL:
            _without_a_disk(course, host)


def _prove_direct(course: _Course) -> None:
    told = _metadata(course)
    prepared = prepare.prepare(course.cache, progress=course.fetching, note=course.say)
    with direct.booted(
        _spec(course.subject, "console"),
        prepared,
        scratch=course.scratch,
        logs=course.logs,
        serve=lambda guest, peer: metadata.serve(peer, told, course.requests.append),
    ) as guest:
        login = ssh.Login(port=_free_port(), known=course.scratch / "known_hosts")
        guest.forward(22, login.port)
        _follow(course, guest, login)
        _look(course, login, guest, address=direct.ADDRESS, xen=False)
        _power_off(course, login, guest)


def _spec(subject: Subject, name: str) -> GuestSpec:
    return GuestSpec(
        name=name,
        memory_mib=subject.memory_mib,
        vcpus=subject.vcpus,
        disks=(Disk(device=subject.root_device, base=subject.image), *subject.disks),
        mac=classic_mac(0x1F35),
        address=ADDRESS,
        hostname=classic_name(ADDRESS),
        loader=subject.loader,
    )


def _metadata(course: _Course) -> metadata.Metadata:
    """What the instance is told of itself, with a key of this proof's own."""
    key = ssh.make_key(course.scratch / "launch-key")
    subject = course.subject
    values = {
        "meta-data/ami-id": "ami-00000000",
        "meta-data/instance-id": INSTANCE,
        "meta-data/instance-type": subject.instance_type,
        "meta-data/local-ipv4": ADDRESS,
        "meta-data/local-hostname": f"{classic_name(ADDRESS)}.ec2.internal",
        "meta-data/hostname": f"{classic_name(ADDRESS)}.ec2.internal",
        "meta-data/public-keys/0/openssh-key": key,
        "meta-data/block-device-mapping/ami": subject.root_device,
        "meta-data/block-device-mapping/root": f"/dev/{subject.root_device}",
    }
    return metadata.Metadata(values={path: value.encode() for path, value in values.items()})


def _let_in(course: _Course, host: XenHost, guest: Guest) -> ssh.Login:
    """Open port 22 of a guest to this machine."""
    host.permit({guest.spec.name: (Permission(protocol="tcp", first=22, last=22, cidrs=("0.0.0.0/0",)),)})
    return ssh.Login(port=host.forward(guest, 22), known=course.scratch / "known_hosts")


def _follow(course: _Course, guest: Running, login: ssh.Login, *, skip: int = 0, prefix: str = "") -> None:
    """As follow.follow, with what this proof knows."""
    follow(
        guest,
        steps=phases.WITHOUT_LOADER if course.level is Level.DIRECT else phases.WITH_LOADER,
        reached=lambda phase: course.reached(prefix + phase),
        knock=lambda: ssh.greets(login),
        explain=course.explain,
        skip=skip,
    )


def _look(course: _Course, login: ssh.Login, guest: Running, *, address: str, xen: bool = True) -> None:
    """Log in and ask everything."""
    subject, key = course.subject, course.scratch / "launch-key"
    if not subject.metadata_key:
        course.checks += doors.look(login, subject.injected, course.scratch)
        return
    output = _answered(course, login, guest, key, checks.SCRIPT)
    course.reached("ssh")
    expected = checks.Expected(architecture=subject.architecture, address=address, xen=xen)
    course.checks += checks.judge(checks.parse(output), expected)
    course.check("metadata-key", True, bad="", good="the key from the metadata service logs in")
    course.checks += doors.look(login, subject.injected, course.scratch)
    text = guest.console_text()
    course.check("console", "Linux version" in text, bad="no kernel messages", good="kernel messages")


def _answered(course: _Course, login: ssh.Login, guest: Running, key: Path, script: str) -> str:
    """What a script says, once the guest lets us in. NotBooted if it never does."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        code, output, said = ssh.run(login, key, script)
        if code != 255:
            return output
        if guest.end is not None:
            raise ended(guest, "up", course.explain)
        if time.monotonic() > until:
            reason = said.splitlines()[-1] if said else "no answer"
            asked = "" if course.requests else "; the metadata service was never asked for anything"
            raise NotBooted(f"the guest came up, but SSH does not let its launch key in: {reason}{asked}", None)
        time.sleep(_TRY_SECONDS)


def _restarted(course: _Course, host: XenHost, guest: Guest, login: ssh.Login) -> Guest:
    """It restarts, comes up, and is the same machine to SSH (its host keys are known by now)."""
    skip, key = len(guest.console_text()), course.scratch / "launch-key"
    ssh.run(login, key, "systemctl reboot --no-block 2>/dev/null || reboot")
    end = guest.wait(_PATIENCE_SECONDS)
    if end is None or end.reason != "reboot":
        raise NotBooted(f"the guest does not restart: {end.reason if end else 'it goes on'}", None)
    again = host.restart(guest)
    _follow(course, again, login, skip=skip, prefix="restart ")
    _answered(course, login, again, key, "true")
    course.reached("restart ssh")
    course.check("restart", True, bad="", good="comes up again, with the same host keys and launch key")
    return again


def _without_a_disk(course: _Course, host: XenHost) -> None:
    """A missing ephemeral disk must not keep it from coming up."""
    if not course.subject.disks:
        return
    missing, *others = course.subject.disks
    guest = host.create(_spec(replace(course.subject, disks=tuple(others)), "without-a-disk"))
    login = replace(_let_in(course, host, guest), known=course.scratch / "known_hosts_without_a_disk")
    _follow(course, guest, login, prefix=f"without {missing.device} ")
    _answered(course, login, guest, course.scratch / "launch-key", "true")
    course.check(f"without {missing.device}", True, bad="", good="comes up all the same")
    host.remove(guest)


def _power_off(course: _Course, login: ssh.Login, guest: Running) -> None:
    if not course.subject.metadata_key:
        return
    ssh.run(login, course.scratch / "launch-key", "systemctl poweroff --no-block 2>/dev/null || poweroff")
    end = guest.wait(_PATIENCE_SECONDS)
    course.check(
        "power-off",
        end is not None and end.reason == "poweroff",
        bad=f"it ends as {end.reason}" if end else "it goes on",
        good="powers off when told to",
    )
    if end is not None:
        course.reached("off")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
