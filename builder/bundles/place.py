"""What lies where a bundle goes: its own files, a neighbour's, or another bundle's of the same name."""

import re
from collections.abc import Iterable, Mapping
from shlex import quote

from builder.bundles.s3_parts import below
from builder.cloud.errors import aws_command
from builder.cloud.s3 import Bucket
from builder.errors import RegionError

_SHOWN = 10
_SUFFIX = ".manifest.xml"


def stem_of(manifest_name: str) -> str:
    """The bundle's name, by the name of its manifest."""
    return manifest_name.removesuffix(_SUFFIX)


def manifest_of(stem: str) -> str:
    return f"{stem}{_SUFFIX}"


def files_of(stem: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` that are files of a bundle of that name, by the rules of ec2-ami-tools: NAME.part.N, and
    NAME.manifest.xml before them. NAME.part.0.bak, NAME2.part.0 and the like are not."""
    part = re.compile(re.escape(stem) + r"\.part\.[0-9]+")
    found = set(names)
    parts = sorted((each for each in found if part.fullmatch(each)), key=lambda each: (len(each), each))
    return (*({manifest_of(stem)} & found), *parts)


def refuse_any(bucket: Bucket, prefix: str, names: Iterable[str]) -> None:
    """RegionError when there are names of files that are in a bundle's way."""
    found = tuple(names)
    if found:
        raise RegionError(
            f"s3://{bucket.name}/{below(prefix)} holds {len(found)} objects that are not of this bundle",
            detail=_shown(f"{below(prefix)}{each}" for each in found),
            hint=f"two bundles must not be mixed: use another prefix, or run: {removal(bucket, prefix, found)}",
        )


def refuse_manifest(bucket: Bucket, prefix: str, name: str, present: Mapping[str, object]) -> None:
    """RegionError: what has the manifest's name is another manifest. EC2 could start a half-new bundle."""
    files = files_of(stem_of(name), present)
    raise RegionError(
        f"s3://{bucket.name}/{below(prefix)}{name} is the manifest of another bundle",
        hint=f"two bundles must not be mixed: use another prefix, or run: {removal(bucket, prefix, files)}",
    )


def removal(bucket: Bucket, prefix: str, names: Iterable[str]) -> str:
    """The command that removes exactly these files, or files whose numbers have as many digits."""
    found = tuple(names)
    if len(found) == 1:
        return aws_command(bucket.client, f"s3 rm {quote(f's3://{bucket.name}/{below(prefix)}{found[0]}')}")
    patterns = dict.fromkeys(re.sub(r"(?<=\.part\.)[0-9]+$", lambda at: "[0-9]" * len(at[0]), each) for each in found)
    included = " ".join(f"--include '{each}'" for each in patterns)
    where = quote(f"s3://{bucket.name}/{below(prefix)}")
    return aws_command(bucket.client, f"s3 rm {where} --recursive --exclude '*' {included}")


def _shown(names: Iterable[str]) -> str:
    found = list(names)
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "\n".join(found[:_SHOWN] + more)
