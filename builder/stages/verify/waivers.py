"""What a recipe says of findings that it knows and accepts. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from builder.stages.verify.rules import Finding
from builder.stages.verify.spec import UNUSED, Waiver


def waived(findings: Iterable[Finding], waivers: tuple[Waiver, ...]) -> tuple[Finding, ...]:
    """The findings, those that a waiver is for with its reason; and a warning for each waiver that is for none."""
    marked = [replace(each, waived=_reason(each, waivers)) for each in findings]
    return (*marked, *_unused(marked, waivers))


def _reason(finding: Finding, waivers: tuple[Waiver, ...]) -> str:
    return next((each.reason for each in waivers if _is_for(each, finding)), "")


def _is_for(waiver: Waiver, finding: Finding) -> bool:
    return waiver.id == finding.id and fnmatchcase(finding.path, waiver.path)


def _unused(findings: list[Finding], waivers: tuple[Waiver, ...]) -> Iterator[Finding]:
    for each in waivers:
        if not any(_is_for(each, finding) for finding in findings):
            yield Finding(
                id=UNUSED,
                path=each.path,
                why=f"the recipe waives {each.id} here, and nothing was found",
                remedy="remove it from verify.waive: it would hide the next one",
                severity="warning",
            )
