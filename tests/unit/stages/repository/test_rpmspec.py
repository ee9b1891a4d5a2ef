"""The spec file of a repacked package, word for word."""

from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.formats.deb import Relation, Version, parse_relations, parse_version
from builder.stages.repository.definition import Scriptlet
from builder.stages.repository.rpmspec import (
    Rpm,
    format_spec,
    rpm_alternatives,
    rpm_architecture,
    rpm_relation,
    rpm_version,
    rpmbuild_command,
    rpmbuild_environment,
)
from builder.stages.repository.tree import Entry, Kind


@pytest.mark.parametrize(
    ("debian", "expected"),
    [
        ("1:9.2p1-2+deb12u10", "1:9.2p1-2+deb12u10"),
        ("2.34", "0:2.34-0"),
        ("1.0-rc1-3~bpo", "0:1.0.rc1-3~bpo"),
        ("8.24~", "0:8.24~-0"),
    ],
)
def test_version(debian: str, expected: str) -> None:
    assert rpm_version(parse_version(debian)) == expected


@pytest.mark.parametrize(
    ("debian", "expected"),
    [
        ("a", "a"),
        ("a (<< 2)", "a < 0:2-0"),
        ("a (>> 1:2-3)", "a > 1:2-3"),
        ("a (= 2-3)", "a = 0:2-3"),
        ("a | b (>= 1)", "(a or b >= 0:1-0)"),
        ("a | a", "a"),
    ],
)
def test_relation(debian: str, expected: str) -> None:
    (clause,) = parse_relations(debian)
    words = [rpm_relation(each, parse_version(each.version) if each.operator else None) for each in clause]
    assert rpm_alternatives(words) == expected


def test_architecture() -> None:
    assert [rpm_architecture(each) for each in ("amd64", "i386", "all")] == ["x86_64", "i686", "noarch"]
    with pytest.raises(BuilderError, match="packages for arm64 cannot be repacked"):
        rpm_architecture("arm64")


def test_spec() -> None:
    rpm = Rpm(
        name="tool",
        version=Version(epoch=1, upstream="2.0~rc1", revision="3"),
        architecture="noarch",
        summary="100% of a tool",
        epoch_seconds=1_600_000_000,
        requires_pre=("base",),
        requires=("(a or b)", "c >= 0:1-0"),
        provides=("/bin/tool",),
        conflicts=("old < 0:1-0",),
        entries=(
            Entry(path="/etc/tool.conf", kind=Kind.FILE, mode=0o640, group="shadow", config=True),
            Entry(path="/usr/share/100%", kind=Kind.DIRECTORY, mode=0o2755),
            Entry(path="/usr/share/a b[c]", kind=Kind.LINK, mode=0o777),
        ),
        scriptlets=(Scriptlet(package="tool", on=("/usr/a", "/usr/b"), text="echo 50%\n"),),
    )
    assert (
        format_spec(rpm)
        == """\
Name: tool
Epoch: 1
Version: 2.0~rc1
Release: 3
Summary: 100%% of a tool
License: see /usr/share/doc/tool/copyright
BuildArch: noarch
AutoReqProv: no
Requires(pre): base
Requires: (a or b)
Requires: c >= 0:1-0
Provides: /bin/tool
Conflicts: old < 0:1-0
%description
100%% of a tool.
%transfiletriggerin -- /usr/a /usr/b
echo 50%%
%files
%attr(0640,root,shadow) %config(noreplace) "/etc/tool.conf"
%attr(2755,root,root) %dir "/usr/share/100%%"
%attr(-,root,root) "/usr/share/a b[c]"
"""
    )


def test_command_takes_nothing_from_the_host() -> None:
    command = rpmbuild_command(
        spec=Path("/w/x.spec"), root=Path("/w/root"), work=Path("/w"), output=Path("/o"), architecture="i686"
    )
    assert command[:7] == ["rpmbuild", "-bb", "--noclean", "--target", "i686-ami-linux", "--buildroot", Path("/w/root")]
    assert command[-1] == Path("/w/x.spec")
    assert {"_buildhost ami-factory", "use_source_date_epoch_as_buildtime 1", "_dbpath /w/rpmdb"} <= set(command[7:-1])


def test_environment() -> None:
    rpm = Rpm(name="a", version=parse_version("1"), architecture="noarch", summary="a", epoch_seconds=7)
    assert rpmbuild_environment(rpm, Path("/w")) == {"SOURCE_DATE_EPOCH": "7", "HOME": "/w", "MAGIC": "/dev/null"}


def test_relation_without_version() -> None:
    assert rpm_relation(Relation(name="a"), None) == "a"
