import pytest

from builder.errors import RecipeError
from builder.stages.values import LockedPackage, rpm_database


def package(name: str, version: str) -> LockedPackage:
    return LockedPackage(
        name=name, epoch=0, version=version, release="1", architecture="x86_64", repository="r",
        header_sha256="0" * 64, payload_sha256="0" * 64, size=1, build_time=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("packages", "place"),
    [
        pytest.param([("bash", "5.1"), ("rpm", "4.16.1.3")], "/var/lib/rpm", id="RHEL 9"),
        pytest.param([("rpm", "4.19.1.1")], "/usr/lib/sysimage/rpm", id="RHEL 10"),
        pytest.param([("rpm", "6.0.0")], "/usr/lib/sysimage/rpm", id="Fedora 43"),
        pytest.param([("rpm", "4.17.0")], "/usr/lib/sysimage/rpm", id="Fedora 36"),
        pytest.param([("rpm-libs", "4.16.1.3")], "/usr/lib/sysimage/rpm", id="without rpm"),
    ],
)
def test_where_the_guests_own_rpm_looks(packages: list[tuple[str, str]], place: str) -> None:
    assert rpm_database(package(*each) for each in packages) == place


@pytest.mark.parametrize("version", ["4.4.2.2", "4.8.0", "4.11.3", "4.14.3"], ids=["Fedora 8", "CentOS 6", "7", "8"])
def test_an_rpm_that_reads_another_database(version: str) -> None:
    with pytest.raises(RecipeError, match=f"own rpm {version} could not read what is installed: before 4.16"):
        rpm_database([package("bash", "1"), package("rpm", version)])
