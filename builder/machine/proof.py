"""The boot proof: an image is booted as EC2 would, looked at over SSH, and told off or let go.

Levels of a paravirtual image: `login` boots it under Xen as an instance of one type; `full` also restarts it and takes
its first ephemeral disk away; `direct` boots it in plain QEMU, for a quick look. Of an HVM image: `login` boots it with
each firmware that EC2 may start it with; `full` also restarts it and takes its first ephemeral disk away; `direct`
takes the BIOS alone, which is sooner done.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from builder.machine import causes, checks, direct, doors, metadata, phases, plain, prepare, ssh, workplace
from builder.machine.checks import Check
from builder.machine.created import Guest
from builder.machine.diagnose import diagnose
from builder.machine.disks import volume_serial
from builder.machine.follow import NotBooted, Running, ended, follow
from builder.machine.guest import Disk, Firmware, GuestSpec, Hvm, classic_mac, classic_name
from builder.machine.host import XenHost
from builder.machine.hvm import HvmHost
from builder.machine.network import Permission
from builder.machine.subject import HvmSubject, Level, Proof, Subject

ADDRESS = "10.251.50.35"
INSTANCE = "i-0f00db00"
_PATIENCE_SECONDS = 240.0  # emulated, on a busy machine
_TRY_SECONDS = 1.0


Say = Callable[[str], object]
Host = XenHost | HvmHost


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
    prefix: str = ""
    """Of phases and checks: which of several boots they are of."""

    @property
    def address(self) -> str:
        under_xen = self.subject.hvm is None and self.level is not Level.DIRECT
        return ADDRESS if under_xen else plain.ADDRESS

    def reached(self, phase: str, *, ago: float = 0.0) -> None:
        phase = self.prefix + phase
        self.seconds.append((phase, round(time.monotonic() - self.began - ago, 1)))
        self.say(phase)

    def fetching(self, what: str, done: int, total: int) -> None:
        self.say(f"{what} the Xen host's packages: {done >> 20} of {total >> 20} MiB")

    def explain(self, console: str) -> causes.Cause | None:
        return diagnose(console, self.subject.image, self.scratch)

    def check(self, name: str, holds: bool, *, bad: str, good: str) -> None:
        self.found([Check(id=name, holds=holds, says=good if holds else bad)])

    def found(self, checks: Iterable[Check]) -> None:
        self.checks += (replace(each, id=self.prefix + each.id) for each in checks)


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
        if subject.hvm is not None:
            _prove_hvm(course, subject.hvm)
        else:
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
        guest = host.create(_spec(course, "console"))
        login = _let_in(course, host, guest)
        _follow(course, guest, login)
        _look(course, login, guest)
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
        _spec(course, "console"),
        prepared,
        scratch=course.scratch,
        logs=course.logs,
        serve=lambda guest, peer: metadata.serve(peer, told, course.requests.append),
    ) as machine:
        login = ssh.Login(port=machine.forward(22), known=course.scratch / "known_hosts")
        _follow(course, machine.guest, login)
        _look(course, login, machine.guest)
        _power_off(course, login, machine.guest)


def _prove_hvm(course: _Course, hvm: HvmSubject) -> None:
    """Boot and look with each firmware, and for `full` once more without a disk."""
    told = _metadata(course)
    with HvmHost(
        cache=course.cache,
        scratch=course.scratch,
        logs=course.logs,
        serve=lambda guest, peer: metadata.serve(peer, told, course.requests.append),
    ) as host:
        for number, firmware in enumerate(chosen := hvm.chosen(course.level)):
            course.prefix = f"{firmware} " if len(chosen) > 1 else ""
            guest = host.create(_spec(course, firmware, firmware=firmware))
            login = _let_in(course, host, guest)
            _follow(course, guest, login)
            _look(course, login, guest)
            if course.level is Level.FULL and not number:
                guest = _restarted(course, host, guest, login)
            _power_off(course, login, guest)
            host.remove(guest)
        course.prefix = ""
        if course.level is Level.FULL:
            _without_a_disk(course, host, firmware=hvm.firmwares[0])


def _spec(course: _Course, name: str, *, firmware: Firmware = Firmware.BIOS, missing: int = 0) -> GuestSpec:
    """The guest without so many of its ephemeral disks."""
    subject = course.subject
    hvm, volume = None, 0
    if subject.hvm is not None:
        hvm = Hvm(firmware=firmware, instance_type=subject.instance_type, nitro=subject.hvm.nitro)
        volume = subject.hvm.volume
    root = Disk(
        device=subject.root_device, base=subject.image, size=volume, serial=volume_serial(INSTANCE) if hvm else ""
    )
    return GuestSpec(
        name=name,
        memory_mib=subject.memory_mib,
        vcpus=subject.vcpus,
        disks=(root, *subject.disks[missing:]),
        mac=classic_mac(0x1F35),
        address=course.address,
        hostname=classic_name(course.address),
        loader=subject.loader,
        hvm=hvm,
    )


def _metadata(course: _Course) -> metadata.Metadata:
    """What the instance is told of itself, with a key of this proof's own."""
    key = ssh.make_key(course.scratch / "launch-key")
    subject = course.subject
    values = {
        "meta-data/ami-id": "ami-00000000",
        "meta-data/instance-id": INSTANCE,
        "meta-data/instance-type": subject.instance_type,
        "meta-data/local-ipv4": course.address,
        "meta-data/local-hostname": f"{classic_name(course.address)}.ec2.internal",
        "meta-data/hostname": f"{classic_name(course.address)}.ec2.internal",
        "meta-data/public-keys/0/openssh-key": key,
        "meta-data/block-device-mapping/ami": subject.root_device,
        "meta-data/block-device-mapping/root": f"/dev/{subject.root_partition}",
    }
    return metadata.Metadata(
        values={path: value.encode() for path, value in values.items()}, token_required=subject.token_required
    )


