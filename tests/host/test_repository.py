"""The repository stage with the real apt, dpkg-deb, rpmbuild, createrepo_c, gpg and dnf, on packages made here."""

import gzip
import hashlib
import io
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError, HostError, RecipeError
from builder.formats.deb import parse_version
from builder.host import apt, namespace, process
from builder.host.rpm_warnings import check_warnings
from builder.stages.contract import StageContext, Surroundings
from builder.stages.repository import signing, sources
from builder.stages.repository.definition import definition_digest
from builder.stages.repository.rpmspec import rpm_version
from builder.stages.repository.run import run
from builder.stages.repository.spec import RepositorySpec
from builder.stages.values import SourcePackage
from tests.host.conftest import call_inside

pytestmark = pytest.mark.host
TIME = 1_600_000_000
Inside = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class File:
    path: str
    text: str = ""
    origin: str = ""
    """A file of the host, whose bytes it has."""
    mode: int = 0o644
    gid: int = 0
    link: str = ""
    hard: bool = False
    time: int = TIME


@dataclass(frozen=True, kw_only=True)
class Package:
    name: str
    version: str = "1-1"
    architecture: str = "amd64"
    fields: Mapping[str, str] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    members: Mapping[str, str] = field(default_factory=dict)
    """Further members of the control archive: conffiles, postinst."""

    @property
    def control(self) -> str:
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": "Nobody <nobody@example.org>",
            "Description": f"{self.name} for a test",
            **self.fields,
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items())


BASE = (
    Package(
        name="base-passwd",
        version="3.6",
        fields={"Essential": "yes"},
        files=(
            File(
                path="usr/share/base-passwd/passwd.master",
                text="root:*:0:0:root:/root:/bin/sh\nnobody:*:65534:65534::/:/usr/sbin/nologin\n",
            ),
            File(
                path="usr/share/base-passwd/group.master",
                text="root:*:0:\nmail:*:8:\nshadow:*:42:\nutmp:*:43:\nstaff:*:50:\nnogroup:*:65534:\n",
            ),
        ),
    ),
    Package(
        name="base-files",
        version="12.4+deb12u1",
        fields={"Essential": "yes"},
        files=(
            File(path="usr/lib/os-release", text='NAME="Test GNU/Linux"\nID=test\nVERSION_ID="12"\n'),
            File(path="etc/issue", text="of the source\n"),
            File(path="usr/share/base-files/profile", text="# profile\n", time=TIME + 500),
            File(path="usr/share/base-files/dot.profile", text="# dot.profile\n"),
            File(path="usr/share/base-files/dot.bashrc", text="# dot.bashrc\n"),
        ),
    ),
    # The host's own shell, so that the base package's file triggers can run in the tree.
    Package(
        name="dash",
        fields={"Essential": "yes"},
        files=(
            File(path="bin/dash", origin="/bin/dash", mode=0o755),
            File(path="bin/sh", link="dash"),
            File(path="lib/libc.so.6", origin="/lib/x86_64-linux-gnu/libc.so.6", mode=0o755),
            File(path="lib64/ld-linux-x86-64.so.2", origin="/lib64/ld-linux-x86-64.so.2", mode=0o755),
        ),
    ),
)
TOOL = Package(
    name="tool",
    version="2:1.0~rc1+ds-3",
    fields={
        "Pre-Depends": "base-files (>= 12)",
        "Depends": "nothing (>= 9) | virtual, dash",
        "Provides": "tool-api (= 1)",
        "Breaks": "virtual (<< 4)",
        "Description": "100% of a tool\n with more lines",
    },
    files=(
        File(path="bin/tool", text="#!/bin/sh\n", mode=0o2755, gid=42),
        File(path="bin/same", link="./bin/tool", hard=True, mode=0o2755, gid=42),
        File(path="lib/odd/[x] é%s.service", text="odd\n"),
        File(path="usr/lib/link", link="../../lib/odd"),
        File(path="etc/tool.conf", text="one\n", mode=0o640, gid=42),
        File(path="usr/share/doc/tool/copyright", text="free\n"),
        File(path="usr/share/doc/tool/changelog", text="long\n"),
    ),
    members={
        "conffiles": "/etc/tool.conf\n",
        "postinst": "if deb-systemd-helper --quiet was-enabled 'tool.service'; then\n",
    },
)
PROVIDER = Package(name="provider", version="5", architecture="all", fields={"Provides": "virtual"})
PACKAGES = (*BASE, TOOL, PROVIDER)


