"""The words of a Debian package: its control paragraph, relations, versions and unit names. Pure text, no archives.

Sources: Debian Policy 5.6.12 (versions), 7.1 (relations), deb-control(5), dh_installsystemd(1).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from builder.errors import BuilderError

_RELATION = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?\s*(?:\(\s*(?P<operator><<|<=|=|>=|>>|<|>)\s*(?P<version>[^\s)]+)\s*\))?$"
)
_UNIT_ENABLED = re.compile(r"deb-systemd-helper (?:--quiet )?was-enabled '([^']+)'")
_UNIT_ONLY_KEPT = re.compile(r"deb-systemd-helper (?:--quiet )?debian-installed '([^']+)'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """One alternative of a relation. `operator` is Debian's, or "" for any version."""

    name: str
    operator: str = ""
    version: str = ""


Alternatives = tuple[Relation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version as dpkg compares it; a missing revision equals "0" (Policy 5.6.12)."""

    epoch: int
    upstream: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What a binary package says of itself. A relation field is a conjunction of alternatives."""

    name: str
    version: Version
    architecture: str
    summary: str
    essential: bool = False
    depends: tuple[Alternatives, ...] = ()
    pre_depends: tuple[Alternatives, ...] = ()
    provides: tuple[Relation, ...] = ()
    conflicts: tuple[Relation, ...] = ()
    conffiles: frozenset[str] = field(default_factory=frozenset)
    units: tuple[str, ...] = ()
    """Units that the package's postinst enables on a first installation."""


def parse_paragraph(text: str) -> dict[str, str]:
    """The fields of one deb822 paragraph; continuation lines are kept, joined by a newline."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t"):
            if not name:
                raise BuilderError("a control paragraph starts with a continuation line", detail=text[:200])
            fields[name] += "\n" + line.strip()
        elif line.strip():
            name, colon, value = line.partition(":")
            if not colon:
                raise BuilderError(f"{line[:80]!r} is not a control field")
            fields[name] = value.strip()
    return fields


def parse_version(text: str) -> Version:
    """Split `[epoch:]upstream[-revision]`."""
    epoch, colon, rest = text.partition(":")
    if not colon:
        epoch, rest = "0", text
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, "0"
    if not epoch.isdecimal() or not upstream or not revision or re.search(r"[^A-Za-z0-9.+~-]", upstream + revision):
        raise BuilderError(f"{text!r} is not a Debian version")
    return Version(epoch=int(epoch), upstream=upstream, revision=revision)


def parse_relations(text: str) -> tuple[Alternatives, ...]:
    """`a (>= 1) | b, c:any` as a conjunction of alternatives; architecture qualifiers are dropped."""
    return tuple(
        tuple(_parse_relation(each) for each in clause.split("|")) for clause in text.split(",") if clause.strip()
    )


def _parse_relation(text: str) -> Relation:
    match = _RELATION.match(text.strip())
    if match is None:
        raise BuilderError(f"{text.strip()!r} is not a relation to a Debian package")
    # Policy 7.1: the obsolete < and > mean <= and >=.
    operator = {"<": "<=", ">": ">="}.get(match["operator"] or "", match["operator"] or "")
    return Relation(name=match["name"], operator=operator, version=match["version"] or "")


def parse_enabled_units(postinst: str) -> tuple[str, ...]:
    """The units that dh_installsystemd wrote into a postinst to be enabled, sorted.

    Those behind `debian-installed` are only kept enabled when they were (dh_installsystemd --no-enable).
    """
    return tuple(sorted(set(_UNIT_ENABLED.findall(postinst)) - set(_UNIT_ONLY_KEPT.findall(postinst))))


def parse_control(members: Mapping[str, str]) -> Control:
    """Read the control archive of a package: `control`, and `conffiles` and `postinst` where there are any."""
    fields = parse_paragraph(members["control"])
    missing = [name for name in ("Package", "Version", "Architecture") if name not in fields]
    if missing:
        raise BuilderError(f"a Debian package has no {missing[0]} field")
    conflicts = [*parse_relations(fields.get("Conflicts", "")), *parse_relations(fields.get("Breaks", ""))]
    return Control(
        name=fields["Package"],
        version=parse_version(fields["Version"]),
        architecture=fields["Architecture"],
        summary=fields.get("Description", fields["Package"]).partition("\n")[0],
        essential=fields.get("Essential", "no") == "yes",
        depends=parse_relations(fields.get("Depends", "")),
        pre_depends=parse_relations(fields.get("Pre-Depends", "")),
        provides=tuple(one for clause in parse_relations(fields.get("Provides", "")) for one in clause),
        conflicts=tuple(one for clause in conflicts for one in clause),
        conffiles=frozenset(
            line for line in members.get("conffiles", "").splitlines() if line.startswith("/")
        ),  # "remove-on-upgrade /path" lines name files that are not shipped
        units=parse_enabled_units(members.get("postinst", "")),
    )
