"""Whether the parts of a bundle that are there can be the ones of its manifest, by their lengths alone.

A manifest has no length for a part, only their sum. All parts but the last are equally long, though, so that nearly
always the one that is truncated or extended can be named before a byte is read.
"""

from collections import Counter
from collections.abc import Mapping

from builder.errors import BuilderError
from builder.formats.bundle_manifest import BundleManifest

USUAL = 10 * 1024 * 1024
"""What every bundling tool cuts at, unless told otherwise."""
_SHOWN = 10


def check_lengths(manifest: BundleManifest, found: Mapping[str, int]) -> dict[str, int]:
    """The lengths of the manifest's parts, by name. BuilderError for what is missing, truncated or extended."""
    names = [part.filename for part in manifest.parts]
    missing = [name for name in names if name not in found]
    if missing:
        others = f" ({len(missing)} of {len(names)} parts are)" if len(missing) > 1 else ""
        raise BuilderError(f"part {missing[0]} is missing{others}", detail=_listed(missing[1:]))
    lengths = {name: found[name] for name in names}
    if (total := sum(lengths.values())) == manifest.bundled_size:
        return lengths
    sums = f"the parts have {total} bytes together, the manifest says {manifest.bundled_size}"
    wrong = [
        f"part {name} is {'truncated' if length < should else 'extended'}: it has {length} bytes, not {should}"
        for (name, length), should in zip(lengths.items(), _expected(manifest, tuple(lengths.values())), strict=True)
        if length != should
    ]
    if wrong:
        raise BuilderError(wrong[0], detail="\n".join(filter(None, (_listed(wrong[1:]), sums))))
    raise BuilderError(sums)


def _expected(manifest: BundleManifest, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """How long each part should be; as they are where that cannot be known."""
    before_last = len(lengths) - 1
    if not before_last:
        return (manifest.bundled_size,)
    alike = [length for length, count in Counter(lengths[:-1]).most_common(1) if count > 1]
    for size in (USUAL, *alike):
        last = manifest.bundled_size - size * before_last
        if 0 <= last <= size:
            return (*(size for _ in range(before_last)), last)
    return lengths


def _listed(lines: list[str]) -> str:
    more = len(lines) - _SHOWN
    return "\n".join([*lines[:_SHOWN], *([f"... and {more} more"] if more > 0 else [])])
