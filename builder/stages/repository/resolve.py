"""Chooses the .deb files of a repository; run like a step, its result is not stored."""

from builder.stages.contract import Result, StageContext
from builder.stages.repository import sources
from builder.stages.repository.spec import SourcesSpec


def run(spec: SourcesSpec, context: StageContext) -> Result:
    """`{"sources": [SourcePackage, ...], "notes": [what the archive was not right about, ...]}`"""
    notes: list[str] = []
    found = sources.resolve(spec.architecture, spec.roots, context.surroundings.cache / "apt", notes.append)
    return {"sources": found, "notes": notes}
