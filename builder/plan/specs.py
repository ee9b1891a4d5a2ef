"""What each stage is asked for: a spec from a recipe, its lock and one variant. Pure."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from builder.catalog.instance_types import Disk, instance_type
from builder.catalog.kernels import Kernel
from builder.catalog.renderers import renderer
from builder.errors import RecipeError
from builder.formats.block_devices import ROOT_DEVICE, bundle_mapping, register_mappings
from builder.formats.fstab import Volume, fstab
from builder.lock import ArchitectureLock, Lock
from builder.plan.repositories import package_sources
from builder.plan.step import Variant
from builder.recipe.model import MAX_TAG_VALUE, Recipe, parse_size
from builder.recipe.templates import ami_name_fault, render_string
from builder.stages.boot.spec import ProofSpec
from builder.stages.bundle.spec import BundleSpec
from builder.stages.configure.spec import (
    BootSpec,
    ConfigureSpec,
    HvmSpec,
    NetworkSpec,
    ServicesSpec,
    SshSpec,
    UserKeys,
)
from builder.stages.customise.spec import CustomiseSpec, File, Script, User
from builder.stages.image.spec import DiskSpec, ImageSpec
from builder.stages.kernel.spec import KernelSpec
from builder.stages.packages.spec import PackagesSpec
from builder.stages.register.spec import RegisterSpec
from builder.stages.upload.spec import UploadSpec
from builder.stages.verify.spec import DiskWanted, VerifySpec

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
    """Digest of the stage's data files, as are `configure_hvm` and `image`; see stages.data."""
    configure_hvm: str = ""
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One variant of a locked recipe, with all that its specs are made from."""

    recipe: Recipe
    kernel: Kernel
    lock: Lock
    sources: Sources
    made: Made
    target: Target
    variant: Variant

    @property
    def locked(self) -> ArchitectureLock:
        return self.lock.architectures[self.variant.architecture]

    @property
    def epoch(self) -> int:
        """The one clock of the build: the newest build time among this architecture's packages."""
        return self.locked.source_epoch

    @property
    def disks(self) -> tuple[tuple[str, str], ...]:
        """(virtual name, classic device) of the instance type's disks that have a stable name."""
        return tuple((disk.virtual, disk.device) for disk in self.instance_disks if disk.device)

    @property
    def instance_disks(self) -> tuple[Disk, ...]:
        return instance_type(self.variant.instance_type).disks

    @property
    def identity(self) -> uuid.UUID:
        """Of the root file system: the same for every build of a variant, so that two builds differ in the blocks that
        really changed."""
        return uuid.uuid5(IDENTITY, self.variant.name)

    @property
    def esp(self) -> str:
        """Serial number of the EFI system partition's file system; "" where EC2 knows only BIOS, 32 bits."""
        architecture = self.variant.architecture
        return uuid.uuid5(self.identity, "ESP").hex[:8].upper() if architecture == "x86_64" else ""

    @property
    def boot_mode(self) -> str:
        """EC2's word. It has UEFI for 64 bits only (EC2 User Guide, "Boot modes")."""
        wanted = self.recipe.register_.boot_mode
        return wanted if self.variant.architecture == "x86_64" else "legacy-bios"

    @property
    def hvm(self) -> bool:
        return self.variant.virtualization == "hvm"

    @property
    def modules(self) -> tuple[str, ...]:
        """What the initrd must hold."""
        return self.kernel.hvm.modules if self.hvm else self.kernel.modules

    @property
    def aki(self) -> str:
        return self.kernel.aki_in(self.variant.region, self.variant.architecture)

    @property
    def unsupported(self) -> str:
        """Why the kernel will not boot as this variant's kind of guest, or ""."""
        return "" if self.hvm else _of(self.kernel.pv.unsupported, self.variant.architecture) or ""


def packages_spec(request: Request) -> PackagesSpec:
    return PackagesSpec(
        architecture=request.variant.architecture,
        release=request.recipe.distribution.release,
        repositories=package_sources(request.recipe, request.sources.keys),
        packages=request.locked.packages,
        source_epoch=request.epoch,
    )


def files_spec(request: Request) -> CustomiseSpec | None:
    """The author's users and files; None when there are none."""
    files = request.sources.files.get(request.variant.architecture, ())
    users = tuple(
        User(name=u.name, uid=u.uid, groups=u.groups, home=u.home or "", shell=u.shell, sudo=u.sudo)
        for u in request.recipe.users
    )
    return CustomiseSpec(source_epoch=request.epoch, users=users, files=files) if users or files else None


def script_spec(request: Request, script: Script) -> CustomiseSpec:
    return CustomiseSpec(source_epoch=request.epoch, script=script)


def kernel_spec(request: Request) -> KernelSpec:
    return KernelSpec(
        architecture=request.variant.architecture,
        release=request.recipe.distribution.release,
        repositories=package_sources(request.recipe, request.sources.keys),
        packages=request.locked.kernel_packages + (request.locked.hvm_packages if request.hvm else ()),
        initrd=request.kernel.initrd,
        modules=request.modules,
        payloads=() if request.hvm else request.kernel.pv.payloads,
        source_epoch=request.epoch,
    )


