"""What `lock` pins of an image that is there already."""

import hashlib
from pathlib import Path

from builder.errors import RecipeError
from builder.stages.base import oci, remote, source
from builder.stages.base.run import tree_digest
from builder.stages.base.spec import PinSpec
from builder.stages.contract import Result, StageContext


def run(spec: PinSpec, context: StageContext) -> Result:
    """Look at the image, whatever it is; RecipeError when it is not what `sha256` says."""
    location, region = spec.location, ""
    if location.startswith("ami-"):
        kind, location = remote.of_ami(location, spec.region, context)
        format, region = "raw", spec.region
    elif location.startswith(remote.S3):
        kind, format, region = "bundle", "raw", spec.region
    else:
        kind, format = source.kind_of(Path(location))
    pin = _pin(spec, kind, location, region, context)
    if spec.sha256 and spec.sha256 != pin:
        if kind == "snapshot":
            raise RecipeError("base.sha256: an AMI of EBS has no digest", hint="leave it out: snapshots never change")
        raise RecipeError(
            f"{spec.location} is not what base.sha256 says",
            detail=f"base.sha256: {spec.sha256}\nfound:       {pin}",
            hint="is it the right file? else write the digest that was found",
        )
    return {"kind": kind, "format": format, "pin": pin, "region": region, "location": location if region else ""}


def _pin(spec: PinSpec, kind: str, location: str, region: str, context: StageContext) -> str:
    if kind == "snapshot":
        return location
    if kind == "bundle":
        return hashlib.sha256(remote.manifest(location, region, context)).hexdigest()
    path = Path(location)
    if kind == "oci":
        return oci.manifest_digest(oci.opened(path, context.scratch), spec.architecture)
    return tree_digest(path, context) if kind == "directory" else source.digest(path)
