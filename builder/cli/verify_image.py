"""A bare image for the verb verify: read once through libguestfs, and judged by the rules of the verify stage."""

import tempfile
from pathlib import Path

from builder.bundles.lint import Finding
from builder.catalog.kernels import load_kernel
from builder.errors import RecipeError
from builder.host.directories import cache_directory
from builder.prepared import kernels_directory
from builder.stages.verify.bare import is_disk, judge_bare, purpose
from builder.stages.verify.run import look


def findings_of(image: Path, kernel_name: str) -> tuple[Finding, ...]:
    """What is wrong with an image, errors first. It is not changed."""
    kernel = load_kernel(kernels_directory(), kernel_name)
    try:
        with image.open("rb") as file:
            disk = is_disk(file.read(2048), str(image))
    except OSError as error:
        raise RecipeError(f"{image} cannot be read: {error.strerror}") from error
    menu = kernel.hvm.menu if disk else kernel.pv.menu
    cache = cache_directory() / "appliance"
    with tempfile.TemporaryDirectory(prefix="ami-factory-") as scratch:
        facts = look(image, menu=menu, partitioned=disk, cache=cache, scratch=Path(scratch))
    return tuple(
        Finding(
            id=each.id,
            severity=each.severity,
            where=each.path,
            what=each.why,
            remedy=each.remedy,
            source=purpose(each.id),
        )
        for each in judge_bare(kernel, facts)
    )
