"""Looks at this machine for what would stop a build, and for what dead builds left behind.

Every probe is a small function that yields findings and changes nothing; each tries the real thing where that is
quick (a user namespace, an overlay that replaces a directory, a 32-bit program) instead of reading a setting that
only promises it. All of them together take a second or two.
"""

import fcntl
import importlib.util
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from builder.errors import BuilderError, HostError
from builder.host import namespace, process
from builder.host.packages import Package, missing_packages
from builder.host.sandbox import require_i386

# A cold build of the quickstart writes about 1.5 GiB: two layers, their trees, a 1 GiB image, its parts.
NEEDED_SPACE = 2 * 2**30
ENOUGH_SPACE = 8 * 2**30
ENOUGH_FILES = 50_000
PATIENCE = 2.0
"""Seconds to wait for an answer from the network."""
DAEMONS = ("gpg-agent", "dirmngr", "keyboxd", "scdaemon", "qemu-system-")
"""Programs that outlive their starter when nobody stops them: gpg 2.2 starts an agent for each keyring it uses."""

TRY_OVERLAY = """
import sys
from pathlib import Path
from builder.errors import HostError
from builder.host.overlay import require_overlay
try:
    require_overlay(Path(sys.argv[1]))
except HostError as error:
    sys.exit(f"{error.brief}\\n{error.hint}")
"""


class Severity(StrEnum):
    OK = "ok"
    WARNING = "warning"  # some recipes, or some steps, will fail or be slow
    ERROR = "error"  # no build will succeed


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was seen of one thing, and the command that mends it ("" when nothing is wrong)."""

    id: str
    severity: Severity
    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the probes look at."""

    store: Path
    cache: Path
    state: Path
    region_directory: Path
    region: str = "local"
    endpoint_url: str | None = None
    profile: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    proc: Path = Path("/proc")
    boot: Path = Path("/boot")
    modules: Path = Path("/lib/modules")
    apt: Path = Path("/etc/apt")
    subordinate: tuple[Path, ...] = namespace.SUBORDINATE
    missing: Callable[[], tuple[Package, ...]] = missing_packages
    now: Callable[[], float] = time.time


Probe = Callable[[Scene], Iterator[Finding]]


def examine(
    store: Path,
    cache: Path,
    region_directory: Path,
    *,
    region: str = "local",
    endpoint_url: str | None = None,
    profile: str | None = None,
) -> tuple[Finding, ...]:
    """Everything that was found, good things too, in the order of PROBES. Changes nothing."""
    scene = Scene(
        store=store,
        cache=cache,
        state=region_directory.parent,
        region_directory=region_directory,
        region=region,
        endpoint_url=endpoint_url,
        profile=profile,
    )
    with ThreadPoolExecutor(len(PROBES)) as pool:
        found = pool.map(lambda probe: _look(probe, scene), PROBES)
        return tuple(finding for each in found for finding in each)


def _look(probe: Probe, scene: Scene) -> tuple[Finding, ...]:
    name = probe.__name__.removeprefix("probe_").replace("_", "-")
    try:
        return tuple(probe(scene))
    except BuilderError as error:
        what = f"{error.brief} ({error.detail.splitlines()[-1]})" if error.detail else error.brief
        return (Finding(id=name, severity=Severity.ERROR, what=what, remedy=error.hint),)
    except OSError as error:
        return (Finding(id=name, severity=Severity.WARNING, what=f"could not look: {error}"),)


def _ok(id: str, what: str) -> Finding:
    return Finding(id=id, severity=Severity.OK, what=what)


def _warning(id: str, what: str, remedy: str = "") -> Finding:
    return Finding(id=id, severity=Severity.WARNING, what=what, remedy=remedy)


def _error(id: str, what: str, remedy: str = "") -> Finding:
    return Finding(id=id, severity=Severity.ERROR, what=what, remedy=remedy)


# What a build needs of the host.


def probe_packages(scene: Scene) -> Iterator[Finding]:
    """The Debian packages of host/packages.conf."""
    missing = scene.missing()
    for each in missing:
        yield _error("packages", f"{each.name} is not installed: {each.purpose}", f"apt-get install {each.name}")
    if not missing:
        yield _ok("packages", "every Debian package that is needed is there")


def probe_subordinate_ids(scene: Scene) -> Iterator[Finding]:
    """65536 ids of their own for this user, in both files."""
    user = namespace.user_name()
    lacking = [path for path in scene.subordinate if namespace.subordinate_ids(path) < namespace.ENOUGH_IDS]
    if lacking:
        files = " and ".join(str(path) for path in lacking)
        remedy = namespace.ids_remedy(lacking, scene.subordinate)
        yield _error("subordinate-ids", f"{user} has fewer than 65536 ids in {files}", remedy)
    else:
        yield _ok("subordinate-ids", f"{user} has subordinate ids")


