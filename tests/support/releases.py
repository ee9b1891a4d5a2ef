"""Repositories that look like a distribution's release: its release package, and its package names as thin packages.

What is in them is ours; the names, the release package's identity, rpm's version and the group `core` are the
distribution's, so that dnf has to do what it does with the real ones.
"""

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.catalog.kernels import Kernel
from builder.recipe.model import Recipe
from tests.support import rpms

# Of the group that the kickstarts start from: enough of it, and what they take out again.
CORE = ("bash", "dnf", "rpm", "systemd", "selinux-policy-targeted", "firewalld", "linux-firmware", "plymouth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What tells one release from another."""

    package: str
    """The release package; its version is `version`."""
    version: str
    identity: str
    """ID in /etc/os-release."""
    dist: str
    rpm: str


RELEASES = {
    "amazon-linux-2023": Release(
        package="system-release", version="2023.6.20241031", identity="amzn", dist=".amzn2023", rpm="4.16.1.3"
    ),
    "centos-stream-9": Release(
        package="centos-stream-release", version="9.0", identity="centos", dist=".el9", rpm="4.16.1.3"
    ),
    "centos-stream-10": Release(
        package="centos-stream-release", version="10.0", identity="centos", dist=".el10", rpm="4.19.1.1"
    ),
    "fedora": Release(package="fedora-release", version="43", identity="fedora", dist=".fc43", rpm="6.0.0"),
    "rocky-9": Release(package="rocky-release", version="9.6", identity="rocky", dist=".el9", rpm="4.16.1.3"),
}

_HEAD = """\
Name: {package}
Version: {version}
Release: 1{dist}
Summary: {package}
License: MIT
BuildArch: noarch
Provides: system-release = {version}
Requires(pre): base
%description
{package}
%install
mkdir -p %{{buildroot}}/usr/lib
printf 'ID="{identity}"\\nVERSION_ID="{version}"\\n' > %{{buildroot}}/usr/lib/os-release
mkdir -p %{{buildroot}}/etc
ln -s ../usr/lib/os-release %{{buildroot}}/etc/os-release
%files
/usr/lib/os-release
/etc/os-release
"""
_THIN = """
%package -n {name}
Version: {version}
Summary: {name}
Requires: {requires}
%description -n {name}
{name}
%files -n {name}
"""
_COMPS = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps><group><id>core</id><name>Core</name><description>Core</description><default>true</default>
<uservisible>false</uservisible><packagelist>
{packages}
</packagelist></group></comps>
"""


def names(recipe: Recipe, kernel: Kernel) -> tuple[str, ...]:
    """Every package that a recipe and its kernel ask for, and those of the group."""
    asked = (*recipe.distribution.packages, *CORE, *kernel.packages["x86_64"], *kernel.packages_for("hvm", "x86_64"))
    return tuple(sorted({each for each in asked if not each.startswith("@")}))


def make_release(name: str, recipe: Recipe, kernel: Kernel, tiny: Path, place: Path) -> dict[str, Path]:
    """Repositories by the recipe's ids, signed with the tiny distribution's key, whose package `base` they need."""
    release = RELEASES[name]
    packages = _thin_packages(release, names(recipe, kernel), place)
    shutil.copy(tiny / "repository/packages/base-1.0-1.noarch.rpm", packages)
    rpms.sign_rpms(packages, tiny / "key")
    comps = place / "comps.xml"
    listed = (f'<packagereq type="mandatory">{each}</packagereq>' for each in CORE)
    comps.write_text(_COMPS.format(packages="\n".join(listed)))

    # Which package is in which repository does not matter here, but all of them must be looked into.
    made: dict[str, Path] = {}
    ids = [each.id for each in recipe.distribution.repositories]
    for number, identity in enumerate(ids):
        made[identity] = place / identity
        made[identity].mkdir()
        for file in sorted(packages.glob("*.rpm"))[number :: len(ids)]:
            shutil.copy(file, made[identity])
        extra = ("--groupfile", comps) if number == 0 else ()
        _run(["createrepo_c", "--quiet", "--no-database", "--simple-md-filenames", *extra, made[identity]])
    return made


def _thin_packages(release: Release, wanted: Iterable[str], place: Path) -> Path:
    text = _HEAD.format(package=release.package, version=release.version, dist=release.dist, identity=release.identity)
    for name in wanted:
        if name != release.package:
            requires = f"{release.package} rpm" if name == "dnf" else release.package
            text += _THIN.format(name=name, version=release.rpm if name == "rpm" else "1.0", requires=requires)
    recipe = place / "release.spec"
    recipe.write_text(text)
    output = place / "packages"
    defines = (f"_topdir {place}/top", f"_rpmdir {output}", f"_dbpath {place}/db", "_buildhost builder")
    options = [part for each in defines for part in ("--define", each)]
    _run(["rpmbuild", "-bb", "--target", "noarch", "--quiet", *options, recipe])
    return output / "noarch"


def _run(command: list[str | Path]) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LC_ALL": "C.UTF-8"}
    done = subprocess.run([str(each) for each in command], capture_output=True, check=False, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
