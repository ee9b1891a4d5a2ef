"""A tiny archive of Debian's kind, built with dpkg-deb, indexed, and signed."""

import hashlib
import subprocess
from pathlib import Path

from builder.host.namespace import inside
from tests.support.rpms import make_key

EPOCH = 1_700_000_000
SUITE = "tiny"
PACKAGES = (
    ("base", "1.0", "Essential: yes\n"),
    ("usr-is-merged", "1.0", ""),
    ("hello", "2:1.0-1", "Depends: hello-data (>= 1)\n"),
    ("hello-data", "1.0-1", ""),
    ("linux", "6.1", "Depends: hello-data, initrd\n"),
    ("initrd", "1.0", ""),
    ("broken", "1.0", "Depends: nothing-has-this\n"),
)


def build_deb(directory: Path, name: str, version: str, relations: str) -> Path:
    """One package with one file, of a known time."""
    tree = directory / f"{name}-tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share" / name).mkdir(parents=True)
    (tree / "usr/share" / name / "readme").write_text(f"{name} {version}\n")
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\n"
        f"{relations}Description: {name}\n"
    )
    path = directory / f"{name}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, path],
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": str(EPOCH)},
    )
    return path


def build_archive(directory: Path, packages: tuple[tuple[str, str, str], ...] = PACKAGES) -> Path:
    """The archive, unsigned, below `directory`."""
    archive = directory / "archive"
    pool, index = archive / "pool", archive / "dists" / SUITE / "main/binary-amd64"
    for each in (directory / "build", pool, index):
        each.mkdir(parents=True)
    paragraphs = []
    for name, version, relations in packages:
        built = build_deb(directory / "build", name, version, relations)
        control = subprocess.run(["dpkg-deb", "--field", built], check=True, capture_output=True, text=True).stdout
        data = built.read_bytes()
        (pool / built.name).write_bytes(data)
        paragraphs.append(
            f"{control.strip()}\nFilename: pool/{built.name}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
    listed = "\n".join(paragraphs).encode()
    (index / "Packages").write_bytes(listed)
    (archive / "dists" / SUITE / "Release").write_text(
        f"Origin: Tiny\nLabel: Tiny\nSuite: {SUITE}\nCodename: {SUITE}\nArchitectures: amd64\nComponents: main\n"
        "Date: Tue, 14 Nov 2023 22:13:20 UTC\nSHA256:\n"
        f" {hashlib.sha256(listed).hexdigest()} {len(listed)} main/binary-amd64/Packages\n"
    )
    return archive


def sign_archive(archive: Path, home: Path, name: str) -> str:
    """Sign it with a new key of that name; the key, as text."""
    make_key(home, name)
    release = archive / "dists" / SUITE
    command = ["gpg", "--batch", "--yes", "--homedir", home / "gpg", "--output", release / "InRelease"]
    subprocess.run(inside([*command, "--clear-sign", release / "Release"]), check=True, capture_output=True)
    return (home / "public.asc").read_text()
