"""Debian's words: versions, relations, control paragraphs and the units that a postinst enables."""

import pytest

from builder.errors import BuilderError
from builder.formats import deb
from builder.formats.deb import Control, Relation, Version


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("1:9.2p1-2+deb12u10", Version(epoch=1, upstream="9.2p1", revision="2+deb12u10"), id="all three"),
        pytest.param("20230311+deb12u1", Version(epoch=0, upstream="20230311+deb12u1", revision="0"), id="native"),
        pytest.param("1.0-rc1-3~bpo", Version(epoch=0, upstream="1.0-rc1", revision="3~bpo"), id="hyphen upstream"),
        pytest.param("2.0.4-8~", Version(epoch=0, upstream="2.0.4", revision="8~"), id="trailing tilde"),
    ],
)
def test_version(text: str, expected: Version) -> None:
    assert deb.parse_version(text) == expected


@pytest.mark.parametrize("text", ["", "x:1", "1:", "-1", "1 2", "1:2:3", "1-", "1_2", "1\n2"])
def test_bad_version(text: str) -> None:
    with pytest.raises(BuilderError, match="is not a Debian version"):
        deb.parse_version(text)


def test_relations() -> None:
    text = "libc6 (>= 2.34), awk:any | mawk (<<1.4~),\n perl:amd64 (= 5.36.0-7), old (< 2), ${misc:Depends}"
    with pytest.raises(BuilderError, match=r"'\$\{misc:Depends\}' is not a relation"):
        deb.parse_relations(text)
    assert deb.parse_relations(text.rpartition(",")[0]) == (
        (Relation(name="libc6", operator=">=", version="2.34"),),
        (Relation(name="awk"), Relation(name="mawk", operator="<<", version="1.4~")),
        (Relation(name="perl", operator="=", version="5.36.0-7"),),
        (Relation(name="old", operator="<=", version="2"),),
    )


def test_no_relations() -> None:
    assert deb.parse_relations("") == ()


def test_control() -> None:
    control = """\
Package: passwd
Version: 1:4.13+dfsg1-1
Architecture: amd64
Essential: yes
Depends: libc6, libpam-modules
Pre-Depends: libselinux1 (>= 3.1~)
Provides: virtual, versioned (= 1:2)
Conflicts: rival
Breaks: old (<< 1:4)
Description: change and administer password
 A long text
 .
 that goes on.
"""
    postinst = """\
if deb-systemd-helper --quiet was-enabled 'ssh.service'; then
if deb-systemd-helper --quiet was-enabled 'a.timer'; then
if deb-systemd-helper debian-installed 'ssh.socket'; then
	if deb-systemd-helper --quiet was-enabled 'ssh.socket'; then
"""
    members = {
        "control": control,
        "conffiles": "/etc/one\nremove-on-upgrade /etc/two\n",
        "postinst": postinst,
    }
    assert deb.parse_control(members) == Control(
        name="passwd",
        version=Version(epoch=1, upstream="4.13+dfsg1", revision="1"),
        architecture="amd64",
        summary="change and administer password",
        essential=True,
        depends=((Relation(name="libc6"),), (Relation(name="libpam-modules"),)),
        pre_depends=((Relation(name="libselinux1", operator=">=", version="3.1~"),),),
        provides=(Relation(name="virtual"), Relation(name="versioned", operator="=", version="1:2")),
        conflicts=(Relation(name="rival"), Relation(name="old", operator="<<", version="1:4")),
        conffiles=frozenset({"/etc/one"}),
        units=("a.timer", "ssh.service"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("Package: a\nVersion: 1\n", "no Architecture field", id="field missing"),
        pytest.param("nonsense\n", "'nonsense' is not a control field", id="no colon"),
        pytest.param(" folded\n", "starts with a continuation line", id="continuation first"),
    ],
)
def test_bad_control(text: str, message: str) -> None:
    with pytest.raises(BuilderError, match=message):
        deb.parse_control({"control": text})
