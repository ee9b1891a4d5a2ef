"""Look into a finished image, read-only, and stop it here if it could not boot or must not be let loose."""

import json

from builder.canonical import to_plain
from builder.errors import BuilderError
from builder.host import appliance
from builder.stages.contract import Result, StageContext
from builder.stages.verify.facts import check_filesystem, read_facts
from builder.stages.verify.rules import RULES, Finding, judge
from builder.stages.verify.spec import VerifySpec


def run(spec: VerifySpec, context: StageContext) -> Result:
    """Write `report.json`. BuilderError with every finding if one of them is an error."""
    image = context.input("image").path / "disk.raw"
    complaints = check_filesystem(image)
    cache = context.surroundings.cache / "appliance"
    with appliance.opened([image], cache=cache, scratch=context.scratch) as handle:
        facts = read_facts(handle, "/dev/sda", menu=spec.menu, complaints=complaints, scratch=context.scratch)
    findings = judge(spec, facts)
    report = {"findings": to_plain(findings), "checks": held(findings)}
    (context.output / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    for finding in findings:
        if finding.severity == "warning":
            context.note(line(finding))
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise refusal(errors)
    return report


def held(findings: tuple[Finding, ...]) -> list[str]:
    """The ids of the rules that nothing was found against."""
    broken = {finding.id for finding in findings}
    return [name for name in RULES if name not in broken]


def refusal(errors: list[Finding]) -> BuilderError:
    """One error that tells all of them."""
    count = "is 1 fault" if len(errors) == 1 else f"are {len(errors)} faults"
    return BuilderError(
        f"there {count} in the image: {line(errors[0])}",
        detail="\n".join(f"{line(each)}\n  {each.remedy}" for each in errors),
        hint=errors[0].remedy,
    )


def line(finding: Finding) -> str:
    return f"{finding.path}: {finding.why} ({finding.id})"
