"""The first seconds of a build: what could fail after an hour, asked at once, and all of it in one list."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from builder.cloud.session import Surroundings
from builder.errors import BuilderError, Exit, RegionError
from builder.plan.step import Plan, Step
from builder.preflight import question as q
from builder.preflight.ask import Asked, Clients, ask
from builder.preflight.finding import Finding, Severity
from builder.preflight.judge import judge
from builder.preflight.questions import place_of, questions


def preflight(
    plan: Plan,
    steps: Sequence[Step],
    surroundings: Surroundings,
    *,
    pair: tuple[str, str],
    places: Callable[[str], str],
    sharing: bool = False,
    known: Sequence[q.Question] = (),
) -> tuple[tuple[Finding, ...], tuple[q.Question, ...]]:
    """What was found about what `steps` will do in the region, and what was asked for it. `known` was asked before.

    `places` tells where the recipe has a key. For `pair` and `sharing` see questions().
    """
    place, asked = place_of(steps), questions(plan, steps, pair=pair, sharing=sharing)
    new = tuple(each for each in asked if each not in known or isinstance(each, q.FIRST))
    if place is None or all(isinstance(each, q.FIRST) for each in new):
        return (), ()
    findings = examine(new, Clients(surroundings, place))
    bad = (Severity.WARNING, Severity.ERROR)
    return tuple(replace(f, where=places(f.key)) if f.key and f.severity in bad else f for f in findings), asked


def examine(questions: Sequence[q.Question], clients: Clients) -> tuple[Finding, ...]:
    """Everything that was found, good things too. Changes nothing in the account.

    Who asks, and whether the region is open, comes first: all others would only say the same in other words.
    """
    first = ask([each for each in questions if isinstance(each, q.FIRST)], clients)
    findings = judge(first)
    others = [each for each in questions if not isinstance(each, q.FIRST)]
    if any(each.severity is Severity.ERROR for each in findings):
        here = [each for each in others if isinstance(each, q.PairFits)]
        return findings + judge(ask(here, clients)) + _unasked(len(others) - len(here))
    return judge((*first, *ask(others, clients, caller=_caller(first))))


def _caller(first: Sequence[Asked]) -> str:
    return next((each.answer.arn for each in first if isinstance(each.question, q.WhoAsks) and each.answer), "")


def _unasked(count: int) -> tuple[Finding, ...]:
    if not count:
        return ()
    return (Finding(id="rest", severity=Severity.UNCHECKED, what=f"{count} more questions were not asked"),)


def refuse(findings: Sequence[Finding], told: Callable[[Finding], str]) -> None:
    """BuilderError with all errors among the findings, if there are any; `told` puts one into words."""
    errors = [each for each in findings if each.severity is Severity.ERROR]
    if not errors:
        return
    lines = [line for each in errors for line in (told(each), *([f"  {each.remedy}"] if each.remedy else []))]
    brief = "nothing was begun: the region would refuse the build"
    if all(each.local for each in errors):
        raise BuilderError("nothing was begun: the build would fail", detail="\n".join(lines), exit=Exit.USAGE)
    raise RegionError(brief, detail="\n".join(lines), hint="see all that was checked: ami-factory plan --online RECIPE")
