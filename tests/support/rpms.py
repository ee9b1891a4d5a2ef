"""A tiny RPM distribution, built with rpmbuild, indexed, and signed in the ways that the tests ask for."""

import gzip
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder.host.namespace import inside

EPOCH = "1700000000"
_DEFINES = (
    "_buildhost builder", "use_source_date_epoch_as_buildtime 1", "clamp_mtime_to_source_date_epoch 1",
    "_build_id_links none", "__os_install_post %{nil}",
)  # fmt: skip

_SPEC = """\
Name: {name}
Version: {version}
Release: 1
Summary: {name}
License: MIT
BuildArch: noarch
{tags}
%description
{name}
%install
{install}
{scriptlets}
%files
{files}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpm:
    """One package. `files` are lines of %files, `install` makes them."""

    name: str
    version: str = "1.0"
    tags: str = "Requires(pre): base"
    install: str = ""
    files: str = ""
    scriptlets: str = ""


BASE = Rpm(
    name="base",
    tags="",
    install="""
mkdir -p %{buildroot}
cd %{buildroot}
mkdir -p etc/skel proc sys dev run tmp root usr/bin var/log home
ln -s usr/bin bin
printf 'root:x:0:0:root:/root:/bin/sh\\ndaemon:x:1:1::/:/bin/false\\n' > etc/passwd
printf 'root:x:0:\\ndaemon:x:1:\\nshadow:x:42:\\n' > etc/group
printf 'root:*:19000:0:99999:7:::\\n' > etc/shadow
printf 'root:*::\\nshadow:*::\\n' > etc/gshadow
echo 0123456789abcdef0123456789abcdef > etc/machine-id
echo alias > etc/skel/.profile
""",
    files="""
%dir /etc
%dir /etc/skel
/etc/skel/.profile
%dir /proc
%dir /sys
%dir /dev
%dir /run
%attr(1777,root,root) %dir /tmp
%attr(0700,root,root) %dir /root
%dir /usr
%dir /usr/bin
%dir /var
%dir /var/log
%dir /home
/bin
/etc/passwd
/etc/group
/etc/machine-id
%attr(0640,root,root) /etc/shadow
%attr(0640,root,root) /etc/gshadow
""",
)
HELLO = Rpm(
    name="hello",
    install="mkdir -p %{buildroot}/usr/bin\necho hello > %{buildroot}/usr/bin/hello\ntouch %{buildroot}/usr/bin/chage",
    files="%attr(0755,root,root) /usr/bin/hello\n%attr(2755,root,shadow) /usr/bin/chage",
    scriptlets="%post -p <lua>\nio.open('/etc/hello.conf', 'w'):close()",
)
PACKAGES = (
    BASE,
    HELLO,
    Rpm(name="hello-extra", tags="Requires: hello\nRequires(pre): base"),
    Rpm(name="linux", version="6.1", tags="Requires: hello-extra\nRequires(pre): base"),
    Rpm(name="broken", tags="Requires: nothing-has-this\nRequires(pre): base"),
    Rpm(name="quarrel", tags="Conflicts: hello\nRequires(pre): base"),
    Rpm(name="stranger", install="touch %{buildroot}/odd", files="%attr(2755,root,nobody-knows) /odd"),
    Rpm(name="unlucky", scriptlets="%post -p <lua>\nerror('out of luck')"),
    Rpm(name="identity", scriptlets="%post -p <lua>\nlocal f = io.open('/var/cache-x', 'w'); f:write('x'); f:close()"),
)

_KEY = """\
set -e
umask 077
mkdir -p "$1/gpg"
printf '%s\\n' %no-protection Key-Type:RSA Key-Length:2048 "Name-Real: $2" Expire-Date:0 \\
    Creation-Date:20200101T000000 %commit > "$1/parameters"