def tar_of(files: Iterable[File]) -> bytes:
    """A data or control archive as dpkg-deb writes it: owners by number, directories first."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        made: set[str] = set()
        for each in files:
            for parent in reversed([str(part) for part in Path(each.path).parents if str(part) != "."]):
                if parent not in made:
                    made.add(parent)
                    info = tarfile.TarInfo(f"./{parent}/")
                    info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, TIME
                    tar.addfile(info)
            info = tarfile.TarInfo(f"./{each.path}")
            info.mode, info.gid, info.mtime = each.mode, each.gid, each.time
            if each.link:
                info.type, info.linkname = (tarfile.LNKTYPE if each.hard else tarfile.SYMTYPE), each.link
                tar.addfile(info)
            else:
                content = Path(each.origin).read_bytes() if each.origin else each.text.encode()
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def deb_of(package: Package) -> bytes:
    """The bytes of a .deb file (deb(5)): an ar archive of three members."""
    content = {
        "control": package.control,
        **package.members,
    }
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": tar_of(File(path=name, text=text) for name, text in content.items()),
        "data.tar.gz": tar_of(package.files),
    }
    archive = b"!<arch>\n"
    for name, member in members.items():
        archive += f"{name:<16}{TIME:<12}0     0     100644  {len(member):<10}`\n".encode() + member
        archive += b"\n" * (len(member) % 2)
    return archive


def source_of(package: Package) -> SourcePackage:
    content = deb_of(package)
    return SourcePackage(
        name=package.name,
        version=package.version,
        architecture=package.architecture,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


def fill(cache: Path, packages: Iterable[Package]) -> tuple[SourcePackage, ...]:
    """Put the packages where a former fetch would have left them."""
    (cache / "debs").mkdir(parents=True, exist_ok=True)
    found = tuple(source_of(each) for each in packages)
    for each, package in zip(found, packages, strict=True):
        (cache / "debs" / f"{each.sha256}.deb").write_bytes(deb_of(package))
    return found


def step(place: str, state: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Run the stage, below `place`; called inside the namespace."""
    base = Path(place)
    for each in ("output", "scratch"):
        (base / each).mkdir(parents=True)
    spec["sources"] = tuple(SourcePackage(**each) for each in spec["sources"])
    context = StageContext(
        key="0" * 64,
        inputs=(),
        output=base / "output",
        scratch=base / "scratch",
        surroundings=Surroundings(
            state=Path(state),
            cache=base / "cache",
            trees=base / "trees",
            secrets={"signing_key": str(signing.secret_key_file(Path(state)))},
        ),
        progress=lambda what, done, total, unit="bytes": None,
    )
    result = dict(run(RepositorySpec(**spec), context))
    assert not list(context.scratch.iterdir())
    return result


def make(
    inside: Inside, place: Path, state: Path, packages: Iterable[Package] = PACKAGES, **changes: Any
) -> dict[str, Any]:
    packages = tuple(packages)
    spec = RepositorySpec(
        architecture="x86_64",
        sources=fill(place / "cache", packages),
        signing_key=signing.make_signing_key(state),
        definition=definition_digest(),
    )
    result: dict[str, Any] = inside(step, place=place, state=state, spec=asdict(replace(spec, **changes)))
    return result


