"""What is held against what should be, in every region. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from builder.catalog.dates import same_minute
from builder.cloud.amis import SOURCE_TAG, Ami, Volume
from builder.cloud.ec2 import KEY_TAG
from builder.cloud.parameters import IMAGE, Parameter
from builder.cloud.snapshots import Snapshot
from builder.images.lifetime import deprecation_of
from builder.images.sharing import Shared, grant_words, grants_of, of_snapshots
from builder.stages.publish.spec import Destination, PublishSpec
from builder.stages.register.spec import RegisterSpec, RootVolume

_VOLUME_FIELDS = ("type", "size", "iops", "throughput", "delete_on_termination")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it should be."""

    region: str
    required: bool
    resource: str
    """Id of the AMI or the snapshot, name of the parameter; "" where there is none."""
    what: str
    wanted: str
    found: str
    mended: bool = False
    """Whether publishing it again puts it right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an AMI and all of its copies should be like."""

    attributes: Mapping[str, str]
    """By the words of `attributes`; what is not in it may be anything."""
    tags: Mapping[str, str]
    encrypted: bool | None = None
    """Of the original's snapshots; None: as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one region has of an AMI."""

    image: Ami | None = None
    snapshots: tuple[Snapshot, ...] = ()
    shared: Shared | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    unreachable: str = ""
    """Why nothing is known."""


def attributes(image: Ami) -> dict[str, str]:
    """What an AMI was registered with, in words; a copy has the same."""
    found = {
        "name": image.name,
        "description": image.description,
        "architecture": image.architecture,
        "virtualization": image.virtualization,
        "root device": image.root_device,
        "boot mode": image.boot_mode,
        "imds": image.imds,
        "tpm": image.tpm,
        "sriov": image.sriov,
        "ena": _yes(image.ena),
    }
    volume = {} if image.volume is None else _volume(image.volume, _VOLUME_FIELDS)
    return {**found, **volume}


def wanted_by_recipe(spec: RegisterSpec, key: str, *, encrypted: bool | None) -> Wanted:
    """What a recipe's register step asks for. What it leaves to EC2 may be anything."""
    found = {
        "name": spec.name,
        "description": spec.description,
        "architecture": spec.architecture,
        "virtualization": spec.virtualization,
        "root device": spec.root_device_name,
        "boot mode": spec.boot_mode,
        "imds": spec.imds,
        "tpm": spec.tpm,
        "sriov": spec.sriov,
        "ena": _yes(spec.ena),
    }
    if spec.volume is not None:
        asked = [each for each in _VOLUME_FIELDS if getattr(spec.volume, each) or each == "delete_on_termination"]
        found |= _volume(spec.volume, asked)
    return Wanted(attributes=found, tags={**dict(spec.tags), "Name": spec.name, KEY_TAG: key}, encrypted=encrypted)


def wanted_as(source: Ami) -> Wanted:
    """What is asked of the copies of an AMI that no recipe is at hand for: to be as it is."""
    return Wanted(attributes=attributes(source), tags=source.tags)


def differences(wanted: Wanted, spec: PublishSpec, seen: Mapping[str, Seen]) -> tuple[Difference, ...]:
    """All that is not as it should be, region by region. A destination that is not in `seen` is passed over."""
    home = seen.get(spec.region)
    original = home.image if home else None
    found: list[Difference] = []
    for each in spec.destinations:
        if each.region in seen:
            found += _region(wanted, spec, each, seen[each.region], home, original)
    return tuple(found)


def difference_words(found: Sequence[Difference]) -> str:
    """Differences in one line: the first two, and how many more."""
    told = [f"{each.region}: {each.what} {each.resource or each.wanted}: {each.found}" for each in found[:2]]
    return "; ".join(told) + (f"; and {len(found) - 2} more" if len(found) > 2 else "")