def probe_namespace(scene: Scene) -> Iterator[Finding]:
    """A user namespace with a full id map, made for real."""
    namespace.require_namespace()
    yield _ok("namespace", "user namespaces work")


def probe_layers(scene: Scene) -> Iterator[Finding]:
    """An overlay where the store is, in a namespace: a directory of a lower layer is replaced."""
    namespace.require_namespace()
    place = _existing(scene.store)
    tried = process.run(
        namespace.inside([sys.executable, "-c", TRY_OVERLAY, place]),
        capture=True,
        check=False,
        env={"PYTHONPATH": _ours()},
    )
    if tried.returncode == 0:
        yield _ok("layers", f"layers can be merged at {place}")
    else:
        brief, _, hint = tried.stderr.decode(errors="replace").strip().partition("\n")
        yield _error("layers", brief, hint)


def probe_guestfs(scene: Scene) -> Iterator[Finding]:
    """The distribution's binding, seen by this very interpreter."""
    if importlib.util.find_spec("guestfs") is None:
        yield _error(
            "guestfs", f"{sys.executable} does not find guestfs: verify cannot read images", "make clean setup"
        )
    else:
        yield _ok("guestfs", "guestfs can be imported")


def probe_appliance_kernel(scene: Scene) -> Iterator[Finding]:
    """A kernel with its modules, both readable by this user: what supermin makes libguestfs' appliance from."""
    named = scene.environment.get("SUPERMIN_KERNEL")
    kernels = [Path(named)] if named else sorted(scene.boot.glob("vmlinu?-*"))
    usable = [each for each in kernels if named or (scene.modules / each.name.partition("-")[2]).is_dir()]
    readable = [each for each in usable if os.access(each, os.R_OK)]
    if readable:
        yield _ok("appliance-kernel", f"{readable[-1]} is there for libguestfs")
    elif usable:
        # Ubuntu installs its kernels with mode 0600.
        yield _error("appliance-kernel", f"{usable[-1]} cannot be read: verify needs it", f"chmod +r {usable[-1]}")
    else:
        remedy = "apt-get install linux-image-cloud-amd64"
        yield _error("appliance-kernel", f"no kernel with modules in {scene.boot}: verify needs one", remedy)


def probe_i386(scene: Scene) -> Iterator[Finding]:
    """A 32-bit program, run: the scripts of x86 packages are such programs."""
    try:
        require_i386()
    except HostError as error:
        yield _warning("i386", error.brief, error.hint)
    else:
        yield _ok("i386", "32-bit programs run")


def probe_store(scene: Scene) -> Iterator[Finding]:
    """The store can be written, and there is room in it."""
    place = _existing(scene.store)
    if not os.access(place, os.W_OK | os.X_OK):
        user = namespace.user_name()
        yield _error("store", f"{place} cannot be written by {user}", "choose another place with --store")
        return
    room = os.statvfs(place)
    free = room.f_bavail * room.f_frsize
    said = f"{free / 2**30:.1f} GiB free at {place}"
    if free < NEEDED_SPACE:
        yield _error("store", f"only {said}", "ami-factory store gc, or another place with --store")
    elif free < ENOUGH_SPACE:
        yield _warning("store", f"only {said}", "ami-factory store gc")
    elif room.f_files and room.f_favail < ENOUGH_FILES:
        yield _warning("store", f"only {room.f_favail} more files fit at {place}", "ami-factory store gc")
    else:
        yield _ok("store", said)


def probe_clock(scene: Scene) -> Iterator[Finding]:
    """A clock that is behind makes signatures and certificates look as if they came from the future."""
    known = max(path.stat().st_mtime for path in (Path(__file__), Path("/var/lib/dpkg/status")) if path.exists())
    if scene.now() < known - 60:
        behind = round((known - scene.now()) / 60)
        yield _error(
            "clock", f"the clock is at least {behind} minutes behind files of this machine", "timedatectl set-ntp true"
        )
    else:
        yield _ok("clock", time.strftime("it is %Y-%m-%d %H:%M UTC", time.gmtime(scene.now())))


# What lies beyond it.


def probe_archive(scene: Scene) -> Iterator[Finding]:
    """The Debian archive that the quickstart distribution is made from the first time."""
    hosts = _archive_hosts(scene.apt)
    if not hosts:
        yield _warning(
            "archive", f"no archive in {scene.apt}: the quickstart distribution cannot be made", "see: man sources.list"
        )
        return
    proxy = scene.environment.get("http_proxy", "")
    unreachable = [each for each in hosts if not _answers(*(_address(proxy) if proxy else each))]
    if unreachable:
        names = ", ".join(host for host, _ in unreachable)
        yield _warning(
            "archive", f"{names} cannot be reached: only what is in the cache can be built", "check the network"
        )
    else:
        yield _ok("archive", "the host's Debian archive can be reached")


