"""rpm's warnings are errors, except those that say nothing of the package."""

import pytest

from builder.errors import BuilderError
from builder.host.rpm_warnings import check_warnings, find_warnings

LOG = """\
  Installing       : libcom-err2-1.47.0-2+b2.x86_64            1/150
  Running scriptlet: quickstart-base-12-1.x86_64               2/150
warning: group shadow does not exist - using root
rehash: warning: skipping ca-certificates.crt, it does not contain exactly one certificate
warning: /var/cache/x.rpm: Header V4 RSA/SHA256 Signature, key ID 01234567: NOKEY
warning: absolute symlink: /etc/systemd/system/x.service -> /dev/null
[SKIPPED] something
warning: group shadow does not exist - using root
error: unpacking of archive failed
"""


def test_find() -> None:
    assert find_warnings(LOG) == (
        "warning: group shadow does not exist - using root",
        "error: unpacking of archive failed",
    )


def test_check() -> None:
    with pytest.raises(BuilderError) as caught:
        check_warnings(LOG)
    assert caught.value.brief == "rpm warned: group shadow does not exist - using root"
    assert caught.value.detail.splitlines() == list(find_warnings(LOG))


def test_quiet() -> None:
    check_warnings("Complete!\n libgpg-error0  x86_64  1.46-1\n")