def contents(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def query(package: Path, form: str) -> list[str]:
    done = subprocess.run(
        ["rpm", "--query", "--package", "--queryformat", form, package], capture_output=True, check=True, text=True
    )
    return done.stdout.splitlines()


def install(repository: str, root: str, packages: list[str]) -> str:
    """dnf into an empty tree, as the packages stage does it; what it and rpm said. Called inside the namespace."""
    tree = Path(root)
    home = tree.with_name(tree.name + ".home")
    for each in (tree, home):
        each.mkdir()
    (home / ".rpmmacros").write_text("%_dbpath /usr/lib/sysimage/rpm\n")
    (home / "dnf.conf").write_text(
        f"[main]\nreposdir=/dev/null\ncachedir={home}/cache\nlogdir={home}\ninstall_weak_deps=0\n"
        f"[q]\nname=q\nbaseurl=file://{repository}\ngpgcheck=0\nrepo_gpgcheck=1\n"
        f"gpgkey=file://{repository}/signing-key.asc\n"
    )
    done = process.run(
        ["dnf", "-y", "-c", home / "dnf.conf", f"--installroot={tree}", "--releasever=12", "install", *packages],
        env={
            "HOME": str(home),
            "PATH": process.environment()["PATH"],
            "LC_ALL": "C.UTF-8",
            "SOURCE_DATE_EPOCH": str(TIME),
        },
        clean=True,
        capture=True,
        check=False,
    )
    log = (done.stdout + done.stderr).decode()
    if done.returncode != 0:
        raise BuilderError("dnf failed", detail=log)
    check_warnings(log)
    return log


def look(root: str) -> dict[str, list[Any]]:
    """Mode, owner and link target of everything in a tree; called inside the namespace."""
    found: dict[str, list[Any]] = {}
    for path in Path(root).rglob("*"):
        status = path.lstat()
        target = str(path.readlink()) if path.is_symlink() else ""
        found["/" + str(path.relative_to(root))] = [
            oct(stat.S_IMODE(status.st_mode)),
            status.st_uid,
            status.st_gid,
            target,
        ]
    return found


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the signing key is; making one takes a second."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def made(state: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A repository of all the packages, and what the stage said of it."""
    place = Path(tempfile.mkdtemp(prefix="ami-factory-test-"))
    place.chmod(0o755)
    result = make(call_inside, place, state)
    yield place / "output", result
    namespace.remove_tree(place)


Made = tuple[Path, dict[str, Any]]


def test_made_twice_it_is_equal(inside: Inside, trees: Path, state: Path, made: Made) -> None:
    """In another place, whose path is long and has spaces, at another time, from the same key."""
    output, first = made
    second = make(inside, trees / "an other" / ("long " * 30), state, reversed(PACKAGES))
    assert first == second
    assert contents(output) == contents(trees / "an other" / ("long " * 30) / "output") == first["digests"]
    assert (first["packages"], first["epoch"]) == (len(PACKAGES) + 2, TIME + 500)
    assert sorted(path for path in contents(output) if path.startswith("packages/")) == [
        "packages/base-files-12.4+deb12u1-0.x86_64.rpm",
        "packages/base-passwd-3.6-0.x86_64.rpm",
        "packages/dash-1-1.x86_64.rpm",
        "packages/provider-5-0.noarch.rpm",
        "packages/quickstart-accounts-12-1.noarch.rpm",
        "packages/quickstart-base-12-1.x86_64.rpm",
        "packages/tool-1.0~rc1+ds-3.x86_64.rpm",
    ]
    assert {"repodata/repomd.xml", "repodata/repomd.xml.asc", "signing-key.asc"} <= set(contents(output))


def test_a_package(made: Made) -> None:
    """Version, relations, build time and files of one RPM."""
    tool = made[0] / "packages" / "tool-1.0~rc1+ds-3.x86_64.rpm"
    assert query(tool, "%{EPOCHNUM}:%{VERSION}-%{RELEASE} %{BUILDTIME} %{BUILDHOST} %{SUMMARY}\n") == [
        f"2:1.0~rc1+ds-3 {TIME} ami-factory 100% of a tool"
    ]
    requires = query(tool, "[%{REQUIRENEVRS} %{REQUIREFLAGS:deptype}\n]")
    assert [each for each in requires if not each.startswith("rpmlib(")] == [
        "(nothing >= 0:9-0 or virtual) manual",
        "base-files >= 0:12-0 pre",
        "dash manual",
        "quickstart-base pre",
    ]
    assert query(tool, "[%{PROVIDENEVRS}\n]") == [
        "/bin/same", "/bin/tool", "tool = 2:1.0~rc1+ds-3", "tool(x86-64) = 2:1.0~rc1+ds-3", "tool-api = 0:1-0",
    ]  # fmt: skip
    assert query(tool, "[%{CONFLICTNEVRS}\n]") == []
    assert query(tool, "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEFLAGS:fflags}\n]") == [
        "/etc/tool.conf -rw-r----- root:shadow cn",
        "/usr/bin/same -rwxr-sr-x root:shadow ",
        "/usr/bin/tool -rwxr-sr-x root:shadow ",
        "/usr/lib/link lrwxrwxrwx root:root ",
        "/usr/lib/odd drwxr-xr-x root:root ",
        "/usr/lib/odd/[x] é%s.service -rw-r--r-- root:root ",
        "/usr/lib/systemd/system-preset/80-tool.preset -rw-r--r-- root:root ",
        "/usr/share/doc drwxr-xr-x root:root ",
        "/usr/share/doc/tool drwxr-xr-x root:root ",
        "/usr/share/doc/tool/copyright -rw-r--r-- root:root d",
    ]


def test_installed_with_dnf(inside: Inside, trees: Path, made: Made) -> None:
    """Owners, setgid and the skeleton come out right, and rpm warns of nothing."""
    log = inside(install, repository=made[0], root=trees / "tree", packages=["tool", "provider"])
    assert "Complete!" in log
    found = inside(look, root=trees / "tree")
    expected = {
        "/bin": ["0o777", 0, 0, "usr/bin"],
        "/etc/gshadow": ["0o640", 0, 42, ""],
        "/etc/machine-id": ["0o444", 0, 0, ""],
        "/etc/os-release": ["0o777", 0, 0, "../usr/lib/os-release"],
        "/etc/shadow": ["0o640", 0, 42, ""],
        "/etc/tool.conf": ["0o640", 0, 42, ""],
        "/root": ["0o700", 0, 0, ""],
        "/tmp": ["0o1777", 0, 0, ""],
        "/usr/bin/tool": ["0o2755", 0, 42, ""],
        "/usr/lib/link": ["0o777", 0, 0, "odd"],
        "/var/local": ["0o2775", 0, 50, ""],
        "/var/log/btmp": ["0o660", 0, 43, ""],
        "/var/log/journal": ["0o2755", 0, 999, ""],
    }
    assert {path: found[path] for path in expected} == expected
    assert not [path for path in found if path.startswith("/dev/")]
    release = (trees / "tree/usr/lib/os-release").read_text()
    assert 'PRETTY_NAME="ami-factory quickstart (repacked from Test GNU/Linux 12)"' in release
    assert not (trees / "tree/etc/machine-id").read_text()


def test_what_the_packages_lack(inside: Inside, trees: Path, state: Path) -> None:
    """No base-files, or other data of the stage than the plan's: said before anything is built."""
    with pytest.raises(BuilderError, match="the sources lack base-files, which the base package is made from"):
        make(inside, trees / "one", state, [each for each in PACKAGES if each.name != "base-files"])
    with pytest.raises(BuilderError, match="planned with other data of the repository stage"):
        make(inside, trees / "two", state, definition="0" * 64)
    with pytest.raises(BuilderError, match="the key that signs the repository is not 0000"):
        make(inside, trees / "three", state, signing_key="0" * 40)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        pytest.param(
            Package(name="bad", files=(File(path="usr/bad", gid=77),)),
            "bad: /usr/bad belongs to the number 77, which has no account",
            id="unknown group",
        ),
        pytest.param(
            Package(name="bad", files=(File(path="../../bad"),)), "is not a path that a package may bring", id="climbs"
        ),
        pytest.param(Package(name="bad", version="1:x y"), "is not a Debian version", id="version"),
        pytest.param(Package(name="kmod-bad", architecture="arm64"), "cannot be in one repository|arm64", id="arm64"),
    ],
)
def test_a_bad_package(inside: Inside, trees: Path, state: Path, bad: Package, message: str) -> None:
    with pytest.raises(BuilderError, match=message):
        make(inside, trees / "one", state, [*PACKAGES, bad])


