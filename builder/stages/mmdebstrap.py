"""Installing .deb files, for the stages that do: exactly what the lock names, and nothing that differs by run.

An empty tree is filled by mmdebstrap, which sees the locked files as an archive of its own, and no network; what comes
later is given to the tree's own dpkg. Both run in the sandbox (host/sandbox.py), and so do the packages' scripts. What
they leave behind that differs from run to run was found by comparing (mmdebstrap 1.3.5, dpkg 1.21, Debian 12).
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.errors import BuilderError
from builder.formats.deb import parse_paragraph
from builder.host import process, tree_files
from builder.host.sandbox import Bind, confined_command, require_architecture, run_in_tree
from builder.stages import archives
from builder.stages.values import LockedDeb

ROOT = "/factory/root"
ARCHIVE = "/factory/archive"
# In memory where dpkg runs: nothing is left of it in the tree.
BESIDE = "/run/ami-factory/archive"
SOURCES = "# No archive is named here: which mirror an instance is near to, its owner knows. See sources.list(5).\n"

_STATUS = "/var/lib/dpkg/status"
_FAILED = re.compile(r"^ ?installed (\S+) package (\S+) script subprocess returned error exit status (\d+)", re.M)
_MERGED = ("bin", "sbin", "lib")
# Links that bubblewrap makes in a /dev, and mmdebstrap wants to make itself.
_LINKS = ("fd", "stdin", "stdout", "stderr")
# Diaries, caches, copies of what was before, and what must be each machine's own.
_DIFFERS = (
    "/etc/apt/apt.conf.d/99mmdebstrap",
    "/etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "/etc/hostname",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/apt/srcpkgcache.bin",
    "/var/cache/debconf/config.dat-old",
    "/var/cache/debconf/templates.dat-old",
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/dbus/machine-id",
    "/var/lib/dpkg/available-old",
    "/var/lib/dpkg/diversions-old",
    "/var/lib/dpkg/statoverride-old",
    "/var/lib/dpkg/status-old",
    "/var/lib/systemd/random-seed",
)
_EMPTIED = ("/var/log", "/var/lib/apt/lists", "/var/cache/apt/archives")


def mmdebstrap_command(packages: Sequence[LockedDeb], *, debian: str) -> list[str]:
    """The command line of a confined mmdebstrap: Essential packages first, then all others of the lock, each by its
    version. It can mount nothing there, and need not: the devices are there."""
    names = ",".join(f"{each.name}={each.version}" for each in packages)
    links = " ".join(f'"$1/dev/{name}"' for name in _LINKS)
    return [
        "mmdebstrap", "--mode=root", "--variant=essential", "--format=directory", f"--architectures={debian}",
        "--skip=check/empty,check/qemu,chroot/mount", "--dpkgopt=force-unsafe-io", f"--setup-hook=rm -f {links}",
        f"--include={names}", "", ROOT, f"deb [trusted=yes] copy:{ARCHIVE} ./",
    ]  # fmt: skip


def dpkg_command(packages: Sequence[LockedDeb]) -> list[str]:
    """The command line of the tree's own dpkg. Its order is the lock's, which knows of no pre-dependencies: so these
    are not waited for, as mmdebstrap does not."""
    return [
        "dpkg", "--force-unsafe-io", "--force-confdef", "--force-depends", "--install",
        *(f"{BESIDE}/{each.name}.deb" for each in packages),
    ]  # fmt: skip


def environment(source_epoch: int) -> dict[str, str]:
    """All that package managers and scripts of packages see of an environment. INITRD: no initrd yet, since the stage
    makes its own (Debian's /etc/kernel/postinst.d/initramfs-tools)."""
    return {
        "PATH": process.PATH,
        "HOME": "/tmp",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "DEBIAN_FRONTEND": "noninteractive",
        "INITRD": "No",
        "SOURCE_DATE_EPOCH": str(source_epoch),
    }


def bootstrap(
    tree: Path,
    packages: Sequence[LockedDeb],
    files: Mapping[str, Path],
    scratch: Path,
    *,
    architecture: str,
    source_epoch: int,
) -> None:
    """Install exactly `packages` into an empty tree. `files`: see archives.fetch.

    BuilderError if a package cannot be installed, or if what is installed afterwards is not `packages`.
    """
    process.require("mmdebstrap", "mmdebstrap")
    archive = write_archive(packages, files, scratch / "archive")
    _merge_usr(tree, debian := archives.debian_architecture(architecture))
    (tree / "dev").mkdir(mode=0o755)
    command = confined_command(
        mmdebstrap_command(packages, debian=debian),
        binds=[Bind(source=archive, destination=ARCHIVE), Bind(source=tree, destination=ROOT, writable=True)],
        devices=[f"{ROOT}/dev"],
    )
    done = process.run(command, env=environment(source_epoch), clean=True, capture=True, check=False)
    if done.returncode != 0:
        raise explain("mmdebstrap", (done.stdout + done.stderr).decode(errors="replace"))
    check_installed(_read_status(tree), packages)
    remove_traces(tree)
    tree_files.write(tree, "/etc/apt/sources.list", SOURCES.encode())
    require_architecture(tree)


def add(
    tree: Path, packages: Sequence[LockedDeb], files: Mapping[str, Path], scratch: Path, *, source_epoch: int
) -> None:
    """Install exactly `packages` on top of what a tree has. See bootstrap."""
    if not packages:
        return
    before = _read_status(tree)
    archive = write_archive(packages, files, scratch / "archive")
    done = run_in_tree(
        tree,
        dpkg_command(packages),
        env=environment(source_epoch),
        binds=[Bind(source=archive, destination=BESIDE)],
        capture=True,
        check=False,
    )
    if done.returncode != 0:
        raise explain("dpkg", (done.stdout + done.stderr).decode(errors="replace"))
    check_installed(_read_status(tree), packages, before)
    remove_traces(tree)


def write_archive(packages: Sequence[LockedDeb], files: Mapping[str, Path], directory: Path) -> Path:
    """A directory with the locked files and apt's index of them."""
    directory.mkdir()
    directory.chmod(0o755)
    paragraphs = []
    for each in packages:
        shutil.copyfile(files[each.name], directory / f"{each.name}.deb")
        control = archives.read(files[each.name], each.name).control
        paragraphs.append(f"{control}\nFilename: ./{each.name}.deb\nSize: {each.size}\nSHA256: {each.sha256}\n")
    (directory / "Packages").write_text("\n".join(paragraphs), encoding="utf-8")
    return directory


def check_installed(status: str, locked: Sequence[LockedDeb], before: str = "") -> None:
    """BuilderError unless the packages in dpkg's status are the lock's and those that were there `before`, and all are
    installed as a whole."""
    wanted = {(each.name, each.version, each.architecture) for each in locked} | _installed(before)
    there = _installed(status)
    if there == wanted:
        return
    lines = [f"not in the lock: {' '.join(each)}" for each in sorted(there - wanted)]
    lines += [f"not installed: {' '.join(each)}" for each in sorted(wanted - there)]
    raise BuilderError(
        f"what dpkg installed is not what the lock names: {lines[0]}",
        detail="\n".join(lines[:40]),
        hint="run: ami-factory lock RECIPE --update",
    )


def _installed(status: str) -> set[tuple[str, str, str]]:
    """Name, version and architecture of each package of a status that is installed as a whole."""
    found = set()
    for text in status.split("\n\n"):
        fields = parse_paragraph(text) if text.strip() else {}
        if fields.get("Status") == "install ok installed":
            found.add((fields["Package"], fields["Version"], fields["Architecture"]))
    return found


def explain(program: str, said: str) -> BuilderError:
    """The error for a failed mmdebstrap or dpkg, from all that it said."""
    detail = said.strip()[-4000:]
    if failed := _FAILED.search(said):
        brief = f"{failed[1]}: its {failed[2]} script failed with exit code {failed[3]}"
        return BuilderError(
            brief, detail=detail, hint="what it said is above; leave the package out, or another version"
        )
    if "No space left on device" in said:
        return BuilderError("no space for the packages", detail=detail, hint="free some, or use --store")
    return BuilderError(f"{program} could not install the packages", detail=detail, hint="the log has all that it said")


def remove_traces(tree: Path) -> None:
    """Remove what differs between two equal runs, and this machine's identity."""
    for path in _DIFFERS:
        tree_files.remove(tree, path)
    for directory in _EMPTIED:
        place = tree_files.follow(tree, directory)
        for each in sorted(place.rglob("*")) if place.is_dir() else ():
            if each.is_file() and not each.is_symlink():
                each.unlink()
    for each in tree_files.follow(tree, "/etc/ssh").glob("ssh_host_*"):
        each.unlink()
    if not tree_files.locate(tree, "/etc/resolv.conf").is_symlink():
        tree_files.remove(tree, "/etc/resolv.conf")
    if tree_files.read(tree, "/etc/machine-id"):
        tree_files.write(tree, "/etc/machine-id", b"", mode=0o444)


def _merge_usr(tree: Path, debian: str) -> None:
    """The links of a merged /usr, which no package of Debian 12 brings (debootstrap makes them)."""
    for name in (*_MERGED, *(("lib64",) if debian == "amd64" else ())):
        tree_files.make_directory(tree, f"/usr/{name}")
        tree_files.symlink(tree, f"/{name}", f"usr/{name}")


def _read_status(tree: Path) -> str:
    return (tree_files.read(tree, _STATUS) or b"").decode(errors="replace")
