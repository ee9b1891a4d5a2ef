"""A software bill of materials: SPDX 2.3 as JSON, of the packages of an image. Pure, and equal for equal images.

The installed packages are those of the image's own database; what the lock pinned of them gives digests of their
headers and payloads. The document's time is the build's source epoch.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from builder import __version__
from builder.compare.contents import Package

_ID = re.compile(r"[^A-Za-z0-9.-]")
_NAMESPACE = "https://ami-factory.invalid/spdx"
"""A name, not an address: .invalid is nobody's (RFC 2606)."""


def sbom(
    name: str, digest: str, packages: Sequence[Package], locked: Iterable[Mapping[str, Any]], *, kind: str, epoch: int
) -> dict[str, Any]:
    """The document. `digest`: SHA-256 of the image; `locked`: the lock's packages, as a spec holds them; `kind`: rpm or
    deb."""
    pinned = {_named(each): each for each in locked}
    entries = [_package(each, pinned.get((each.name, each.version, each.architecture)), kind) for each in packages]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"{_NAMESPACE}/{quote(name)}/{digest}",
        "creationInfo": {
            "created": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: ami-factory-{__version__}"],
        },
        "documentDescribes": ["SPDXRef-Image"],
        "packages": [_image(name, digest), *entries],
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image"),
            *(_relation("SPDXRef-Image", "CONTAINS", each["SPDXID"]) for each in entries),
        ],
    }


def purl(package: Package, kind: str) -> str:
    """The package's URL (package-url specification); rpm's epoch is a qualifier."""
    epoch, _, rest = package.version.rpartition(":")
    version, qualifier = (rest, f"&epoch={epoch}") if kind == "rpm" and epoch else (package.version, "")
    name = quote(package.name, safe="")
    return f"pkg:{kind}/{name}@{quote(version, safe='')}?arch={quote(package.architecture, safe='')}{qualifier}"


def _image(name: str, digest: str) -> dict[str, Any]:
    return {
        "SPDXID": "SPDXRef-Image",
        "name": name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
    }


def _package(package: Package, pinned: Mapping[str, Any] | None, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "SPDXID": _identifier(package),
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        # What a header says is the packager's wording, often no expression of SPDX: so it is a comment.
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl(package, kind),
            }
        ],
    }
    if package.license:
        found["licenseComments"] = f"The package says: {package.license}"
    if package.source:
        found["sourceInfo"] = f"built from {package.source}"
    if pinned is not None:
        found["comment"] = (
            f"locked: repository {pinned['repository']}, SHA-256 of the header {pinned['header_sha256']},"
            f" of the payload {pinned['payload_sha256']}"
        )
    return found


def _named(locked: Mapping[str, Any]) -> tuple[str, str, str]:
    """Name, version and architecture of a locked package, as the database words them."""
    version = f"{locked['version']}-{locked['release']}"
    return locked["name"], f"{locked['epoch']}:{version}" if locked["epoch"] else version, locked["architecture"]


def _identifier(package: Package) -> str:
    """Letters, digits, dots and dashes; what else a name holds is its code between dots, so that no two are one."""
    text = f"{package.name}-{package.version}-{package.architecture}"
    return "SPDXRef-Package-" + _ID.sub(lambda each: f".{ord(each[0]):x}.", text)


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