def test_a_warning_of_rpm_fails(inside: Inside, trees: Path, made: Made) -> None:
    """A package with files of a group that nothing brings before it."""
    with pytest.raises(BuilderError, match="rpm warned: group shadow does not exist - using root"):
        inside(install_alone, package=next((made[0] / "packages").glob("tool-*")), root=trees / "tree")


def install_alone(package: str, root: str) -> None:
    """rpm, without what the package requires; called inside the namespace."""
    command = ["rpm", "--root", root, "--dbpath", "/rpmdb", "--nodeps", "--install", package]
    Path(root).mkdir()
    done = process.run(command, capture=True)
    check_warnings(done.stderr.decode())


# --- The key ---------------------------------------------------------------------------------------------------------


def test_signing_key_is_made_once(tmp_path: Path) -> None:
    """In a place that is too long for a socket; private; no agent and nothing in /tmp is left."""
    state = tmp_path / ("long and " * 12) / "state"
    before = agents()
    made = signing.make_signing_key(state)
    assert (len(made), signing.make_signing_key(state), signing.fingerprint(state)) == (40, made, made)
    assert {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (state, state / "signing", *(state / "signing").iterdir())
    } == {"state": 0o700, "signing": 0o700, "secret.asc": 0o600, "public.asc": 0o600, "fingerprint": 0o600}
    assert "PRIVATE KEY" in signing.secret_key_file(state).read_text()
    assert "PRIVATE" not in (state / "signing" / "public.asc").read_text()
    assert agents() <= before


