"""The bill of materials: whole values, and that it depends on the image alone."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from builder import __version__
from builder.compare.contents import Package
from builder.provenance.sbom import purl, sbom

BASH = Package(
    name="bash", version="1:5.2-3.fc40", architecture="x86_64", license="GPLv3+", source="bash-5.2-3.fc40.src.rpm"
)
PLUS = Package(name="libstdc++", version="14-1", architecture="i686")
LOCKED = {
    "name": "bash", "epoch": 1, "version": "5.2", "release": "3.fc40", "architecture": "x86_64",
    "repository": "fedora", "header_sha256": "1" * 64, "payload_sha256": "2" * 64,
}  # fmt: skip


def test_a_document() -> None:
    made = sbom("web-x86_64", "d" * 64, (BASH, PLUS), (LOCKED,), kind="rpm", epoch=1_700_000_000)
    assert {name: made[name] for name in ("spdxVersion", "dataLicense", "SPDXID", "name", "creationInfo")} == {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "web-x86_64",
        "creationInfo": {"created": "2023-11-14T22:13:20Z", "creators": [f"Tool: ami-factory-{__version__}"]},
    }
    image, bash, plus = made["packages"]
    assert image["checksums"] == [{"algorithm": "SHA256", "checksumValue": "d" * 64}]
    assert bash == {
        "SPDXID": "SPDXRef-Package-bash-1.3a.5.2-3.fc40-x86.5f.64",
        "name": "bash",
        "versionInfo": "1:5.2-3.fc40",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": "pkg:rpm/bash@5.2-3.fc40?arch=x86_64&epoch=1",
            }
        ],
        "licenseComments": "The package says: GPLv3+",
        "sourceInfo": "built from bash-5.2-3.fc40.src.rpm",
        "comment": f"locked: repository fedora, SHA-256 of the header {'1' * 64}, of the payload {'2' * 64}",
    }
    assert plus["SPDXID"] == "SPDXRef-Package-libstdc.2b..2b.-14-1-i686"
    assert [each["relationshipType"] for each in made["relationships"]] == ["DESCRIBES", "CONTAINS", "CONTAINS"]
    assert made == sbom("web-x86_64", "d" * 64, (BASH, PLUS), (LOCKED,), kind="rpm", epoch=1_700_000_000)
    json.dumps(made)


def test_purls() -> None:
    assert purl(PLUS, "rpm") == "pkg:rpm/libstdc%2B%2B@14-1?arch=i686"
    debian = Package(name="libc6", version="1:2.36-9", architecture="amd64")
    assert purl(debian, "deb") == "pkg:deb/libc6@1%3A2.36-9?arch=amd64"


_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)


@given(st.lists(st.builds(Package, name=_TEXT, version=_TEXT, architecture=st.just("noarch")), unique=True))
def test_identifiers_are_of_spdx_letters(packages: list[Package]) -> None:
    made = sbom("x", "d" * 64, packages, (), kind="rpm", epoch=0)
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", each["SPDXID"]) for each in made["packages"])