gpg --batch --quiet --homedir "$1/gpg" --gen-key "$1/parameters"
gpg --batch --quiet --homedir "$1/gpg" --armor --export > "$1/public.asc"
chmod 0755 "$1"
chmod 0644 "$1/public.asc"
"""
_SIGN = """\
set -e
rm -f "$2.asc"
gpg --batch --quiet --homedir "$1/gpg" --armor --detach-sign "$2"
cp "$1/public.asc" "$3/signing-key.asc"
"""
_SIGN_RPMS = """\
set -e
home="$1"; shift
name=$(gpg --batch --homedir "$home/gpg" --with-colons --list-keys | sed -n 's/^fpr:*\\([0-9A-F]*\\):$/\\1/p')
exec rpmsign --define '__gpg /usr/bin/gpg' --define "_gpg_name $name" --define "_gpg_path $home/gpg" --addsign "$@"
"""


def build_rpms(packages: tuple[Rpm, ...], work: Path) -> Path:
    """A directory with the packages."""
    output = work / "packages"
    output.mkdir(parents=True)
    for package in packages:
        recipe = work / f"{package.name}.spec"
        recipe.write_text(
            _SPEC.format(
                name=package.name, version=package.version, tags=package.tags, install=package.install,
                files=package.files, scriptlets=package.scriptlets,
            )
        )  # fmt: skip
        defines = [
            part
            for each in (*_DEFINES, f"_topdir {work}/top", f"_rpmdir {output}", f"_dbpath {work}/db")
            for part in ("--define", each)
        ]
        _run(["rpmbuild", "-bb", "--target", "noarch", "--quiet", *defines, recipe])
    for made in (output / "noarch").iterdir():
        made.rename(output / made.name)
    (output / "noarch").rmdir()
    return output


def make_key(home: Path, name: str) -> Path:
    """A key in a home of its own; no agent is left."""
    home.mkdir(parents=True)
    _run(inside(["sh", "-c", _KEY, "sh", home, name]))
    return home


def index(repository: Path) -> Path:
    _run(["createrepo_c", "--quiet", "--no-database", "--simple-md-filenames", "--revision", EPOCH, repository])
    return repository


def sign_index(repository: Path, key: Path) -> Path:
    _run(inside(["sh", "-c", _SIGN, "sh", key, repository / "repodata" / "repomd.xml", repository]))
    return repository


def sign_rpms(packages: Path, key: Path) -> None:
    _run(inside(["sh", "-c", _SIGN_RPMS, "sh", key, *sorted(packages.glob("*.rpm"))]))


def copy(repository: Path, target: Path) -> Path:
    shutil.copytree(repository, target)
    return target


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, check=False, env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LC_ALL": "C.UTF-8",
            "SOURCE_DATE_EPOCH": EPOCH,
        },
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def rewrite_primary(repository: Path, change: Callable[[str], str]) -> None:
    """Let the repository say something else of its packages, with digests in repomd.xml that fit."""
    data = repository / "repodata"
    packed = data / "primary.xml.gz"
    text = change(gzip.decompress(packed.read_bytes()).decode())
    packed.write_bytes(gzip.compress(text.encode(), mtime=0))
    document = data / "repomd.xml"
    before, found, after = document.read_text().partition('<data type="primary">')
    own, end, rest = after.partition("</data>")
    for tag, value in (
        ("checksum", sha256(packed)), ("open-checksum", hashlib.sha256(text.encode()).hexdigest()),
        ("size", packed.stat().st_size), ("open-size", len(text.encode())),
    ):  # fmt: skip
        own = re.sub(rf"(<{tag}[^>]*>)[^<]*", rf"\g<1>{value}", own)
    document.write_text(before + found + own + end + rest)


def set_timestamps(repository: Path, seconds: int) -> None:
    """When the metadata say that they were made."""
    document = repository / "repodata" / "repomd.xml"
    document.write_text(re.sub(r"<timestamp>[^<]*", f"<timestamp>{seconds}", document.read_text()))
