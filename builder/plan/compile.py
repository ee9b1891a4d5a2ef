"""From a recipe and its lock to the steps of each variant. Pure: nothing is read, nothing is run."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from builder.catalog.instance_types import InstanceType, instance_type
from builder.catalog.kernels import Kernel
from builder.catalog.renderers import renderer
from builder.errors import RecipeError
from builder.formats.block_devices import ROOT_DEVICE, bundle_mapping, register_mappings
from builder.formats.fstab import fstab
from builder.lock import Lock
from builder.plan.repositories import package_sources, repository_steps
from builder.plan.step import Chain, Plan, Step, Variant, merge, step
from builder.recipe.model import MAX_TAG_VALUE, Recipe, parse_size
from builder.recipe.templates import ami_name_fault, render_string
from builder.stages.bundle.spec import BundleSpec
from builder.stages.configure.spec import BootSpec, ConfigureSpec, NetworkSpec, ServicesSpec, SshSpec, UserKeys
from builder.stages.customise.spec import CustomiseSpec, File, Script, User
from builder.stages.image.spec import ImageSpec
from builder.stages.kernel.spec import KernelSpec
from builder.stages.packages.spec import PackagesSpec
from builder.stages.register.spec import RegisterSpec
from builder.stages.upload.spec import UploadSpec
from builder.stages.values import LockedPackage
from builder.stages.verify.spec import VerifySpec

_Value = TypeVar("_Value")

IDENTITY = uuid.UUID("6f1c7a0e-6d5b-4f0b-9d3c-2f3f0a6f5d11")  # The name space of our file systems' UUIDs.


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What loading read for the recipe, besides its tables."""

    files: Mapping[str, tuple[File, ...]]
    """By architecture: a template may ask for it."""
    scripts: tuple[tuple[str, Script], ...] = ()
    """("packages" or "kernel", script)"""
    paths: Mapping[str, str]
    """SHA-256 to path, of files and GPG keys."""
    keys: Mapping[str, str]
    """GPG key file, as the recipe names it, to SHA-256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The region and the account that the AMIs are for."""

    region: str
    partition: str
    endpoint: str
    account: str
    user_certificate: str
    user_certificate_path: str
    ec2_certificate: str
    ec2_certificate_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What decides outputs, and is neither in the recipe nor in its lock: our key, and files that stages ship."""

    signing_key: str = ""
    """Of a repacked distribution's repository, as is `definition`; see plan.repositories."""
    definition: str = ""
    configure: str = ""
    """Digest of the stage's data files, as is `image`; see stages.data."""
    image: str = ""


def variants(
    recipe: Recipe,
    target: Target,
    *,
    architectures: tuple[str, ...] = (),
    instance_types: tuple[str, ...] = (),
    virtualization: tuple[str, ...] = (),
) -> tuple[Variant, ...]:
    """The recipe's variants, or those that the command line picked. RecipeError for a combination EC2 does not have."""
    found = []
    for virtual in virtualization or recipe.virtualization:
        if virtual != "pv":
            raise RecipeError(f"virtualization {virtual}: not built yet", hint='write virtualization = ["pv"]')
        for architecture in architectures or recipe.architectures:
            for name in instance_types or recipe.instance_types:
                _check(instance_type(name), architecture, virtual)
                found.append(
                    Variant(
                        recipe=recipe.name,
                        architecture=architecture,
                        virtualization=virtual,
                        instance_type=name,
                        kernel=recipe.kernel,
                        region=target.region,
                        account=target.account,
                    )
                )
    return tuple(found)


def _check(kind: InstanceType, architecture: str, virtual: str) -> None:
    if architecture not in kind.architectures:
        raise RecipeError(f"{kind.name} cannot run {architecture}", hint=f"it runs {', '.join(kind.architectures)}")
    if "instance-store" not in kind.root_devices:
        raise RecipeError(
            f"{kind.name} boots from EBS only, and what is built here is for the instance store",
            hint="choose a type with an instance store root, such as m1.small",
        )
    if virtual not in kind.virtualization:
        raise RecipeError(
            f"{kind.name} cannot run {virtual} images", hint=f"it runs {', '.join(kind.virtualization)} images"
        )


def compile_plan(
    recipe: Recipe,
    kernel: Kernel,
    lock: Lock,
    sources: Sources,
    made: Made,
    target: Target,
    wanted: tuple[Variant, ...],
) -> Plan:
    """The merged plan of the wanted variants."""
    return merge(
        Chain(
            variant=variant,
            steps=tuple(_chain(recipe, kernel, lock, sources, made, target, variant)),
            warnings=tuple(_warnings(kernel, lock, variant)),
        )
        for variant in wanted
    )


