"""What must hold in a guest that came up: one script that asks, and a pure judgement of what it says."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from builder.formats.fstab import parse_fstab

# Each answer stands below its name. It works with any shell and any init; what a system lacks says nothing.
# `late`: systemd waits for the device of an fstab line for a time that an emulated machine may need to get that far (it
# was seen to with 30 s and with 90 s). One that is there by now is given a second chance, and that is told.
SCRIPT = r"""
say() { echo "@@$1"; }
say let-in; cut -d' ' -f1 /proc/uptime
say state; timeout 300 systemctl is-system-running --wait 2>/dev/null
say multi-user; systemctl is-active multi-user.target 2>/dev/null || runlevel 2>/dev/null
say failed; systemctl --failed --plain --no-legend --full 2>/dev/null
say machine; uname -m
say bits; getconf LONG_BIT
say kernel; uname -r
say hypervisor; cat /sys/hypervisor/type 2>/dev/null
say late; grep -v -e '^#' -e noauto /etc/fstab | while read -r device point kind rest; do
    case $device in
        UUID=*) node=/dev/disk/by-uuid/${device#UUID=} ;;
        LABEL=*) node=/dev/disk/by-label/${device#LABEL=} ;;
        *) node=$device ;;
    esac
    if [ "$kind" = swap ]; then unit=$(systemd-escape -p --suffix=swap "$node")
    else unit=$(systemd-escape -p --suffix=mount "$point"); fi
    [ -b "$node" ] && ! systemctl is-active -q "$unit" && systemctl start "$unit" && echo "$device"
done 2>/dev/null
say mounts; cat /proc/mounts
say root; grep ' / ' /proc/self/mountinfo | while read -r _ _ number _ point _; do
    each=$(readlink -f "/sys/dev/block/$number") && [ "$point" = / ] && [ -f "$each/partition" ] || continue
    echo "$(cat "$each/start") $(cat "$each/size") $(cat "$each/../size") $(stat -f -c '%b %S' /)"
done 2>/dev/null | tail -n 1
say serials; cat /sys/block/*/serial /sys/block/*/device/serial 2>/dev/null
say swaps; tail -n +2 /proc/swaps
say fstab; cat /etc/fstab
say devices; grep -o '^/dev/[^[:space:]]*' /etc/fstab | while read -r each; do echo "$each $(readlink -f "$each")"; done
say addresses; ip -o -4 address show scope global 2>/dev/null || hostname -I
say began; echo $(($(date +%s) - $(cut -d. -f1 /proc/uptime)))
say host-keys; stat -c '%Y %n' /etc/ssh/ssh_host_*_key
say asked; cut -d' ' -f1 /proc/uptime
"""
_SECTOR = 512
_UNUSED = 4 << 20  # what alignment and the second GPT may leave at the end of a disk
_FILLED = 0.9
_CLOCK_SLACK = 5  # seconds; the kernel's clock begins a little before its uptime


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    id: str
    holds: bool
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the guest was given."""

    architecture: str
    """Amazon's word: x86_64 or i386."""
    address: str
    xen: bool = True
    volume: int = 0
    """Bytes of the root disk, which the root file system is to fill. 0 when that is not asked for."""
    serials: tuple[str, ...] = ()
    """Of disks that it was given."""


def parse(output: str) -> dict[str, str]:
    """The script's answers by their names."""
    answers: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in output.splitlines():
        if line.startswith("@@"):
            lines = answers.setdefault(line[2:], [])
        else:
            lines.append(line)
    return {name: "\n".join(each).strip() for name, each in answers.items()}


def took(answers: Mapping[str, str]) -> float:
    """Seconds from the login to the last answer, by the guest's own clock; 0.0 where it does not tell."""
    try:
        return max(0.0, float(answers["asked"]) - float(answers["let-in"]))
    except (KeyError, ValueError):
        return 0.0


def judge(answers: Mapping[str, str], expected: Expected) -> tuple[Check, ...]:
    """Every check of what the script said."""
    return (
        _multi_user(answers),
        _check("units", not answers.get("failed"), answers.get("failed", ""), "no unit failed"),
        _machine(answers, expected),
        *_xen(answers, expected),
        _address(answers, expected),
        *_mounts(answers),
        *_grown(answers, expected),
        *_disks(answers, expected),
        *_swap(answers),
        _host_keys(answers),
    )


def _check(name: str, holds: bool, bad: str, good: str) -> Check:
    return Check(id=name, holds=holds, says=good if holds else bad)


def _multi_user(answers: Mapping[str, str]) -> Check:
    said = answers.get("multi-user", "")
    level = said.split()[-1:] or [""]
    return _check(
        "multi-user", said == "active" or level[0] in ("3", "5"), f"multi-user.target is {said or 'unknown'}", "reached"
    )


