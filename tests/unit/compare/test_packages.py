"""What is installed, by dpkg's and rpm's databases."""

from pathlib import Path

import pytest

from builder.compare.contents import Package
from builder.compare.packages import DPKG, RPM, parse_status, read_packages
from builder.errors import BuilderError
from tests.support.rpm_headers import database, header

STATUS = """\
Package: less
Status: install ok installed
Installed-Size: 312
Architecture: amd64
Version: 590-2
Description: pager
 Version: of a line that goes on, and is no field

Package: gone
Status: deinstall ok config-files
Version: 1
Architecture: amd64

Package: libc6
Status: hold ok installed
Source: glibc
Version: 2.36-9
Architecture: amd64
"""
BASH: dict[int, int | str] = {
    1000: "bash",
    1001: "5.2",
    1002: "3.fc40",
    1009: 8_000_000,
    1014: "GPL-3.0-or-later",
    1022: "x86_64",
}


def test_dpkg() -> None:
    assert tuple(parse_status(STATUS)) == (
        Package(name="less", version="590-2", architecture="amd64", size=312 * 1024, source="less"),
        Package(name="libc6", version="2.36-9", architecture="amd64", source="glibc"),
    )


def test_rpm_and_dpkg_in_order(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(STATUS)
    epoch = header({**BASH, 1000: "audit", 1003: 1, 5009: 5 * 2**32, 1044: "audit-4.src.rpm"})
    key = header({1000: "gpg-pubkey", 1001: "1", 1002: "2"})
    made = database(tmp_path / "rpmdb.sqlite", [header(BASH), epoch, key])
    found = read_packages({DPKG: tmp_path / "status", RPM[1]: made})
    assert [(each.name, each.version) for each in found] == [
        ("audit", "1:5.2-3.fc40"), ("bash", "5.2-3.fc40"), ("less", "590-2"), ("libc6", "2.36-9"),
    ]  # fmt: skip
    assert (found[0].size, found[0].source, found[1].license) == (5 * 2**32, "audit-4.src.rpm", "GPL-3.0-or-later")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b"no database"), id="no database"),
        pytest.param(lambda path: database(path, [b"\xff" * 40]), id="no header"),
        pytest.param(lambda path: path.write_bytes(b""), id="no table"),
    ],
)
def test_a_damaged_database_is_an_error(damage: object, tmp_path: Path) -> None:
    damage(tmp_path / "rpmdb.sqlite")  # type: ignore[operator]
    with pytest.raises(BuilderError, match="rpm's database in the image cannot be read"):
        read_packages({RPM[0]: tmp_path / "rpmdb.sqlite"})
