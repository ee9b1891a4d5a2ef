"""How an image came to be: an in-toto statement (v1) with SLSA's provenance predicate (v1). Pure.

It links the recipe, the lock and its packages, the host's tools, the steps, the image, the bundle's manifest and the
AMI. It is not signed, and holds no time and no secret: specs have none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from builder.provenance.origin import Origin
from builder.store.contract import Record

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://ami-factory.invalid/build/v1"
BUILDER = "https://ami-factory.invalid/builder"


def statement(
    digest: str, image: Record, made_of: Sequence[Record], made_from_it: Sequence[Record], origin: Origin | None
) -> dict[str, Any]:
    """The statement about an image whose SHA-256 is `digest`.

    `made_of`: the steps that it is made from. `made_from_it`: what bundled, sent and registered it, if that is known.
    """
    return {
        "_type": STATEMENT,
        "subject": [{"name": "disk.raw", "digest": {"sha256": digest}}, *_manifests(made_from_it)],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _recipe(origin),
                "internalParameters": {"steps": [_step(each) for each in (image, *made_of, *made_from_it)]},
                "resolvedDependencies": list(_dependencies(made_of)),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": _versions(origin)},
                "metadata": {"invocationId": image.key},
                "byproducts": [_ami(each) for each in made_from_it if each.stage == "register"],
            },
        },
    }


def _recipe(origin: Origin | None) -> dict[str, Any]:
    """Nothing of an image that was built before recipes were remembered."""
    if origin is None:
        return {}
    told = asdict(origin)
    return {
        "recipe": {"name": told["recipe"], "digest": {"sha256": told["recipe_sha256"]}},
        "lock": {"digest": {"sha256": told["lock_sha256"]}},
        "variant": told["variant"],
    }


def _versions(origin: Origin | None) -> dict[str, str]:
    return {"ami-factory": origin.version, **dict(sorted(origin.tools.items()))} if origin else {}


def _step(record: Record) -> dict[str, Any]:
    return {
        "stage": record.stage,
        "version": record.version,
        "key": record.key,
        "inputs": dict(record.inputs),
    }


def _dependencies(records: Iterable[Record]) -> Iterable[dict[str, Any]]:
    """The packages and files that went in, each by its digest."""
    seen = set()
    for record in records:
        for each in (*record.spec.get("packages", ()), *record.spec.get("sources", ())):
            digest = each.get("payload_sha256") or each.get("sha256")
            if digest and digest not in seen:
                seen.add(digest)
                yield {"name": _name(each), "digest": {"sha256": digest}}
        for each in record.spec.get("files", ()):
            digest = each.get("sha256")
            if digest and digest not in seen:
                seen.add(digest)
                yield {"name": str(each.get("path", "")), "digest": {"sha256": digest}}


def _name(package: Mapping[str, Any]) -> str:
    if "release" not in package:
        return f"{package['name']}_{package['version']}_{package['architecture']}.deb"
    epoch = f"{package['epoch']}:" if package.get("epoch") else ""
    return f"{package['name']}-{epoch}{package['version']}-{package['release']}.{package['architecture']}.rpm"


def _manifests(records: Iterable[Record]) -> Iterable[dict[str, Any]]:
    """Bundles are encrypted with a key of the moment, so their manifests are of one bundle each."""
    for record in records:
        name = record.result.get("manifest")
        digest = record.result.get("digests", {}).get(name)
        if record.stage == "bundle" and digest:
            yield {"name": name, "digest": {"sha256": digest}}


def _ami(record: Record) -> dict[str, Any]:
    told = {name: record.spec[name] for name in ("region", "account") if record.spec.get(name)}
    return {"name": record.result.get("image_id", ""), "annotations": {**told, "key": record.key}}
