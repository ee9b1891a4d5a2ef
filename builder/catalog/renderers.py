"""Network configuration: which files the installed packages really read.

* ifcfg: read by the network scripts (package network-scripts; initscripts itself before version 10, Fedora 29), or by
  NetworkManager's ifcfg-rh plugin: a part of NetworkManager before 1.36, then the package
  NetworkManager-initscripts-ifcfg-rh (Fedora 36), and gone in Fedora 41 (Fedora's changes NoIfcfgFiles and
  RemoveIfcfgSupportInNM).
* networkmanager: keyfiles, which NetworkManager prefers since Fedora 33.
* networkd: package systemd-networkd on Fedora; a part of the package systemd on Debian and what is repacked from it.
"""

from collections.abc import Iterable
from typing import Literal

from builder.errors import RecipeError

Renderer = Literal["ifcfg", "networkmanager", "networkd"]
WORDS = ("auto", "ifcfg", "networkmanager", "networkd")

# What to install for each, for the hint.
_PACKAGES = {
    "ifcfg": "network-scripts or NetworkManager-initscripts-ifcfg-rh, where the release still has them",
    "networkmanager": "NetworkManager",
    "networkd": "systemd-networkd",
}
_SPLIT = (1, 36)  # NetworkManager's ifcfg plugin became a package of its own


def readers(packages: Iterable[tuple[str, str]]) -> tuple[Renderer, ...]:
    """The formats that somebody reads among these (name, version) pairs, the one to prefer first."""
    versions = dict(packages)
    manager = versions.get("NetworkManager") or versions.get("network-manager")
    found: list[Renderer] = []
    if manager is not None:
        found.append("networkmanager")
    # Both distributions call the package systemd, and only Debian's holds systemd-networkd.
    if "systemd-networkd" in versions or ("systemd" in versions and _is_debian(versions)):
        found.append("networkd")
    if _reads_ifcfg(versions, manager):
        found.append("ifcfg")
    return tuple(found)


def renderer(packages: Iterable[tuple[str, str]], wanted: str) -> Renderer:
    """The format to write. RecipeError when nothing that is installed reads it, or reads any."""
    found = readers(packages)
    if wanted == "auto":
        if not found:
            raise RecipeError(
                "network.renderer: none of the packages configures a network",
                hint="add NetworkManager or systemd-networkd to distribution.packages",
            )
        return found[0]
    for each in found:
        if each == wanted:
            return each
    raise RecipeError(
        f'network.renderer: nothing among the packages reads "{wanted}"'
        + (f" (they read {', '.join(found)})" if found else ""),
        hint=f'add {_PACKAGES.get(wanted, "the package that reads it")} to distribution.packages, or write "auto"',
    )


def _is_debian(versions: dict[str, str]) -> bool:
    """Packages repacked from Debian's archive: no current Fedora has one of these names."""
    return not {"base-files", "init-system-helpers", "libpam-systemd"}.isdisjoint(versions)


def _reads_ifcfg(versions: dict[str, str], manager: str | None) -> bool:
    if "network-scripts" in versions or "NetworkManager-initscripts-ifcfg-rh" in versions:
        return True
    if manager is not None and _number(manager) < _SPLIT:
        return True
    # Fedora 29 (initscripts 10) moved the scripts to network-scripts.
    return "initscripts" in versions and _number(versions["initscripts"]) < (10, 0)


def _number(version: str) -> tuple[int, int]:
    """Major and minor of "1:1.40.16-1.el9"; 0 for what is no number."""
    parts = [*version.rpartition(":")[2].split("."), "0", "0"][:2]
    major, minor = ("".join(c for c in part if c.isascii() and c.isdigit())[:9] for part in parts)
    return int(major or 0), int(minor or 0)
