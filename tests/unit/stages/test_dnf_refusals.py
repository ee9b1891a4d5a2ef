"""What dnf 4.14 was heard to say, and the words for it; the real refusals are in tests/host."""

import pytest

from builder.stages.dnf_refusals import explain
from builder.stages.values import PackageSource

SOURCES = (PackageSource(id="own", baseurl="https://own.example/"), PackageSource(id="made", input="repository.made"))


@pytest.mark.parametrize(
    ("said", "brief"),
    [
        pytest.param(
            "Error: Failed to download metadata for repo 'own': repomd.xml GPG signature verification error: "
            "Bad GPG signature",
            "repository own: repomd.xml is not what its key signed (https://own.example/)",
            id="wrong signature",
        ),
        pytest.param(
            "Error: Failed to download metadata for repo 'made': GPG verification is enabled, but GPG signature is "
            "not available. This may be an error or the repository does not support GPG verification",
            "repository made: repomd.xml has no signature, and repo_gpgcheck asks for one",
            id="no signature",
        ),
        pytest.param(
            'Package "login-1:4.13-1.x86_64" from local repository "made" has incorrect checksum\n'
            "Error: Some packages from local repository have incorrect checksum",
            "login-1:4.13-1.x86_64 is not what its repository says: its checksum differs",
            id="checksum",
        ),
        pytest.param(
            "Public key for hello-1.0-1.noarch.rpm is not installed. Failing package is: hello-1.0-1.noarch\n"
            "Error: GPG check FAILED",
            "hello-1.0-1.noarch.rpm is signed with a key that the recipe does not name",
            id="wrong key",
        ),
        pytest.param(
            "Package base-1.0-1.noarch.rpm is not signed\nError: GPG check FAILED",
            "base-1.0-1.noarch.rpm is not signed, and gpgcheck asks for it",
            id="not signed",
        ),
        pytest.param(
            "Problem opening package hello-1.0-1.noarch.rpm\nError: GPG check FAILED",
            "hello-1.0-1.noarch.rpm is damaged or was changed: rpm does not open it",
            id="broken RPM",
        ),
        pytest.param("Error: GPG check FAILED", "a package's signature is wrong", id="some signature"),
        pytest.param(
            "Errors during downloading metadata for repository 'own':\n"
            "  - Curl error (7): Couldn't connect to server for https://own.example/repodata/repomd.xml\n"
            "Error: Failed to download metadata for repo 'own': Cannot download repomd.xml: All mirrors were tried",
            "repository own cannot be reached (https://own.example/)",
            id="out of reach",
        ),
        pytest.param(
            "[MIRROR] hello-1.0-1.noarch.rpm: Interrupted by header callback: Inconsistent server data, reported file "
            "Content-Length: 6297, repository metadata states file length: 64 (please report to repository maintainer)",
            "hello-1.0-1.noarch.rpm is not what its repository says: 6297 bytes instead of 64",
            id="another size",
        ),
        pytest.param(
            "[MIRROR] hello-1.0-1.noarch.rpm: Downloading successful, but checksum doesn't match. "
            "Calculated: 04(sha256)  Expected: 3d(sha256)",
            "hello-1.0-1.noarch.rpm is not what its repository says: its checksum differs",
            id="another digest",
        ),
        pytest.param(
            "Errors during downloading metadata for repository 'own':\n"
            "  - Downloading successful, but checksum doesn't match. Calculated: fe(sha256)  Expected: 62(sha256)",
            "repository own: its metadata is not what its repomd.xml says (https://own.example/)",
            id="metadata of another digest",
        ),
        pytest.param(
            "Failed to download metadata for repo 'own': repomd.xml parser error: Element <repomd> was not found",
            "repository own: what is there is no repository (https://own.example/)",
            id="no repository",
        ),
        pytest.param(
            "hello-1.0-1.noarch: Cannot download, all mirrors were already tried without success",
            "hello-1.0-1.noarch cannot be downloaded from any mirror",
            id="cut off",
        ),
        pytest.param(
            "Errors during downloading metadata for repository 'own':\n"
            "  - Curl error (6): Couldn't resolve host name for https://own.example/metalink\n"
            "Error: Failed to download metadata for repo 'own': Cannot prepare internal mirrorlist: Curl error (6)",
            "repository own cannot be reached (https://own.example/)",
            id="metalink out of reach",
        ),
        pytest.param(
            "Error: Error downloading packages:\n  Cannot download p/x-1-1.noarch.rpm: All mirrors were tried",
            "p/x-1-1.noarch.rpm cannot be downloaded from any mirror",
            id="package gone",
        ),
        pytest.param(
            "No match for argument: x-0:1-1.noarch\nError: Unable to find a match: x-0:1-1.noarch",
            "x-0:1-1.noarch is in the lock, but no longer in the repositories",
            id="lock is stale",
        ),
        pytest.param("Error: No space left on device", "no space for the packages", id="disk full"),
        pytest.param("something else", "dnf could not install the packages", id="anything else"),
    ],
)
def test_words(said: str, brief: str) -> None:
    error = explain(said, SOURCES)
    assert error.brief == brief
    assert error.detail == said
    assert error.hint


def test_what_to_set_for_a_mirror() -> None:
    said = "Error: Failed to download metadata for repo 'own-1.x': Cannot download repomd.xml"
    error = explain(said, [PackageSource(id="own-1.x", baseurl="https://own.example/")])
    assert error.hint.startswith("set AMI_FACTORY_MIRROR_OWN_1_X to the address of a mirror that can be reached")
    assert "AMI_FACTORY_MIRROR_ID" in explain("Cannot download p/x-1-1.noarch.rpm: All mirrors were tried").hint