def test_no_key_yet(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="fingerprint is missing"):
        signing.fingerprint(tmp_path)


def agents() -> set[str]:
    """The agents of homes of ours."""
    found = set()
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes()
        except OSError:
            continue
        if b"gpg-agent" in words and b"ami-gpg." in words:
            found.add(command.parent.name)
    return found


def test_signature_is_checked_and_deterministic(inside: Inside, trees: Path, state: Path, tmp_path: Path) -> None:
    key = signing.make_signing_key(state)
    signatures = []
    for name in ("one", "two"):
        inside(sign, directory=trees, name=name, secret=signing.secret_key_file(state), key=key)
        signatures.append((trees / f"{name}.asc").read_text())
    assert signatures[0] == signatures[1]
    inside(verify, directory=trees)
    (trees / "one").write_text("other")
    with pytest.raises(BuilderError, match="gpg failed"):
        inside(verify, directory=trees)


def sign(directory: str, name: str, secret: str, key: str) -> None:
    document = Path(directory) / name
    document.write_text("a document")
    signing.sign(document, secret=Path(secret), key=key, epoch=TIME, public=Path(directory) / "public.asc")


def verify(directory: str) -> None:
    home = Path(directory) / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    gpg = ["gpg", "--batch", "--quiet", "--homedir", home]
    process.run([*gpg, "--import", Path(directory) / "public.asc"], capture=True)
    process.run([*gpg, "--verify", Path(directory) / "one.asc", Path(directory) / "one"], capture=True)


# --- The sources: apt, with an archive of our own --------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive in a directory, in place of the host's."""
    place = tmp_path / "archive"
    place.mkdir()
    listing = tmp_path / "sources.list"
    use_sources(monkeypatch, listing)
    listing.write_text(f"deb [trusted=yes] file:{place} ./\n")
    publish(place, (*PACKAGES, USR_IS_MERGED))
    return place


USR_IS_MERGED = Package(name="usr-is-merged", version="37", architecture="all")


def use_sources(monkeypatch: pytest.MonkeyPatch, listing: Path) -> None:
    genuine = apt.format_configuration
    monkeypatch.setattr(
        apt,
        "format_configuration",
        lambda debian, directory, **more: (
            genuine(debian, directory, **more) + f'Dir::Etc::sourcelist "{listing}";\nDir::Etc::sourceparts "-";\n'
        ),
    )


def publish(place: Path, packages: Iterable[Package], prefix: str = ".") -> None:
    """Put packages and their list into an archive."""
    paragraphs = []
    for each in packages:
        source = source_of(each)
        name = f"{each.name}_{each.version.replace(':', '%3a')}_{each.architecture}.deb"
        (place / name).write_bytes(deb_of(each))
        paragraphs.append(f"{each.control}Filename: {prefix}/{name}\nSize: {source.size}\nSHA256: {source.sha256}\n")
    (place / "Packages").write_text("\n".join(paragraphs))


def quiet(what: str, done: int, total: int, unit: str = "bytes") -> None:
    pass


def test_resolve_and_fetch(archive: Path, tmp_path: Path) -> None:
    """The closure with the essential packages; then the files, once."""
    notes: list[str] = []
    found = sources.resolve("x86_64", ["tool"], tmp_path / "a p t", notes.append)
    expected = sorted((*PACKAGES, USR_IS_MERGED), key=lambda each: each.name)
    assert (found, notes) == (tuple(source_of(each) for each in expected), [])
    cache = tmp_path / "debs"
    files = sources.fetch(found, state=tmp_path / "a p t", cache=cache, progress=quiet)
    assert {name: path.read_bytes() for name, path in files.items()} == {each.name: deb_of(each) for each in expected}
    assert sorted(cache.iterdir()) == sorted(files.values())
    # A file that is not whole is fetched again, and only that one.
    files["tool"].write_bytes(b"half")
    for each in archive.glob("dash_*"):
        each.unlink()
    again = sources.fetch(found, state=tmp_path / "a p t", cache=cache, progress=quiet)
    assert (again, again["tool"].read_bytes()) == (files, deb_of(TOOL))


