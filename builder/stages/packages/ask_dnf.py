"""Asks dnf what a set of names needs. A program of its own: it runs confined, with the distribution's own Python.

A question comes as JSON on stdin: architecture (RPM's word), release, packages, kernel_packages, hvm_packages. The
answer goes as JSON to stdout: a list of packages for each of these three, and when the metadata of each repository was
made; or `{"refused": {...}}`.
"""

import difflib
import json
import os
import sys
from typing import Any

import dnf
import dnf.callback
import dnf.conf
import dnf.exceptions
import rpm

CONFIGURATION = "/factory/home/dnf.conf"
EMPTY_TREE = "/factory/root"


def main() -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print
    question = json.load(sys.stdin)
    with dnf.Base(configuration(question)) as base:
        try:
            said = ask(base, question)
        except dnf.exceptions.MarkingErrors as error:
            said = {"refused": {"unknown": unknown(base, error)}}
        except dnf.exceptions.Error as error:
            said = {"refused": {"text": str(error)}}
    json.dump(said, answer)
    answer.close()


def ask(base: Any, question: dict[str, Any]) -> dict[str, Any]:
    """Resolve the packages, then what the kernel adds to exactly these, then what the loader of hvm adds to both."""
    base.read_all_repos()
    for repository in base.repos.iter_enabled():
        repository._repo.expire()  # a lock is made of what is there now
    base.fill_sack(load_system_repo=False)
    base.read_comps()
    groups = ("packages", "kernel_packages", "hvm_packages")
    found: list[Any] = []
    group_of: dict[str, str] = {}
    for group in groups:
        if question[group]:
            found = resolve(base, [*(str(package) for package in found), *question[group]])
            base.reset(goal=True)
        for package in found:
            group_of.setdefault(str(package), group)
    base.download_packages(found, progress=Failures())
    return {
        **{
            group: sorted((pinned(each) for each in found if group_of[str(each)] == group), key=order)
            for group in groups
        },
        # Of the newest file that repomd.xml names.
        "metadata": {each.id: each._repo.getMaxTimestamp() for each in base.repos.iter_enabled()},
    }


class Failures(dnf.callback.DownloadProgress):  # type: ignore[misc]
    """Says why a mirror's file was not taken, in the words of dnf's own command line."""

    def end(self, payload: Any, status: Any, err_msg: str) -> None:
        if status in (dnf.callback.STATUS_MIRROR, dnf.callback.STATUS_FAILED):
            sys.stderr.write(f"[MIRROR] {payload}: {err_msg}\n")


def configuration(question: dict[str, Any]) -> Any:
    found = dnf.conf.Conf()
    found.read(CONFIGURATION)
    found.installroot = EMPTY_TREE
    found.ignorearch = True
    found.arch = question["architecture"]
    found.substitutions["releasever"] = question["release"]
    return found


def resolve(base: Any, names: list[str]) -> list[Any]:
    base.install_specs(install=names)
    base.resolve()
    return list(base.transaction.install_set)


def pinned(package: Any) -> dict[str, Any]:
    """A LockedPackage as plain data, from the RPM's own header."""
    path = package.localPkg()
    transaction = rpm.TransactionSet()
    # Signatures are dnf's to check, at the installation; the header's own digest is checked here.
    transaction.setVSFlags(rpm._RPMVSF_NOSIGNATURES)
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            header = transaction.hdrFromFdno(file.fileno())
    except (OSError, rpm.error) as error:
        raise dnf.exceptions.Error(f"Problem opening package {package}: {error}") from None
    if not package.verifyLocalPkg():
        raise dnf.exceptions.Error(f'Package "{package}" from repository "{package.repoid}" has incorrect checksum')
    return {
        "name": header[rpm.RPMTAG_NAME],
        "epoch": header[rpm.RPMTAG_EPOCHNUM],
        "version": header[rpm.RPMTAG_VERSION],
        "release": header[rpm.RPMTAG_RELEASE],
        "architecture": header[rpm.RPMTAG_ARCH],
        "repository": package.repoid,
        "header_sha256": header[rpm.RPMTAG_SHA256HEADER],
        "payload_sha256": header[rpm.RPMTAG_PAYLOADDIGEST][0],
        "size": package.downloadsize,
        "build_time": header[rpm.RPMTAG_BUILDTIME],
    }


def order(package: dict[str, Any]) -> tuple[str, str]:
    return package["name"], package["architecture"]


def unknown(base: Any, error: Any) -> list[dict[str, Any]]:
    """Each name that no repository has (or that is excluded), with the nearest names that one has."""
    names = {package.name for package in base.sack.query().available()}
    missing = [*error.no_match_pkg_specs, *error.error_pkg_specs, *error.no_match_group_specs]
    return [{"name": str(each), "near": difflib.get_close_matches(str(each), names, 3)} for each in missing]


if __name__ == "__main__":
    main()
