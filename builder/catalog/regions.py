"""Regions and their partitions, and the local region, which is none of EC2's."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from builder.errors import RecipeError
from builder.formats.toml import printable

LOCAL = "local"
# All that the one process serves: images and snapshots are copied between them (builder/region/ec2/region.py).
LOCAL_REGIONS = (LOCAL, "local-2", "local-3")
# The owner alias of EC2's own images, which the local region has as well, and the account behind it: that of PV-GRUB's.
# In the local region, whose credentials are words, it is also the word that makes a caller this owner.
AMAZON = "amazon"
AMAZON_ACCOUNT = "137112412989"
# The regions that had instance store AMIs and PV-GRUB kernel images, known without reading botocore's files.
_CLASSIC = {
    "ap-northeast-1": "aws", "ap-southeast-1": "aws", "ap-southeast-2": "aws", "ca-central-1": "aws",
    "cn-north-1": "aws-cn", "eu-central-1": "aws", "eu-west-1": "aws", "sa-east-1": "aws", "us-east-1": "aws",
    "us-gov-west-1": "aws-us-gov", "us-west-1": "aws", "us-west-2": "aws",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A region: a local one has the partition "aws", as its clients expect."""

    name: str
    partition: str

    @property
    def is_local(self) -> bool:
        """Emulated on this machine."""
        return self.name in LOCAL_REGIONS


def region(name: str) -> Region:
    """One region. RecipeError names the nearest when there is none of that name."""
    if name in LOCAL_REGIONS:
        return Region(name=name, partition="aws")
    if name in _CLASSIC:
        return Region(name=name, partition=_CLASSIC[name])
    known = _botocore_regions()
    if name in known:
        return Region(name=name, partition=known[name])
    import difflib

    near = difflib.get_close_matches(name.lower()[:40], [LOCAL, *known], n=1, cutoff=0.5)
    raise RecipeError(
        f'"{printable(name)}" is not a region' + (f'; did you mean "{near[0]}"?' if near else ""),
        hint='regions look like "us-east-1"; "local" is the one on this machine',
    )


def names() -> tuple[str, ...]:
    """All regions that botocore knows, and the local one first."""
    return (LOCAL, *sorted(_botocore_regions()))


@cache
def _botocore_regions() -> dict[str, str]:
    """Region to partition, from botocore's data; its package is found, not imported."""
    from importlib.util import find_spec

    found = find_spec("botocore")
    if found is None or found.origin is None:
        return dict(_CLASSIC)
    partitions = json.loads((Path(found.origin).parent / "data" / "endpoints.json").read_text(encoding="utf-8"))
    return {name: each["partition"] for each in partitions["partitions"] for name in each["regions"]}
