"""What the stages are asked for that put an image into a region: a spec from a request. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from builder.catalog.dates import parse_days
from builder.catalog.regions import region
from builder.errors import RecipeError
from builder.formats.block_devices import EBS_ROOT_DEVICE, bundle_mapping, register_mappings, root_device
from builder.plan.request import Request
from builder.plan.step import Step
from builder.recipe.aws import Publish
from builder.recipe.templates import ami_name_fault, parameter_name_fault, render_string
from builder.recipe.words import GIB, MAX_TAG_VALUE, parse_size
from builder.stages.bundle.spec import BundleSpec
from builder.stages.publish.spec import Audience, Destination, PublishSpec
from builder.stages.register import rules
from builder.stages.register.spec import RegisterSpec, RootVolume
from builder.stages.snapshot.spec import SnapshotSpec
from builder.stages.upload.spec import UploadSpec


def bundle_spec(request: Request) -> BundleSpec:
    return BundleSpec(
        name=request.variant.name,
        account=request.target.account,
        architecture=request.variant.architecture,
        kernel_id=request.aki,
        ramdisk_id="",
        block_device_mapping=bundle_mapping(request.disks, partitioned=request.partitioned),
        compression=request.recipe.bundle.compression,
        user_certificate=request.target.user_certificate,
        ec2_certificate=request.target.ec2_certificate,
    )


def upload_spec(request: Request) -> UploadSpec:
    target, bundle = request.target, request.recipe.bundle
    return UploadSpec(
        partition=target.partition,
        account=target.account,
        region=target.region,
        endpoint=target.endpoint,
        bucket=bundle.bucket or f"ami-factory-{target.account}-{target.region}",
        prefix=bundle.prefix or request.recipe.name,
        acl="aws-exec-read",
    )


def snapshot_spec(request: Request) -> SnapshotSpec:
    target, volume = request.target, request.recipe.volume
    recipe = request.recipe
    return SnapshotSpec(
        partition=target.partition,
        account=target.account,
        region=target.region,
        endpoint=target.endpoint,
        description=f"{recipe.name} {recipe.version}: {request.variant.name}"[:255],
        encrypted=volume.encrypted,
        kms_key=volume.kms_key or "",
        lineage=request.variant.name,
        tags=(("Name", request.variant.name), ("ami-factory:recipe", f"{recipe.name} {recipe.version}")),
    )


def register_spec(request: Request, upload_key: str) -> RegisterSpec:
    """Of a bundle. `upload_key` makes the name unique to its content. RecipeError for what EC2 refuses."""
    spec = RegisterSpec(
        **_registered(request, upload_key),
        virtualization="paravirtual",
        kernel_id=request.aki,
        ramdisk_id="",
        root_device_name=root_device(partitioned=request.partitioned),
        block_device_mappings=register_mappings(request.disks),
    )
    rules.refuse(spec)
    return spec


def register_ebs_spec(request: Request, snapshot_key: str) -> RegisterSpec:
    """Of a snapshot. `snapshot_key` makes the name unique to its content. RecipeError for what EC2 refuses."""
    register, volume = request.recipe.register_, request.recipe.volume
    spec = RegisterSpec(
        **_registered(request, snapshot_key),
        virtualization="hvm",
        kernel_id="",
        ramdisk_id="",
        root_device_name=EBS_ROOT_DEVICE,
        block_device_mappings=register_mappings(request.disks),  # NVMe disks are there unasked, and have no names
        volume=RootVolume(
            type=volume.type,
            size=0 if volume.size == "auto" else parse_size(volume.size) // GIB,
            iops=volume.iops or 0,
            throughput=volume.throughput or 0,
            delete_on_termination=volume.delete_on_termination,
        ),
        ena=register.ena,
        sriov="simple" if register.sriov else "",
        boot_mode=request.boot_mode,
        imds="v2.0" if register.imds == "required" else "",
        tpm="v2.0" if register.tpm else "",
        uefi_data=request.sources.uefi_data if request.boot_mode == "uefi" else "",  # 32 bits have BIOS alone
        billing_products=register.billing_products,
    )
    rules.refuse(spec)
    return spec


def publish_spec(request: Request, key: str) -> PublishSpec:
    """Where the AMI goes; only its own region where the recipe says nothing. `key` as for `register_spec`.

    RecipeError for a parameter's name that SSM refuses.
    """
    target, asked = request.target, request.recipe.publish or Publish()
    names = dict.fromkeys((target.region, *asked.regions, *asked.best_effort))
    return PublishSpec(
        partition=target.partition,
        account=target.account,
        region=target.region,
        endpoint=target.endpoint,
        destinations=tuple(_destination(request, asked, key, each) for each in names),
        audience=Audience(
            accounts=asked.accounts, organizations=asked.organizations, units=asked.units, public=asked.public
        ),
        deprecate_on=asked.deprecate_on or "",
        deprecate_days=parse_days(asked.deprecate_after) if asked.deprecate_after else 0,
        protection="" if asked.protect == "no" else asked.protect,
        promote=asked.promote == "build",
    )


def _destination(request: Request, asked: Publish, key: str, name: str) -> Destination:
    region(name)  # RecipeError for what is none
    words = {**_words(request, key), "region": name}
    home = name == request.target.region
    return Destination(
        region=name,
        required=home or name in asked.regions,
        kms_key="" if home else asked.kms_keys.get(name, ""),
        parameters=_parameters(asked.parameters, words, "publish.parameters"),
        latest=_parameters(asked.latest, words, "publish.latest"),
    )


def _parameters(templates: tuple[str, ...], words: Mapping[str, str], where: str) -> tuple[str, ...]:
    names = tuple(render_string(each, words, where) for each in templates)
    for name in names:
        if fault := parameter_name_fault(name):
            raise RecipeError(f"{where}: {fault}")
    return names


def refuse_shared_names(steps: Iterable[Step]) -> None:
    """RecipeError where two AMIs of one plan would write the same SSM parameter."""
    seen: set[tuple[str, str]] = set()
    for each in (destination for one in steps if one.stage == "publish" for destination in one.spec["destinations"]):
        for name in (*each["parameters"], *each["latest"]):
            if (each["region"], name) in seen:
                raise RecipeError(
                    f"publish: two AMIs of this recipe would write the SSM parameter {name}",
                    hint="name them apart: with {{ architecture }}, {{ virtualization }} or {{ instance_type }}",
                )
            seen.add((each["region"], name))


def _registered(request: Request, key: str) -> dict[str, Any]:
    """What both kinds of AMI are registered with. RecipeError for a name or tag that EC2 refuses."""
    target, register = request.target, request.recipe.register_
    words = _words(request, key)
    name = render_string(register.name, words, "register.name")
    if fault := ami_name_fault(name):
        raise RecipeError(f"register.name: {fault}")
    return {
        "partition": target.partition,
        "account": target.account,
        "region": target.region,
        "endpoint": target.endpoint,
        "name": name,
        "description": render_string(register.description, words, "register.description")[:255],
        "architecture": request.variant.architecture,
        "tags": tuple(sorted(_tags(request, words).items())),
    }


def _words(request: Request, upload_key: str) -> dict[str, str]:
    """What the templates of `register` may name: recipe.templates.STRING_VARIABLES."""
    recipe, variant = request.recipe, request.variant
    return {
        "name": recipe.name,
        "version": recipe.version,
        "description": recipe.description,
        "architecture": variant.architecture,
        "virtualization": variant.virtualization,
        "instance_type": variant.instance_type,
        "kernel": variant.kernel,
        "region": variant.region,
        "account": variant.account,
        "key12": upload_key[:12],
    }


def _tags(request: Request, words: Mapping[str, str]) -> dict[str, str]:
    given = request.recipe.register_.tags
    tags = {key: render_string(value, words, f"register.tags.{key}") for key, value in given.items()}
    for key, value in tags.items():
        if len(value) > MAX_TAG_VALUE:
            raise RecipeError(
                f"register.tags.{key}: a tag's value has up to {MAX_TAG_VALUE} characters, not {len(value)}"
            )
    return {
        **tags,
        "ami-factory:recipe": f"{request.recipe.name} {request.recipe.version}",
        "ami-factory:instance-type": request.variant.instance_type,
    }
