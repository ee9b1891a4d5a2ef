"""The verb provenance: from what an output was made, for people, as SPDX, as in-toto."""

import json as json_
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from builder.catalog.regions import LOCAL
from builder.cli import options as o
from builder.cli import output
from builder.errors import BuilderError, RecipeError
from builder.factory import Factory
from builder.host.directories import cache_directory
from builder.store.contract import Record
from builder.store.local import LocalStore

SBOM, STATEMENT = "sbom.spdx.json", "statement.intoto.json"
"""Beside an image in the store."""
_SENT = ("bundle", "upload", "snapshot", "register")

Sbom = Annotated[bool, typer.Option("--sbom", help="Print the image's packages as SPDX 2.3 (JSON).")]
Statement = Annotated[bool, typer.Option("--statement", help="Print an in-toto statement with SLSA's provenance.")]


def provenance(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="KEY|PATH|AMI",
            help="A key (its first digits do), a path in the store, or an AMI id.",
            show_default=False,
        ),
    ],
    sbom: Sbom = False,
    statement: Statement = False,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Say what an output is made of, back to the recipe and its packages.

    An AMI that this store has no receipt of is found by its tag. --sbom and --statement are about the subject's image;
    both documents are kept beside it, too.

    \b
    Examples:
      ami-factory provenance ami-0123456789abcdef0
      ami-factory provenance ami-0123456789abcdef0 --sbom > web.spdx.json
    """
    if sum((sbom, statement, json)) > 1:
        raise RecipeError("--sbom, --statement and --json are three documents", hint="give one of them")
    factory = o.factory(region=region, profile=profile, endpoint_url=endpoint_url, store=store)
    place = factory.store
    key = _key_of(subject, factory)
    if sbom or statement:
        output.result(_documents(key, place)[SBOM if sbom else STATEMENT].rstrip("\n"))
        return
    steps = [_made_of(each, place) for each in _walk(key, place)]
    if json:
        output.document("provenance", subject=subject, recipe=_recipe(key, place), steps=steps)
        return
    if recipe := _recipe(key, place):
        digests = f"SHA-256 {recipe['recipe_sha256'][:12]}, lock {recipe['lock_sha256'][:12]}"
        output.result(f"{'recipe':<11} {recipe['name']}  {digests}, ami-factory {recipe['version']}")
    for each in steps:
        output.result(f"{each['stage']:<11} {each['key'][:12]}  {each['told']}".rstrip())
        for line in each["packages"]:
            output.result(f"    {line}")


def _key_of(subject: str, factory: Factory) -> str:
    store = factory.store
    if subject.startswith("ami-"):
        for each in store.objects():
            if each.record.stage == "register" and each.record.result.get("image_id") == subject:
                return each.record.key
        return _by_tag(subject, factory)
    path = Path(subject)
    if path.exists():
        inside = [p.name for p in (path, *path.resolve().parents) if len(p.name) == 64]
        if not inside:
            raise RecipeError(f"{subject} is not in the store {store.root}")
        return inside[0]
    return store.find(subject)


def _by_tag(image_id: str, factory: Factory) -> str:
    """The key that an AMI of the region was registered with; a copy has its original's."""
    region = factory.region(start=False)
    key = ""
    if region is not None:
        from builder.cloud.amis import ami
        from builder.cloud.session import client

        found = ami(client("ec2", region.surroundings, region.name), region.name, image_id)
        key = found.key if found else ""
    if not key:
        raise BuilderError(f"{image_id} was not registered from this store", hint=f"the store is {factory.store.root}")
    if not factory.store.has(key):
        raise BuilderError(
            f"{image_id} has the key {key[:12]}, which is not in the store {factory.store.root}",
            hint="build the recipe here, or name the store that it was built in with --store",
        )
    return key


def _walk(key: str, store: LocalStore) -> Iterator[str]:
    seen: dict[str, None] = {}
    pending = [key]
    while pending:
        each = pending.pop(0)
        if each in seen:
            continue
        seen[each] = None
        yield each
        if store.has(each):
            pending += store.get(each).record.inputs.values()