def _warnings(kernel: Kernel, lock: Lock, variant: Variant) -> Iterator[str]:
    yield from lock.architectures[variant.architecture].notes
    why = _of(kernel.pv.unsupported, variant.architecture)
    if why:
        yield f"{variant.name}: the AMI will not boot: {why}"


def _chain(
    recipe: Recipe, kernel: Kernel, lock: Lock, sources: Sources, made: Made, target: Target, variant: Variant
) -> Iterator[Step]:
    locked = lock.architectures[variant.architecture]
    kind = instance_type(variant.instance_type)
    epoch = lock.source_epoch
    repositories = package_sources(recipe, sources.keys)
    gpg_keys = tuple((digest, sources.paths[digest]) for digest in sources.keys.values())

    made_here = repository_steps(
        recipe, variant.architecture, locked.sources, signing_key=made.signing_key, definition=made.definition
    )
    yield from (each for _, each in made_here)

    packages = step(
        "packages",
        PackagesSpec(
            architecture=variant.architecture,
            release=recipe.distribution.release,
            repositories=repositories,
            packages=locked.packages,
            source_epoch=epoch,
        ),
        inputs=made_here,
        sources=gpg_keys,
    )
    yield packages
    layers: list[tuple[str, Step]] = [("packages", packages)]

    for each in _customise(recipe, sources, variant.architecture, epoch, layers, "packages"):
        yield each
        layers.append((each.label, each))

    kernel_step = step(
        "kernel",
        KernelSpec(
            architecture=variant.architecture,
            release=recipe.distribution.release,
            repositories=repositories,
            packages=locked.kernel_packages,
            initrd=kernel.initrd,
            modules=kernel.modules,
            payloads=kernel.pv.payloads,
            source_epoch=epoch,
        ),
        inputs=(*made_here, *layers),
        sources=gpg_keys,
    )
    yield kernel_step
    layers.append(("kernel", kernel_step))

    for each in _customise(recipe, sources, variant.architecture, epoch, layers, "kernel"):
        yield each
        layers.append((each.label, each))

    disks = tuple(kind.disks)
    configured = _configure_spec(recipe, kernel, locked.packages, kind, epoch, made.configure)
    configure = step("configure", configured, inputs=layers)
    yield configure
    layers.append(("configure", configure))

    # The same for every build of a variant: so that two builds differ in the blocks that really changed.
    identity = uuid.uuid5(IDENTITY, variant.name)
    image = step(
        "image",
        ImageSpec(
            size=0 if recipe.image.size == "auto" else parse_size(recipe.image.size),
            free=parse_size(recipe.image.free),
            filesystem=recipe.image.filesystem,
            features=kernel.features(recipe.image.filesystem),
            inode_size=kernel.filesystem.inode_size,
            label=recipe.image.label,
            uuid=str(identity),
            hash_seed=str(uuid.uuid5(IDENTITY, f"hash seed of {identity}")),
            source_epoch=epoch,
            definition=made.image,
        ),
        inputs=layers,
    )
    yield image

    verify = step(
        "verify",
        VerifySpec(
            architecture=variant.architecture,
            fstab=configured.fstab,
            menu=kernel.pv.menu,
            grub_root=kernel.pv.grub_root,
            root_device=configured.boot.root_device,
            modules=kernel.modules,
            payloads=kernel.pv.payloads,
            renderer=configured.network.renderer,
            metadata_key=recipe.ssh.metadata_key,
            filesystem=recipe.image.filesystem,
            features=kernel.features(recipe.image.filesystem),
            pv_note=_of(kernel.pv.unsupported, variant.architecture) or "",
        ),
        inputs=(("image", image),),
    )
    yield verify

    aki = kernel.aki_in(variant.region, variant.architecture)
    ephemeral = tuple((disk.virtual, disk.device) for disk in disks if disk.device)
    bundle = step(
        "bundle",
        BundleSpec(
            name=variant.name,
            account=target.account,
            architecture=variant.architecture,
            kernel_id=aki,
            ramdisk_id="",
            block_device_mapping=bundle_mapping(ephemeral),
            user_certificate=target.user_certificate,
            ec2_certificate=target.ec2_certificate,
        ),
        inputs=(("image", image),),
        sources=(
            (target.user_certificate, target.user_certificate_path),
            (target.ec2_certificate, target.ec2_certificate_path),
        ),
    )
    yield bundle

    upload = step(
        "upload",
        UploadSpec(
            partition=target.partition,
            account=target.account,
            region=target.region,
            endpoint=target.endpoint,
            bucket=recipe.bundle.bucket or f"ami-factory-{target.account}-{target.region}",
            prefix=recipe.bundle.prefix or recipe.name,
            acl="aws-exec-read",
        ),
        inputs=(("bundle", bundle),),
    )
    yield upload
    yield step(
        "register",
        _register_spec(recipe, target, variant, aki, ephemeral, upload.key),
        inputs=(("upload", upload),),
        after=(verify,),
    )