def _region(
    wanted: Wanted, spec: PublishSpec, destination: Destination, seen: Seen, home: Seen | None, original: Ami | None
) -> Iterator[Difference]:
    base = Difference(
        region=destination.region, required=destination.required, resource="", what="", wanted="", found="", mended=True
    )
    if seen.unreachable:
        yield replace(base, what="region", wanted="answers", found=seen.unreachable)
        return
    if seen.image is None:
        yield replace(base, what="image", wanted="available", found="missing", mended=destination.region != spec.region)
        return
    image = seen.image
    base = replace(base, resource=image.id)
    if image.state != "available":
        state = f"{image.state}: {image.reason}" if image.reason else image.state
        yield replace(base, what="state", wanted="available", found=state)
    yield from _image(wanted, spec, image, base)
    yield from _lifetime(spec, image, original, base)
    yield from _sharing(spec, seen, base)
    encrypted = wanted.encrypted
    if encrypted is None and home is not None and home.snapshots:
        encrypted = home.snapshots[0].encrypted
    yield from _snapshots(destination, seen, encrypted, base)
    yield from _parameters(spec, destination, seen, base)


def _image(wanted: Wanted, spec: PublishSpec, image: Ami, base: Difference) -> Iterator[Difference]:
    has = attributes(image)
    for what, value in wanted.attributes.items():
        if has.get(what, "") != value:
            yield replace(base, what=what, wanted=value, found=has.get(what, ""), mended=False)
    tags = {**wanted.tags}
    if image.region == spec.region:
        tags.pop(SOURCE_TAG, None)
    for key, value in sorted(tags.items()):
        if image.tags.get(key) != value:
            yield replace(base, what=f"tag {key}", wanted=value, found=image.tags.get(key, "missing"))


def _lifetime(spec: PublishSpec, image: Ami, original: Ami | None, base: Difference) -> Iterator[Difference]:
    when = deprecation_of(spec, (original or image).created)
    if when and not same_minute(when, image.deprecated):
        yield replace(base, what="deprecation", wanted=when, found=image.deprecated or "none")
    how = {"on": "enabled-without-cooldown", "cooldown": "enabled-with-cooldown"}.get(spec.protection, "")
    if how and image.protection != how:
        yield replace(base, what="deregistration protection", wanted=how, found=image.protection or "none")


def _sharing(spec: PublishSpec, seen: Seen, base: Difference) -> Iterator[Difference]:
    if seen.shared is None:
        return
    grants = grants_of(spec.audience)
    of_each = [(seen.shared.image_id, grants, seen.shared.grants)]
    of_each += [(each.id, of_snapshots(grants), each.grants) for each in seen.shared.snapshots]
    for resource, asked, has in of_each:
        for grant in sorted(asked - has):
            yield replace(base, resource=resource, what="sharing", wanted=grant_words(grant), found="missing")
        for grant in sorted(has - asked) if spec.exact else ():
            yield replace(base, resource=resource, what="sharing", wanted="nobody else", found=grant_words(grant))


def _snapshots(destination: Destination, seen: Seen, encrypted: bool | None, base: Difference) -> Iterator[Difference]:
    key = destination.kms_key
    for each in seen.snapshots:
        here = replace(base, resource=each.id, mended=False)
        if each.state != "completed":
            yield replace(here, what="snapshot's state", wanted="completed", found=f"{each.state} {each.progress}")
        asked = True if key else encrypted
        if asked is not None and each.encrypted != asked:
            yield replace(here, what="encrypted", wanted=_yes(asked), found=_yes(each.encrypted))
        if key.startswith("arn:") and each.encrypted and each.kms_key != key:
            yield replace(here, what="kms key", wanted=key, found=each.kms_key)


def _parameters(spec: PublishSpec, destination: Destination, seen: Seen, base: Difference) -> Iterator[Difference]:
    for name in (*destination.parameters, *(destination.latest if spec.promote else ())):
        has = seen.parameters.get(name)
        if has is None or has.value != base.resource:
            found = has.value if has else "missing"
            yield replace(base, resource=name, what="parameter", wanted=base.resource, found=found)
        elif has.data_type != IMAGE:
            yield replace(base, resource=name, what="parameter's type", wanted=IMAGE, found=has.data_type, mended=False)


def _volume(volume: Volume | RootVolume, fields: Any) -> dict[str, str]:
    values = {each: getattr(volume, each) for each in fields}
    return {
        f"volume {name.replace('_', ' ')}": _yes(value) if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }


def _yes(value: bool) -> str:
    return "yes" if value else "no"