def _made_of(key: str, store: LocalStore) -> dict[str, Any]:
    if not store.has(key):
        return {"stage": "?", "key": key, "told": "no longer in the store", "packages": [], "result": {}, "inputs": {}}
    record = store.get(key).record
    packages = [
        f"{p['name']} {p['version']}" + (f"-{p['release']}" if "release" in p else "") + f" {p['architecture']}"
        for p in (*record.spec.get("packages", ()), *record.spec.get("sources", ()))
    ]
    told = record.result.get("image_id") or record.result.get("location") or record.result.get("digest") or ""
    return {
        "stage": record.stage,
        "key": key,
        "told": str(told),
        "packages": packages,
        "result": record.result,
        "inputs": record.inputs,
    }


def _recipe(key: str, store: LocalStore) -> dict[str, str] | None:
    """The recipe that the subject's image was built from, if that was remembered."""
    from builder.provenance.origin import recall

    image = _image_of(key, store)
    found = recall(store.root, image.key) if image else None
    if found is None:
        return None
    return {
        "name": found.recipe,
        "recipe_sha256": found.recipe_sha256,
        "lock_sha256": found.lock_sha256,
        "variant": found.variant,
        "version": found.version,
    }


def _image_of(key: str, store: LocalStore) -> Record | None:
    """The image that a step made or was made from."""
    records = (store.get(each).record for each in _walk(key, store) if store.has(each))
    return next((each for each in records if each.stage == "image"), None)


def _documents(key: str, store: LocalStore) -> dict[str, str]:
    """Both documents about the subject's image, by their names; they are put beside it, too."""
    from builder.compare.image import Places, read_images, sha256
    from builder.compare.packages import RPM
    from builder.provenance.origin import recall
    from builder.provenance.sbom import sbom
    from builder.provenance.statement import statement

    image = _image_of(key, store)
    if image is None:
        raise RecipeError(f"{key[:12]} is made from no image", hint="give the key of an image, or what was made of one")
    disk = store.object_path(image.key) / "disk.raw"
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sbom-", dir=cache) as scratch:
        (contents,) = read_images((disk,), Places(cache=cache / "appliance", scratch=Path(scratch)))
    origin = recall(store.root, image.key)
    made_of = [store.get(each).record for each in _walk(image.key, store) if each != image.key and store.has(each)]
    locked = [each for record in made_of for each in record.spec.get("packages", ()) if "payload_sha256" in each]
    digest = sha256(disk)
    made = {
        SBOM: sbom(
            origin.variant if origin else f"image-{image.key[:12]}",
            digest,
            contents.packages,
            locked,
            kind="rpm" if any(each in contents.entries for each in RPM) else "deb",
            epoch=image.spec.get("source_epoch", 0),
        ),
        STATEMENT: statement(digest, image, made_of, _sent(image.key, key, store), origin),
    }
    texts = {name: json_.dumps(each, indent=2, sort_keys=name == STATEMENT) + "\n" for name, each in made.items()}
    for name, text in texts.items():
        with suppress(OSError):  # another user's store: they are printed all the same
            partial = disk.with_name(f".{name}.{os.getpid()}")
            partial.write_text(text)
            partial.rename(disk.with_name(name))
    return texts


def _sent(image: str, key: str, store: LocalStore) -> list[Record]:
    """What was made from an image on its way to the region: the subject's own way, or all ways of an image."""
    own = [store.get(each).record for each in _walk(key, store) if store.has(each)]
    found = [each for each in own if each.stage in _SENT]
    if found:
        return sorted(found, key=lambda each: _SENT.index(each.stage))
    known, found = {image}, []
    records = sorted((each.record for each in store.objects()), key=lambda each: each.key)
    for stage in _SENT:
        for record in (each for each in records if each.stage == stage):
            if known & set(record.inputs.values()):
                known.add(record.key)
                found.append(record)
    return found
