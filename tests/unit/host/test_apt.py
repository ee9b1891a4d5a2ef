"""apt's private configuration."""

from pathlib import Path

import pytest

from builder.errors import HostError
from builder.host import apt


def test_configuration() -> None:
    text = apt.format_configuration("i386", Path("/a b/i386"))
    assert 'APT::Architecture "i386";\n#clear APT::Architectures;\nAPT::Architectures { "i386"; };' in text
    assert 'Dir::State::status "/a b/i386/status";' in text
    assert "http" not in text


def test_quotation_mark(tmp_path: Path) -> None:
    with (
        pytest.raises(HostError, match="apt cannot use a path with a quotation mark"),
        apt.private_apt("amd64", tmp_path / 'a"b'),
    ):
        pass