def _let_in(course: _Course, host: Host, guest: Guest) -> ssh.Login:
    """Open port 22 of a guest to this machine."""
    if isinstance(host, XenHost):
        host.permit({guest.spec.name: (Permission(protocol="tcp", first=22, last=22, cidrs=("0.0.0.0/0",)),)})
    return ssh.Login(port=host.forward(guest, 22), known=course.scratch / f"known_hosts_{guest.spec.name}")


def _follow(course: _Course, guest: Running, login: ssh.Login, *, skip: int = 0, prefix: str = "") -> None:
    """As follow.follow, with what this proof knows."""
    steps = phases.WITHOUT_LOADER if course.level is Level.DIRECT else phases.WITH_LOADER
    follow(
        guest,
        steps=phases.WITH_FIRMWARE if course.subject.hvm else steps,
        reached=lambda phase: course.reached(prefix + phase),
        knock=lambda: ssh.greets(login),
        explain=course.explain,
        skip=skip,
    )


def _look(course: _Course, login: ssh.Login, guest: Guest) -> None:
    """Log in and ask everything."""
    subject, key = course.subject, course.scratch / "launch-key"
    if not subject.metadata_key:
        course.found(doors.look(login, subject.injected, course.scratch))
        return
    answers = checks.parse(_answered(course, login, guest, key, checks.SCRIPT))
    course.reached("ssh", ago=checks.took(answers))
    expected = checks.Expected(
        architecture=subject.architecture,
        address=course.address,
        xen=course.address == ADDRESS,
        volume=subject.hvm.volume if subject.hvm else 0,
        serials=tuple(each.serial for each in guest.spec.disks if each.serial),
    )
    course.found(checks.judge(answers, expected))
    course.check("metadata-key", True, bad="", good="the key from the metadata service logs in")
    course.found(doors.look(login, subject.injected, course.scratch))
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


def _restarted(course: _Course, host: Host, guest: Guest, login: ssh.Login) -> Guest:
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


def _without_a_disk(course: _Course, host: Host, *, firmware: Firmware = Firmware.BIOS) -> None:
    """A missing ephemeral disk must not keep it from coming up."""
    if not course.subject.disks:
        return
    missing = course.subject.disks[0]
    guest = host.create(_spec(course, "without-a-disk", firmware=firmware, missing=1))
    login = _let_in(course, host, guest)
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
