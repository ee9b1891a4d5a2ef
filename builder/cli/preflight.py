"""What preflight found: as text, as a document, as an exit code, and as what stops a build."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from builder.cli import output
from builder.errors import Exit
from builder.factory import Factory, Selection
from builder.plan.decide import Action, Do
from builder.plan.step import Plan, Step
from builder.prepared import Prepared

if TYPE_CHECKING:  # a build with nothing to do in the region pays for none of it
    from builder.preflight.finding import Finding
    from builder.preflight.question import Question

_STYLES = {"ok": "good", "unchecked": "note"}
_WIDTH = 10


def early(
    factory: Factory, prepared: Prepared, selection: Selection, until: str, *, quiet: bool
) -> "tuple[Question, ...]":
    """Of a recipe without a lock, whose packages take minutes to resolve: what can be asked of it now. The questions.

    BuilderError with all that would keep the build from being done.
    """
    if prepared.lock is not None:
        return ()
    plan = factory.published(prepared, selection)
    stages = {"upload": ("bundle", "upload"), "snapshot": ("snapshot",)}
    steps = [each for each in plan.steps if not until or each.stage in stages.get(until, (each.stage,))]
    return _told(factory, prepared, plan, steps, (), quiet=quiet)


def of_build(
    factory: Factory,
    prepared: Prepared,
    plan: Plan,
    actions: Sequence[Action],
    known: "Sequence[Question]",
    *,
    quiet: bool,
) -> None:
    """Of the steps that are about to run. BuilderError with all that would keep them from being done."""
    _told(factory, prepared, plan, [each.step for each in actions if each.do is Do.RUN], known, quiet=quiet)


def _told(
    factory: Factory,
    prepared: Prepared,
    plan: Plan,
    steps: Sequence[Step],
    known: "Sequence[Question]",
    *,
    quiet: bool,
) -> "tuple[Question, ...]":
    if not any(each.remote for each in steps):
        return ()
    from builder.preflight.check import refuse

    findings, asked = factory.preflight(prepared, plan, steps, known=known)
    for each in findings:
        if each.severity.value == "warning" and not quiet:
            output.warn(told(each))
            if each.remedy:
                output.say(f"  {each.remedy}")
    refuse(findings, told)
    return asked


def of_plan(factory: Factory, prepared: Prepared, plan: Plan, actions: Sequence[Action]) -> "tuple[Finding, ...]":
    """Of all that a plan has to do with the region, done or not."""
    steps = [each.step for each in actions if each.do is not Do.SKIP]
    return factory.preflight(prepared, plan, steps, sharing=True)[0]


def show(findings: "Sequence[Finding]") -> None:
    """For people: a line for each, and one for what to do about it."""
    for each in findings:
        word = each.severity.value
        output.result(f"{output.styled(word.ljust(_WIDTH), _STYLES.get(word, word), sys.stdout)} {told(each)}")
        if each.remedy:
            output.result(f"{'':<{_WIDTH}} {each.remedy}")


def told(finding: "Finding") -> str:
    """A finding in a line, which begins with where the recipe says it."""
    return f"{finding.where}: {finding.key}: {finding.what}" if finding.where else finding.what


def document(findings: "Sequence[Finding]") -> list[dict[str, Any]]:
    return [
        {
            "id": each.id,
            "severity": each.severity.value,
            "what": each.what,
            "key": each.key,
            "where": each.where,
            "remedy": each.remedy,
        }
        for each in findings
    ]


def exit_code(findings: "Sequence[Finding]") -> int:
    """0 without an error among them; 4 when one is the region's, else 2."""
    errors = [each for each in findings if each.severity.value == "error"]
    if not errors:
        return 0
    return int(Exit.USAGE if all(each.local for each in errors) else Exit.REGION)