def _machine(answers: Mapping[str, str], expected: Expected) -> Check:
    """A 32-bit user land may run on a 64-bit kernel: Xen without PV32 takes no other."""
    said, bits = answers.get("machine", ""), answers.get("bits", "")
    machines, width = (("x86_64",), "64") if expected.architecture == "x86_64" else (("i686", "x86_64"), "32")
    return _check(
        "architecture",
        said in machines and bits == width,
        f"uname -m says {said or 'nothing'}, programs have {bits or 'unknown'} bits: not {expected.architecture}",
        f"{said}, Linux {answers.get('kernel', '')}",
    )


def _xen(answers: Mapping[str, str], expected: Expected) -> Iterator[Check]:
    if expected.xen:
        said = answers.get("hypervisor", "")
        yield _check("hypervisor", said == "xen", f"/sys/hypervisor/type is {said or 'not there'}", "a guest of Xen")


def _address(answers: Mapping[str, str], expected: Expected) -> Check:
    """That it is reached at the address which only DHCP told it says most; `dynamic` says that it is a lease."""
    said = answers.get("addresses", "")
    line = next((each for each in said.splitlines() if f" {expected.address}/" in f"{each} "), "")
    leased = "dynamic" in line or ("inet" not in said and expected.address in said)
    return _check("dhcp", leased, f"{expected.address} is not a lease: {line or said or 'no address'}", "has a lease")


def _mounts(answers: Mapping[str, str]) -> Iterator[Check]:
    late = answers.get("late", "").split()
    mounted = {line.split()[1] for line in answers.get("mounts", "").splitlines() if len(line.split()) > 1}
    for line in parse_fstab(answers.get("fstab", "")):
        if line.mount_point.startswith("/") and "noauto" not in line.options.split(","):
            yield _check(
                f"mount {line.mount_point}",
                line.mount_point in mounted,
                f"{line.device} of /etc/fstab is not mounted",
                f"{line.device} is mounted{_late(line.device, late)}",
            )


def _grown(answers: Mapping[str, str], expected: Expected) -> Iterator[Check]:
    """The root's partition reaches to the end of its disk, and its file system fills it, but for what it needs itself:
    ext4 takes some 2 %, xfs less."""
    if not expected.volume:
        return
    numbers = answers.get("root", "").split()
    if len(numbers) != 5 or not all(each.isdecimal() for each in numbers):
        yield Check(id="root-size", holds=False, says="the root is not on a partition of a disk")
        return
    start, size, disk, blocks, block = (int(each) for each in numbers)
    unused = disk * _SECTOR - (start + size) * _SECTOR
    fills = blocks * block >= size * _SECTOR * _FILLED
    yield _check(
        "root-size",
        disk * _SECTOR == expected.volume and unused <= _UNUSED and fills,
        f"the volume has {expected.volume >> 20} MiB, the disk {disk * _SECTOR >> 20}, the root's partition "
        f"{size * _SECTOR >> 20}, its file system {blocks * block >> 20}",
        f"the root has grown to {blocks * block >> 20} MiB of a volume of {expected.volume >> 20} MiB",
    )


def _disks(answers: Mapping[str, str], expected: Expected) -> Iterator[Check]:
    if expected.serials:
        missing = [each for each in expected.serials if each not in answers.get("serials", "").split()]
        yield _check(
            "disks",
            not missing,
            f"not there: {', '.join(missing)}",
            f"{len(expected.serials)} with their serial numbers",
        )


def _swap(answers: Mapping[str, str]) -> Iterator[Check]:
    real = dict(line.split()[:2] for line in answers.get("devices", "").splitlines() if len(line.split()) > 1)
    late = answers.get("late", "").split()
    active = {line.split()[0] for line in answers.get("swaps", "").splitlines() if line.split()}
    for line in parse_fstab(answers.get("fstab", "")):
        if line.filesystem == "swap":
            device = real.get(line.device, line.device)
            on = bool(active & {device, line.device}) or (not device.startswith("/dev/") and bool(active))
            yield _check(
                f"swap {line.device}",
                on,
                f"{line.device} of /etc/fstab is not in use",
                f"in use{_late(line.device, late)}",
            )


def _late(device: str, late: Collection[str]) -> str:
    """What to add of a line that had to be started again."""
    return ", at the second try: the device was there too late, on a slow machine" if device in late else ""


def _host_keys(answers: Mapping[str, str]) -> Check:
    """Made by this instance: after its kernel began."""
    began = int(answers.get("began") or 0)
    keys = [line.split() for line in answers.get("host-keys", "").splitlines()]
    old = [name for made, name in keys if int(made) < began - _CLOCK_SLACK]
    return _check(
        "host-keys",
        bool(keys) and not old,
        f"older than this instance: {', '.join(old)}" if keys else "none under /etc/ssh",
        f"{len(keys)} made at first boot",
    )