def _archive_hosts(apt: Path) -> tuple[tuple[str, int], ...]:
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    found = set()
    for path in files:
        if path.suffix in (".list", ".sources") and path.is_file():
            lines = [
                line for line in path.read_text(errors="replace").splitlines() if not line.lstrip().startswith("#")
            ]
            words = [word for line in lines for word in line.split()]
            found |= {_address(word) for word in words if word.startswith(("http://", "https://"))}
    return tuple(sorted(found))


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url if "//" in url else f"//{url}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=PATIENCE):
            return True
    except OSError:
        return False


def probe_region(scene: Scene) -> Iterator[Finding]:
    """The region answers, and accepts the credentials."""
    if scene.region != "local" or scene.endpoint_url:
        from builder.cloud.sts import account

        yield _ok("region", f"{scene.region} answers; account {account(scene, scene.region)}")
        return
    from builder.region import control

    status = control.status(scene.region_directory)
    if status is None:
        yield _ok("region", "the local region is not running: a build starts it")
    elif _answers(*_address(status.endpoint_url)):
        yield _ok("region", f"the local region is running at {status.endpoint_url}")
    else:
        remedy = "ami-factory region stop, then ami-factory region start"
        yield _error("region", f"the local region does not answer at {status.endpoint_url}", remedy)


# What was left behind.


def probe_leftovers(scene: Scene) -> Iterator[Finding]:
    """Workspaces that no living build holds."""
    work = scene.store / "work"
    places = sorted(each for each in work.iterdir() if each.suffix != ".lock") if work.is_dir() else []
    stale = [each for each in places if not _held(each.with_suffix(".lock"))]
    if stale:
        yield _warning("leftovers", f"{len(stale)} workspaces of builds that died in {work}", "ami-factory store gc")
    else:
        yield _ok("leftovers", "no workspace of a dead build")


def probe_leases(scene: Scene) -> Iterator[Finding]:
    """Lease files that nobody holds: harmless, the next build of that step takes them over."""
    leases = scene.store / "leases"
    dead = [each for each in sorted(leases.iterdir()) if not _held(each)] if leases.is_dir() else []
    if dead:
        yield _warning(
            "leases", f"{len(dead)} leases of builds that died in {leases} (harmless)", "ami-factory store gc"
        )
    else:
        yield _ok("leases", "no lease of a dead build")


def _held(path: Path) -> bool:
    """Whether a living process holds the lock; taking it for a moment is the only way to ask."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def probe_mounts(scene: Scene) -> Iterator[Finding]:
    """Mounts below the store, seen from outside the namespaces of builds: there must never be one."""
    lines = (scene.proc / "self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]
    left = [each for each in points if each != scene.store and each.is_relative_to(scene.store)]
    for each in left:
        yield _warning("mounts", f"{each} is still mounted", f"umount '{each}'")
    if not left:
        yield _ok("mounts", "nothing is mounted in the store")


def probe_daemons(scene: Scene) -> Iterator[Finding]:
    """Programs of ours whose build is gone: their parent is process 1, and their command line names our directories."""
    ours = tuple(str(each) for each in (scene.store, scene.state, scene.cache))
    left = []
    for entry in scene.proc.iterdir():
        if entry.name.isdigit() and (command := _command(entry)):
            named = any(part.startswith(ours) or f"={part}".startswith(ours) for part in command)
            if Path(command[0]).name.startswith(DAEMONS) and named and _parent(entry) == 1:
                left.append((int(entry.name), Path(command[0]).name))
    for pid, name in sorted(left):
        yield _warning("daemons", f"{name} (process {pid}) outlived its build", f"kill {pid}")
    if not left:
        yield _ok("daemons", "no program outlived its build")


def _command(entry: Path) -> list[str]:
    """A process's command line; none of one that ended meanwhile, and none of other users'."""
    try:
        if entry.stat().st_uid != os.getuid():
            return []
        return (entry / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return 0


def probe_keys(scene: Scene) -> Iterator[Finding]:
    """Private keys are the user's alone: the state directory is closed to others, or all that is in it."""
    inside = tuple(scene.state.iterdir()) if scene.state.is_dir() and _open_to_others(scene.state) else ()
    if any(_open_to_others(each) for each in inside):
        yield _warning(
            "keys", f"others can look into {scene.state}, which holds private keys", f"chmod 700 '{scene.state}'"
        )
    else:
        yield _ok("keys", "private keys are readable by you alone")


def _open_to_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _existing(path: Path) -> Path:
    """The path, or the nearest directory above it that is there."""
    return next(each for each in (path, *path.parents) if each.is_dir())


def _ours() -> str:
    return str(Path(__file__).parents[1])


PROBES: tuple[Probe, ...] = (
    probe_packages,
    probe_subordinate_ids,
    probe_namespace,
    probe_layers,
    probe_guestfs,
    probe_appliance_kernel,
    probe_i386,
    probe_store,
    probe_clock,
    probe_archive,
    probe_region,
    probe_leftovers,
    probe_leases,
    probe_mounts,
    probe_daemons,
    probe_keys,
)