def _customise(
    recipe: Recipe, sources: Sources, architecture: str, epoch: int, layers: list[tuple[str, Step]], after: str
) -> Iterator[Step]:
    """The author's layers: users and files as one step (before the kernel), then a step for each script."""
    below = list(layers)
    files = sources.files.get(architecture, ())
    users = tuple(
        User(name=u.name, uid=u.uid, groups=u.groups, home=u.home or "", shell=u.shell, sudo=u.sudo)
        for u in recipe.users
    )
    if after == "packages" and (users or files):
        each = step(
            "customise",
            CustomiseSpec(source_epoch=epoch, users=users, files=files),
            label="customise.files",
            inputs=below,
            sources=tuple((f.sha256, sources.paths[f.sha256]) for f in files if f.text is None),
        )
        yield each
        below.append((each.label, each))
    for number, (when, script) in enumerate(sources.scripts, start=1):
        if when == after:
            each = step(
                "customise",
                CustomiseSpec(source_epoch=epoch, script=script),
                label=f"customise.{number}",
                inputs=below,
            )
            yield each
            below.append((each.label, each))


def _configure_spec(
    recipe: Recipe,
    kernel: Kernel,
    packages: tuple[LockedPackage, ...],
    kind: InstanceType,
    epoch: int,
    definition: str,
) -> ConfigureSpec:
    naming = kernel.pv.disks
    root = f"/dev/{naming}a1"
    return ConfigureSpec(
        network=NetworkSpec(
            renderer=renderer(((p.name, p.version) for p in packages), recipe.network.renderer),
            hostname="" if recipe.network.hostname == "metadata" else recipe.network.hostname,
        ),
        ssh=SshSpec(authorized_keys=recipe.ssh.authorized_keys, metadata_key=recipe.ssh.metadata_key),
        users=tuple(
            UserKeys(name=u.name, authorized_keys=u.authorized_keys) for u in recipe.users if u.authorized_keys
        ),
        services=ServicesSpec(
            enable=recipe.services.enable, disable=recipe.services.disable, mask=recipe.services.mask
        ),
        fstab=fstab(kind.disks, naming=naming, filesystem=recipe.image.filesystem),
        boot=BootSpec(
            root_device=root,
            command_line=kernel.pv.command_line,  # The stage puts root= before it.
            menu=kernel.pv.menu,
            grub_root=kernel.pv.grub_root,
            title=f"{recipe.name} {recipe.version}",
        ),
        timezone=recipe.timezone,
        locale=recipe.locale,
        source_epoch=epoch,
        definition=definition,
    )


def _of(table: Mapping[Any, _Value], architecture: str) -> _Value | None:
    """An entry of a table whose keys pydantic narrowed to the known architectures."""
    return table.get(architecture)


def _register_spec(
    recipe: Recipe,
    target: Target,
    variant: Variant,
    aki: str,
    ephemeral: tuple[tuple[str, str], ...],
    upload_key: str,
) -> RegisterSpec:
    words = {
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
    name = render_string(recipe.register_.name, words, "register.name")
    if fault := ami_name_fault(name):
        raise RecipeError(f"register.name: {fault}")
    tags = {key: render_string(value, words, f"register.tags.{key}") for key, value in recipe.register_.tags.items()}
    for key, value in tags.items():
        if len(value) > MAX_TAG_VALUE:
            raise RecipeError(
                f"register.tags.{key}: a tag's value has up to {MAX_TAG_VALUE} characters, not {len(value)}"
            )
    return RegisterSpec(
        partition=target.partition,
        account=target.account,
        region=target.region,
        endpoint=target.endpoint,
        name=name,
        description=render_string(recipe.register_.description, words, "register.description")[:255],
        architecture=variant.architecture,
        virtualization="paravirtual",
        kernel_id=aki,
        ramdisk_id="",
        root_device_name=ROOT_DEVICE,
        block_device_mappings=register_mappings(ephemeral),
        tags=tuple(
            sorted(
                {
                    **tags,
                    "ami-factory:recipe": f"{recipe.name} {recipe.version}",
                    "ami-factory:instance-type": variant.instance_type,
                }.items()
            )
        ),
    )
