"""Look into a finished image, read-only, and stop it here if it could not boot or must not be let loose."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from builder.canonical import to_plain
from builder.errors import BuilderError
from builder.formats.sparse import disk_size
from builder.formats.toml import printable
from builder.host import appliance
from builder.stages.contract import Result, StageContext
from builder.stages.verify.disk_facts import read_disk, with_esp
from builder.stages.verify.facts import Facts, check_filesystem, read_facts
from builder.stages.verify.mbr_rules import read_partitions
from builder.stages.verify.rules import Finding, judge, rules_for
from builder.stages.verify.secret_places import search
from builder.stages.verify.spec import VerifySpec
from builder.stages.verify.waivers import waived

_TOLD = 100


def run(spec: VerifySpec, context: StageContext) -> Result:
    """Write `report.json`. BuilderError with every finding if one of them is an error."""
    image = context.input("image").path / "disk.raw"
    cache = context.surroundings.cache / "appliance"
    facts = look(
        image, menu=spec.menu, partitioned=spec.disk is not None, mbr=spec.mbr, cache=cache, scratch=context.scratch
    )
    findings = waived(judge(spec, facts), spec.waivers)
    report = {"findings": to_plain(findings), "checks": held(spec, findings)}
    (context.output / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    for finding in findings:
        if finding.severity == "warning" and not finding.waived:
            context.note(line(finding))
    errors = [finding for finding in findings if finding.severity == "error" and not finding.waived]
    if errors:
        raise refusal(errors)
    return report


def look(image: Path, *, menu: str, partitioned: bool, mbr: bool = False, cache: Path, scratch: Path) -> Facts:
    """All that the rules ask of an image. BuilderError for a disk on which no root can be found to look into, and for
    a file system that libguestfs cannot read. `partitioned`: with a GPT; `mbr`: PV-GRUB's disk."""
    partitions = read_partitions(image) if mbr else ()
    disk = read_disk(image) if partitioned else None
    root = disk.root if disk else next(iter(partitions), None)
    if disk and not root:
        raise BuilderError(
            f"there are no partitions to look into: {disk.problem or 'none is a root'}",
            hint="build the image step again: ami-factory build RECIPE --rebuild image",
        )
    offset, size = (root.offset, root.size) if root else (0, disk_size(image))
    # All that needs no appliance is done while it starts.
    with ThreadPoolExecutor(max_workers=2) as meanwhile:
        complaints = meanwhile.submit(check_filesystem, image, offset)
        located = meanwhile.submit(search, image, offset, size)
        try:
            with appliance.opened([image], cache=cache, scratch=scratch) as handle:
                disk = with_esp(disk, handle, "/dev/sda") if disk else None
                device = f"/dev/sda{root.number}" if root else "/dev/sda"
                return read_facts(
                    handle,
                    device,
                    menu=menu,
                    complaints=complaints.result(),
                    scratch=scratch,
                    disk=disk,
                    located=located.result(),
                    partitions=partitions,
                )
        except RuntimeError as error:  # all that guestfs raises
            raise BuilderError(
                "libguestfs could not read the image's file system",
                detail=printable(str(error), 1000),
                hint=f"see what e2fsck says of it: e2fsck -fn {image}",
            ) from error


def held(spec: VerifySpec, findings: tuple[Finding, ...]) -> list[str]:
    """The ids of the rules that nothing was found against."""
    broken = {finding.id for finding in findings}
    return [name for name in rules_for(spec) if name not in broken]


def refusal(errors: list[Finding]) -> BuilderError:
    """One error that tells all of them."""
    more = [f"and {len(errors) - _TOLD} more"] if len(errors) > _TOLD else []
    count = "is 1 fault" if len(errors) == 1 else f"are {len(errors)} faults"
    return BuilderError(
        f"there {count} in the image: {line(errors[0])}",
        detail="\n".join((*(f"{line(each)}\n  {each.remedy}" for each in errors[:_TOLD]), *more)),
        hint=errors[0].remedy,
    )


def line(finding: Finding) -> str:
    return f"{finding.path}: {finding.why} ({finding.id})"
