"""The verbs store list, gc and verify."""

import hashlib
import time
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer

from builder.cli import options as o
from builder.cli import output
from builder.cli.usage import NoVerbIsHelp
from builder.errors import BuilderError
from builder.formats.blocks import block_digests, parse_blocks
from builder.store.contract import Object
from builder.store.local import Busy, LocalStore

app = typer.Typer(cls=NoVerbIsHelp, help="The store of finished outputs.")


def _bytes_on_disk(each: Object) -> int:
    return sum(file.lstat().st_blocks * 512 for file in each.path.rglob("*"))


@app.command("list")
def list_(store: o.StorePath = None, json: o.Json = False) -> None:
    """List every object: key, stage, size on disk, age."""
    place = o.factory(store=store).store
    entries: list[dict[str, Any]] = [
        {
            "key": each.record.key,
            "stage": each.record.stage,
            "bytes": _bytes_on_disk(each),
            "created": each.record.created,
        }
        for each in place.objects()
    ]
    entries.sort(key=lambda entry: (entry["created"], entry["key"]))
    if json:
        output.document("store-list", store=str(place.root), objects=entries)
        return
    now = time.time()
    rows = [
        (
            e["key"][:12],
            e["stage"],
            output.size(e["bytes"]),
            f"{output.seconds(int(max(now - e['created'], 0) * 1000))} ago",
        )
        for e in entries
    ]
    if rows:
        output.result(output.table(rows))
    output.say(
        f"{output.counted(len(entries), 'object')}, {output.size(sum(e['bytes'] for e in entries))}, in {place.root}"
    )


@app.command()
def gc(
    store: o.StorePath = None,
    days: Annotated[int, typer.Option("--days", help="Keep what is younger than this.", min=0)] = 30,
    all_: Annotated[bool, typer.Option("--all", help="Keep nothing.")] = False,
    json: o.Json = False,
) -> None:
    """Remove old objects, unpacked trees and what was left behind.

    Nothing is lost for good: a removed object is made again when a build needs it. Objects that the last build of a
    variant used are kept, unless --all. Old logs of steps without an object go too. Refused while a build runs.
    """
    from builder.host.layers import forget_unused_trees

    place = o.factory(store=store).store
    place.prepare()
    before = time.time() - (0 if all_ else days * 86400)
    try:
        with place.alone():
            removed = place.keys() if all_ else _old(place, before)
            for key in removed:
                place.remove(key)
            place.forget_logs(before)
    except Busy:
        raise BuilderError(f"a build is using {place.root}", hint="run this again when it has ended") from None
    forget_unused_trees(place.trees)
    if json:
        output.document("store-gc", removed=removed)
    else:
        output.say(f"removed {output.counted(len(removed), 'object')} and the unpacked trees")


def _old(place: LocalStore, before: float) -> list[str]:
    """Keys of the objects that were made before then, without those that a variant's last build used."""
    kept = place.used_last()
    return [each.record.key for each in place.objects() if each.record.key not in kept and each.record.created < before]


@app.command()
def verify(store: o.StorePath = None, json: o.Json = False) -> None:
    """Read every object and compare it with its digests.

    Exit code 1 when one differs.
    """
    place = o.factory(store=store).store
    damaged = [text for each in place.objects() for text in _damage(each)]
    if json:
        output.document("store-verify", store=str(place.root), damaged=damaged)
    if damaged:
        raise BuilderError(
            f"{output.counted(len(damaged), 'damaged object')} in {place.root}",
            detail="\n".join(damaged),
            hint="remove their directories; the next build makes them again",
        )
    output.say(f"{place.root}: every object is whole")


def _damage(each: Object) -> list[str]:
    found = []
    for name, digest in each.record.result.get("digests", {}).items():
        path = each.path / name
        try:
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            found.append(f"{path}: {error.strerror}")
            continue
        if actual != digest:
            found.append(f"{path}: its digest is {actual[:12]}..., the record says {digest[:12]}...")
    return found + ([] if found else _image_damage(each.path))


def _image_damage(place: Path) -> list[str]:
    """An image is known by its blocks: the first one that is not what the list says."""
    image, listed = place / "disk.raw", place / "blocks"
    if not listed.exists():
        return []
    expected = parse_blocks(listed.read_bytes())
    with image.open("rb") as file:
        size = image.stat().st_size
        for number, pair in enumerate(zip_longest(expected, block_digests(file.fileno(), size))):
            if pair[0] != pair[1]:
                return [f"{image}: block {number} of 512 KiB is not what it was"]
    return []
