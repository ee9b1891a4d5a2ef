"""From the steps that a build will run to the questions that are worth asking before. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builder.catalog import rights
from builder.catalog.regions import LOCAL_REGIONS
from builder.formats.block_devices import PARTITIONED_ROOT_DEVICE
from builder.plan.step import Plan, Step
from builder.preflight.question import (
    Allowed,
    BlocksReached,
    BucketFit,
    DryRun,
    EncryptedAnyway,
    KernelThere,
    KeyUsable,
    Limit,
    NameFree,
    PairFits,
    Place,
    Question,
    RegionOpen,
    TypeRuns,
    WhoAsks,
)

IMPORT_BUCKET = "ami-factory-{account}-{region}"
"""Where the snapshot stage puts an image for ImportSnapshot."""
_KEY_TAG = "ami-factory:key"
_SOME_SNAPSHOT = "snap-0123456789abcdef0"
_SOME_IMAGE = "ami-0123456789abcdef0"


def place_of(steps: Sequence[Step]) -> Place | None:
    """Where the remote steps among these are to be done; None when there are none."""
    spec = next((each.spec for each in steps if each.remote), None)
    if spec is None:
        return None
    return Place(
        region=spec["region"],
        partition=spec["partition"],
        account=spec["account"],
        aws=spec["endpoint"] == "aws" or spec["region"] in LOCAL_REGIONS,
    )


def questions(
    plan: Plan, steps: Sequence[Step], *, pair: tuple[str, str], sharing: bool = False
) -> tuple[Question, ...]:
    """Each question once. `steps` are those that are to run, or all of the plan's; none that is remote, no question.

    `pair`: paths of the certificate and the private key for bundles. `sharing`: ask also about what follows a build,
    copies and permissions.
    """
    remote, place = [each for each in steps if each.remote], place_of(steps)
    if place is None:
        return ()
    found: list[Question] = [
        WhoAsks(account=place.account, strict=place.aws, key="bundle.account"),
        RegionOpen(region=place.region),
    ]
    for each in remote:
        found += {"upload": _upload, "snapshot": _snapshot, "register": _register}[each.stage](each, place, plan)
    if any(each.stage == "bundle" for each in steps):
        found.append(PairFits(certificate=pair[0], private_key=pair[1], key="bundle.private_key"))
    found += _limits([each.stage for each in remote])
    if sharing:
        found += _sharing(place, any(each.stage == "snapshot" for each in remote))
    return tuple(each for number, each in enumerate(found) if each not in found[:number])


def _upload(step: Step, place: Place, plan: Plan) -> Iterator[Question]:
    del plan
    spec = step.spec
    yield BucketFit(
        bucket=spec["bucket"],
        account=spec["account"],
        region=spec["region"],
        prefix=spec["prefix"],
        acl=spec["acl"],
        key="bundle.bucket",
    )
    yield _allowed("bundle", "bucket", place, "storing bundles", bucket=spec["bucket"])
    yield _allowed("bundle", "object", place, "storing bundles", bucket=spec["bucket"])


def _allowed(use: str, on: str, place: Place, needed: str, *, bucket: str = "") -> Allowed:
    """About one resource, which stands for all of its kind."""
    some = {
        "bucket": f"arn:{place.partition}:s3:::{bucket}",
        "object": f"arn:{place.partition}:s3:::{bucket}/any",
        "snapshot": f"arn:{place.partition}:ec2:{place.region}::snapshot/{_SOME_SNAPSHOT}",
        "": "*",
    }[on]
    return Allowed(actions=rights.actions(use, on), resource=some, needed=needed)


def _snapshot(step: Step, place: Place, plan: Plan) -> Iterator[Question]:
    del plan
    spec = step.spec
    yield BlocksReached()
    yield _allowed("snapshot", "snapshot", place, "making snapshots block by block")
    yield from _fallback(IMPORT_BUCKET.format(account=place.account, region=place.region), place)
    if spec["encrypted"]:
        yield KeyUsable(arn=spec["kms_key"], region=place.region, key="volume.kms_key")
        if spec["kms_key"]:
            actions = tuple(each for each in rights.ENCRYPTING if "*" not in each)
            yield Allowed(
                actions=actions, resource=spec["kms_key"], needed="encrypting snapshots", key="volume.kms_key"
            )
    else:
        yield EncryptedAnyway(key="volume.encrypted")


def _fallback(bucket: str, place: Place) -> Iterator[Question]:
    """Of the way by S3."""
    yield BucketFit(
        bucket=bucket, account=place.account, region=place.region, prefix="snapshots", acl="", fallback=True
    )
    yield DryRun(
        operation="ImportSnapshot",
        request={"DiskContainer": {"Format": "RAW", "UserBucket": {"S3Bucket": bucket, "S3Key": "snapshots/any.raw"}}},
        needed="making a snapshot by way of S3",
        fallback=True,
    )


def _register(step: Step, place: Place, plan: Plan) -> Iterator[Question]:
    spec = step.spec
    yield DryRun(operation="RegisterImage", request=_registering(step, plan), needed="registering the AMI")
    yield NameFree(name=spec["name"], step=step.key, key="register.name")
    for image_id in filter(None, (spec["kernel_id"], spec["ramdisk_id"])):
        partitioned = spec["root_device_name"] == PARTITIONED_ROOT_DEVICE
        yield KernelThere(image_id=image_id, architecture=spec["architecture"], partitioned=partitioned, key="kernel")
    for each in plan.variants:
        if each.name in step.variants:
            yield TypeRuns(
                instance_type=each.instance_type,
                architecture=spec["architecture"],
                virtualization=spec["virtualization"],
                root_device="ebs" if spec.get("volume") else "instance-store",
                boot_mode=spec.get("boot_mode", ""),
                ena=spec.get("ena", False),
                tpm=bool(spec.get("tpm")),
                key="instance_types",
            )


def _registering(step: Step, plan: Plan) -> dict[str, Any]:
    """The RegisterImage call as the stage will make it, but for what nobody knows yet: the snapshot, the manifest."""
    spec = step.spec
    tags = {**dict(spec["tags"]), "Name": spec["name"], _KEY_TAG: step.key}
    asked: dict[str, Any] = {
        "Name": spec["name"],
        "Architecture": spec["architecture"],
        "VirtualizationType": spec["virtualization"],
        "RootDeviceName": spec["root_device_name"],
        "TagSpecifications": [
            {"ResourceType": "image", "Tags": [{"Key": name, "Value": tags[name]} for name in sorted(tags)]}
        ],
    }
    if spec.get("volume"):
        root = {"VolumeType": spec["volume"].get("type", "gp3"), "VolumeSize": spec["volume"].get("size") or 1}
        return asked | {"BlockDeviceMappings": [{"DeviceName": spec["root_device_name"], "Ebs": root}]}
    upload = next(plan.by_key[key].spec for name, key in step.inputs if name == "upload")
    return asked | {"ImageLocation": f"{upload['bucket']}/{upload['prefix']}/any.manifest.xml"}


def _limits(stages: Sequence[str]) -> Iterator[Limit]:
    """Codes: Service Quotas' own ("Amazon EC2 endpoints and quotas", "Amazon EBS endpoints and quotas")."""
    if "register" in stages:
        yield Limit(service="ec2", code="L-B665C33B", what="AMIs", more=stages.count("register"))
    if "snapshot" in stages:
        yield Limit(service="ebs", code="L-309BACF6", what="snapshots", more=stages.count("snapshot"))


def _sharing(place: Place, ebs: bool) -> Iterator[Question]:
    """Of the verbs that come after a build. Nothing of it stops one."""
    everybody: Mapping[str, Any] = {"LaunchPermission": {"Add": [{"Group": "all"}]}}
    source = {"SourceRegion": place.region, "SourceImageId": _SOME_IMAGE, "Name": "any"}
    yield Limit(service="ec2", code="L-0E3CBAB9", what="public AMIs", more=0)
    yield DryRun(operation="CopyImage", request=source, needed="copying AMIs to other regions", later=True)
    yield DryRun(
        operation="ModifyImageAttribute",
        request={"ImageId": _SOME_IMAGE, **everybody},
        needed="sharing AMIs",
        later=True,
    )
    if ebs:
        yield Limit(
            service="ebs",
            code="Concurrent snapshot copies per destination Region",
            what="copies of snapshots at a time",
            more=0,
        )
        yield DryRun(
            operation="ModifySnapshotAttribute",
            request={
                "SnapshotId": _SOME_SNAPSHOT,
                "Attribute": "createVolumePermission",
                "OperationType": "add",
                "UserIds": [place.account],
            },
            needed="sharing the snapshots of AMIs",
            later=True,
        )