def test_inconsistent_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that is being updated: what is whole is used, and it is said."""
    place = tmp_path / "archive"
    for suite, wrong in (("good", 0), ("good-security", 7)):
        lists = place / "dists" / suite / "main" / "binary-amd64"
        lists.mkdir(parents=True)
        publish(lists, (*PACKAGES, USR_IS_MERGED), prefix=f"dists/{suite}/main/binary-amd64")
        content = (lists / "Packages").read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        (place / "dists" / suite / "Release").write_text(
            f"Suite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64\n"
            f"SHA256:\n {digest} {len(content) + wrong} main/binary-amd64/Packages\n"
        )
    listing = tmp_path / "sources.list"
    use_sources(monkeypatch, listing)
    listing.write_text("".join(f"deb [trusted=yes] file:{place} {suite} main\n" for suite in ("good", "good-security")))
    notes: list[str] = []
    found = sources.resolve("x86_64", ["tool"], tmp_path / "apt", notes.append)
    assert "tool" in [each.name for each in found]
    assert [note.partition(" (")[0] for note in notes] == [
        "the suite good-security is inconsistent on this machine's mirror"
    ]


def test_fetch_before_any_list_was_read(archive: Path, tmp_path: Path) -> None:
    """As on another machine that has the lock alone."""
    found = sources.fetch([source_of(TOOL)], state=tmp_path / "apt", cache=tmp_path / "debs", progress=quiet)
    assert found["tool"].read_bytes() == deb_of(TOOL)


def test_unknown_package(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the Debian archive of this machine has no package nosuch"):
        sources.resolve("x86_64", ["tool", "nosuch"], tmp_path / "apt", print)


def test_unmet_relation(archive: Path, tmp_path: Path) -> None:
    publish(archive, (*PACKAGES, USR_IS_MERGED, Package(name="needy", fields={"Depends": "nosuch"})))
    with pytest.raises(BuilderError, match="apt cannot choose packages for needy") as caught:
        sources.resolve("x86_64", ["needy"], tmp_path / "apt", print)
    assert "Depends: nosuch" in caught.value.detail


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"version": "2:1.0-4"}, id="newer version"),
        pytest.param({"fields": {"Essential": "no"}}, id="same version, other bytes"),
    ],
)
def test_vanished(archive: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    found = sources.resolve("x86_64", ["tool"], tmp_path / "apt", print)
    for each in archive.iterdir():
        each.unlink()
    publish(archive, (*BASE, USR_IS_MERGED, PROVIDER, replace(TOOL, **change)))
    with pytest.raises(BuilderError) as caught:
        sources.fetch(found, state=tmp_path / "apt", cache=tmp_path / "debs", progress=quiet)
    assert caught.value.brief == "the archive no longer has tool 2:1.0~rc1+ds-3 as it is locked"
    assert caught.value.hint == "run: ami-factory lock RECIPE --update"


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = tmp_path / "sources.list"
    use_sources(monkeypatch, listing)
    listing.write_text("deb [trusted=yes] http://127.0.0.1:9/debian ./\n")
    with pytest.raises(HostError, match="the Debian archive cannot be reached"):
        sources.resolve("x86_64", ["tool"], tmp_path / "apt", print)
    with pytest.raises(HostError, match="the Debian archive cannot be reached"):
        sources.fetch([source_of(TOOL)], state=tmp_path / "apt", cache=tmp_path / "debs", progress=quiet)


def test_versions_sort_as_in_debian() -> None:
    """rpm's order of the translated versions is dpkg's, for the kinds of versions that Debian has."""
    versions = [
        "0", "1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.0-1+deb12u1", "1.0-1+deb12u2", "1.0-2~bpo12+1", "1.0-2", "1.0+dfsg-1",
        "1.0+git20200101-1", "1.0.1-1", "1.1.1-1", "1.1.1w-0+deb11u1", "9.2p1-2+deb12u10", "252.39-1~deb12u1",
        "252.39-1~deb12u2", "20230311", "20230311+deb12u1", "1:0.1-1", "1:1.2.13.dfsg-1", "2:6.2.1+dfsg1-1.1",
    ]  # fmt: skip
    pairs = [(one, other) for one in versions for other in versions]
    script = "".join(
        f'print(rpm.vercmp("{rpm_version(parse_version(one))}", "{rpm_version(parse_version(other))}") .. "\\n")'
        for one, other in pairs
    )
    said = subprocess.run(["rpm", "--eval", f"%{{lua:{script}}}"], capture_output=True, check=True, text=True).stdout
    order = {version: place for place, version in enumerate(versions)}
    for (one, other), result in zip(pairs, said.split(), strict=True):
        assert int(result) == (order[one] > order[other]) - (order[one] < order[other]), (one, other)
    for one, other in pairwise(versions):
        assert subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False).returncode == 0, one