def configure_spec(request: Request) -> ConfigureSpec:
    recipe = request.recipe
    installed = ((each.name, each.version) for each in request.locked.packages)
    return ConfigureSpec(
        network=NetworkSpec(
            renderer=renderer(installed, recipe.network.renderer),
            hostname="" if recipe.network.hostname == "metadata" else recipe.network.hostname,
        ),
        ssh=SshSpec(authorized_keys=recipe.ssh.authorized_keys, metadata_key=recipe.ssh.metadata_key),
        users=tuple(
            UserKeys(name=u.name, authorized_keys=u.authorized_keys) for u in recipe.users if u.authorized_keys
        ),
        services=ServicesSpec(
            enable=recipe.services.enable, disable=recipe.services.disable, mask=recipe.services.mask
        ),
        fstab=_fstab(request),
        boot=_boot(request),
        timezone=recipe.timezone,
        locale=recipe.locale,
        source_epoch=request.epoch,
        definition=request.made.configure,
        hvm=_hvm(request) if request.hvm else None,
    )


def _fstab(request: Request) -> str:
    disks, filesystem = request.instance_disks, request.recipe.image.filesystem
    if not request.hvm:
        return fstab(disks, naming=request.kernel.pv.disks, filesystem=filesystem)
    # Xen's disks of HVM guests are xvd to every kernel that has NVMe.
    return fstab(disks, naming="xvd", filesystem=filesystem, volume=volume(request))


def volume(request: Request) -> Volume:
    """What an HVM guest boots from."""
    serial = request.esp
    return Volume(root=str(request.identity), esp=f"{serial[:4]}-{serial[4:]}" if serial else "")


def _boot(request: Request) -> BootSpec:
    title = f"{request.recipe.name} {request.recipe.version}"
    pv, hvm = request.kernel.pv, request.kernel.hvm
    if request.hvm:
        return BootSpec(
            root_device=f"UUID={request.identity}",
            command_line=hvm.command_line,
            menu=hvm.menu,
            grub_root="",
            title=title,
            loader="grub2",
        )
    return BootSpec(
        root_device=f"/dev/{pv.disks}a1",
        command_line=pv.command_line,  # The stage puts root= before it.
        menu=pv.menu,
        grub_root=pv.grub_root,
        title=title,
    )


def _hvm(request: Request) -> HvmSpec:
    ephemeral = any(not disk.device for disk in request.instance_disks)
    return HvmSpec(ephemeral=ephemeral, definition=request.made.configure_hvm)


def image_spec(request: Request) -> ImageSpec:
    image, virtualization = request.recipe.image, request.variant.virtualization
    identity = request.identity
    return ImageSpec(
        size=0 if image.size == "auto" else parse_size(image.size),
        free=parse_size(image.free),
        filesystem=image.filesystem,
        features=request.kernel.features(image.filesystem, virtualization),
        inode_size=request.kernel.filesystem_for(virtualization).inode_size,
        label=image.label,
        uuid=str(identity),
        hash_seed=str(uuid.uuid5(IDENTITY, f"hash seed of {identity}")),
        source_epoch=request.epoch,
        definition=request.made.image,
        disk=_disk(request) if request.hvm else None,
    )


def _disk(request: Request) -> DiskSpec:
    return DiskSpec(
        identity=str(uuid.uuid5(request.identity, "disk")),
        architecture=request.variant.architecture,
        mkimage=request.kernel.hvm.mkimage,
        esp=request.esp,
    )


def verify_spec(request: Request, configured: ConfigureSpec) -> VerifySpec:
    """What must hold in the image that `configured` is part of."""
    filesystem = request.recipe.image.filesystem
    return VerifySpec(
        architecture=request.variant.architecture,
        fstab=configured.fstab,
        menu=configured.boot.menu,
        grub_root=configured.boot.grub_root,
        root_device=configured.boot.root_device,
        modules=request.modules,
        payloads=() if request.hvm else request.kernel.pv.payloads,
        renderer=configured.network.renderer,
        metadata_key=request.recipe.ssh.metadata_key,
        filesystem=filesystem,
        features=request.kernel.features(filesystem, request.variant.virtualization),
        pv_note=request.unsupported,
        disk=DiskWanted(boot_mode=request.boot_mode, root=str(request.identity)) if request.hvm else None,
    )


def boot_spec(request: Request) -> ProofSpec | None:
    """None when the recipe wants no boot proof, or the kernel cannot boot where it would be tried."""
    level = request.recipe.boot.level
    if level == "none" or request.unsupported:
        return None
    return ProofSpec(
        level=level,
        architecture=request.variant.architecture,
        instance_type=request.variant.instance_type,
        loader=request.kernel.pv.loader,
        authorized_keys=request.recipe.ssh.authorized_keys,
        metadata_key=request.recipe.ssh.metadata_key,
    )


def bundle_spec(request: Request) -> BundleSpec:
    return BundleSpec(
        name=request.variant.name,
        account=request.target.account,
        architecture=request.variant.architecture,
        kernel_id=request.aki,
        ramdisk_id="",
        block_device_mapping=bundle_mapping(request.disks),
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


def register_spec(request: Request, upload_key: str) -> RegisterSpec:
    """`upload_key` makes the name unique to its content. RecipeError for a name or tag that EC2 refuses."""
    target, register = request.target, request.recipe.register_
    words = _words(request, upload_key)
    name = render_string(register.name, words, "register.name")
    if fault := ami_name_fault(name):
        raise RecipeError(f"register.name: {fault}")
    return RegisterSpec(
        partition=target.partition,
        account=target.account,
        region=target.region,
        endpoint=target.endpoint,
        name=name,
        description=render_string(register.description, words, "register.description")[:255],
        architecture=request.variant.architecture,
        virtualization="paravirtual",
        kernel_id=request.aki,
        ramdisk_id="",
        root_device_name=ROOT_DEVICE,
        block_device_mappings=register_mappings(request.disks),
        tags=tuple(sorted(_tags(request, words).items())),
    )


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


def _of(table: Mapping[Any, _Value], architecture: str) -> _Value | None:
    """An entry of a table whose keys pydantic narrowed to the known architectures."""
    return table.get(architecture)
