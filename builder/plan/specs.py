"""What each stage is asked for, down to the image and its gates: a spec from a request. Pure."""

import uuid
from collections.abc import Iterable
from typing import Any

from builder.catalog.kernels import PARTITIONED_ROOT
from builder.catalog.renderers import renderer
from builder.errors import RecipeError
from builder.formats.fstab import Volume, fstab
from builder.lock import BaseLock
from builder.plan.repositories import deb_archives, package_sources
from builder.plan.request import IDENTITY, Request
from builder.recipe.model import Recipe
from builder.recipe.system import Modules, Timer
from builder.recipe.words import GIB, parse_size
from builder.stages.base.spec import BaseSpec
from builder.stages.boot.spec import ProofSpec
from builder.stages.configure.spec import (
    BootSpec,
    ConfigureSpec,
    HvmSpec,
    ModulesSpec,
    NetworkSpec,
    ServicesSpec,
    SshSpec,
    TimerSpec,
    UnitSpec,
    UserKeys,
)
from builder.stages.customise.spec import CustomiseSpec, Group, Link, Script, User
from builder.stages.guest.spec import GuestSpec
from builder.stages.image.spec import DiskSpec, ImageSpec
from builder.stages.kernel.spec import KernelSpec
from builder.stages.packages.spec import PackagesSpec
from builder.stages.values import Locked, LockedDeb, LockedPackage, rpm_database
from builder.stages.verify.spec import AccountKeys, DiskWanted, VerifySpec, Waiver


def packages_spec(request: Request) -> PackagesSpec:
    return PackagesSpec(
        architecture=request.variant.architecture,
        release=request.recipe.distribution.release,
        repositories=package_sources(request.recipe, request.sources.keys),
        packages=_rpms(request.locked.packages),
        source_epoch=request.epoch,
        database=rpm_database(_rpms(request.locked.packages)),
        debs=_debs(request.locked.packages),
        archives=deb_archives(request.recipe, request.sources.keys),
    )


def base_spec(base: BaseLock, architecture: str) -> BaseSpec:
    return BaseSpec(kind=base.kind, format=base.format, pin=base.pin, architecture=architecture, region=base.region)


def guest_spec(request: Request, base: BaseLock) -> GuestSpec | None:
    """What the recipe adds to an existing image; None for nothing."""
    if not base.packages:
        return None
    return GuestSpec(manager=base.manager, packages=base.packages, source_epoch=request.epoch)


def files_spec(request: Request) -> CustomiseSpec | None:
    """The author's users and files; None when there are none."""
    files = request.sources.files.get(request.variant.architecture, ())
    users = tuple(
        User(name=u.name, uid=u.uid, groups=u.groups, home=u.home or "", shell=u.shell, sudo=u.sudo)
        for u in request.recipe.users
    )
    groups = tuple(Group(name=each.name, gid=each.gid) for each in request.recipe.groups)
    links = tuple(Link(path=path, target=target) for path, target in request.sources.links)
    if not (users or groups or files or links):
        return None
    return CustomiseSpec(source_epoch=request.epoch, users=users, groups=groups, files=files, links=links)


def script_spec(request: Request, script: Script) -> CustomiseSpec:
    return CustomiseSpec(source_epoch=request.epoch, script=script)


def _rpms(packages: Iterable[Locked]) -> tuple[LockedPackage, ...]:
    return tuple(each for each in packages if isinstance(each, LockedPackage))


def _debs(packages: Iterable[Locked]) -> tuple[LockedDeb, ...]:
    return tuple(each for each in packages if isinstance(each, LockedDeb))


def kernel_spec(request: Request) -> KernelSpec:
    packages = request.locked.kernel_packages + (request.locked.hvm_packages if request.hvm else ())
    return KernelSpec(
        architecture=request.variant.architecture,
        release=request.recipe.distribution.release,
        repositories=package_sources(request.recipe, request.sources.keys),
        packages=_rpms(packages),
        initrd=request.kernel.initrd,
        modules=request.modules,
        payloads=() if request.hvm else request.kernel.pv.payloads,
        source_epoch=request.epoch,
        database=rpm_database(_rpms(request.locked.packages)),
        debs=_debs(packages),
        archives=deb_archives(request.recipe, request.sources.keys),
        **(_guest_kernel(request, request.locked.base) if request.locked.base else {}),
    )


def _guest_kernel(request: Request, base: BaseLock) -> dict[str, Any]:
    """What of the kernel an existing image's own manager installs."""
    guest = base.kernel_packages + (base.hvm_packages if request.hvm else ())
    return {"manager": base.manager, "guest": guest} if guest else {}


def configure_spec(request: Request) -> ConfigureSpec:
    recipe = request.recipe
    return ConfigureSpec(
        network=NetworkSpec(
            renderer=renderer(request.locked.installed, recipe.network.renderer),
            hostname="" if recipe.network.hostname == "metadata" else recipe.network.hostname,
        ),
        ssh=SshSpec(authorized_keys=recipe.ssh.authorized_keys, metadata_key=recipe.ssh.metadata_key),
        users=tuple(
            UserKeys(name=u.name, authorized_keys=u.authorized_keys) for u in recipe.users if u.authorized_keys
        ),
        services=_services(recipe),
        fstab=_fstab(request),
        boot=_boot(request),
        timezone=recipe.timezone,
        locale=recipe.locale,
        source_epoch=request.epoch,
        definition=request.made.configure,
        hvm=_hvm(request) if request.hvm else None,
        units=tuple(UnitSpec(name=name, text=text) for name, text in request.sources.units),
        timers=tuple(_timer(each) for each in recipe.timers),
        sysctl=tuple(sorted(recipe.sysctl.items())),
        modules=_modules(recipe.modules),
        selinux=_selinux(request),
    )


def _services(recipe: Recipe) -> ServicesSpec:
    """What the recipe says, and its own units and timers."""
    services = recipe.services
    own = (each.name for each in recipe.units if each.enable and "/" not in each.name)
    enable = dict.fromkeys((*services.enable, *own, *(f"{each.name}.timer" for each in recipe.timers)))
    return ServicesSpec(enable=tuple(enable), disable=services.disable, mask=services.mask)


def _timer(timer: Timer) -> TimerSpec:
    return TimerSpec(
        name=timer.name,
        run=timer.run or "",
        service=timer.service or "",
        user=timer.user or "",
        calendar=timer.calendar or "",
        boot=timer.boot or "",
        every=timer.every or "",
        random_delay=timer.random_delay or "",
        persistent=timer.persistent,
    )


def _modules(modules: Modules) -> ModulesSpec | None:
    if not modules.load and not modules.blacklist:
        return None
    return ModulesSpec(load=modules.load, blacklist=modules.blacklist)


def _selinux(request: Request) -> str:
    """The mode; RecipeError where no package is installed that has a policy."""
    wanted = request.recipe.selinux
    if wanted is None:
        return ""
    if not any(name.startswith("selinux-policy") for name, _ in request.locked.installed):
        raise RecipeError(
            "selinux: the recipe's distribution has no policy installed",
            hint='add its package to distribution.packages ("selinux-policy-targeted" in Fedora), or leave selinux out',
        )
    return wanted.mode


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
        grub_root=PARTITIONED_ROOT if request.partitioned else pv.grub_root,
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
        mbr=uuid.uuid5(identity, "MBR").hex[:8] if request.partitioned else "",
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
        mbr=request.partitioned,
        authorized_keys=(
            AccountKeys(user="root", keys=configured.ssh.authorized_keys),
            *(AccountKeys(user=each.name, keys=each.authorized_keys) for each in configured.users),
        ),
        waivers=tuple(Waiver(id=each.id, path=each.path, reason=each.reason) for each in request.recipe.verify.waive),
    )


def boot_spec(request: Request) -> ProofSpec | None:
    """None when the recipe wants no boot proof, or the kernel cannot boot as what it would be."""
    level = request.recipe.boot.level
    if level == "none" or request.unsupported:
        return None
    return ProofSpec(
        level=level,
        architecture=request.variant.architecture,
        instance_type=request.variant.instance_type,
        loader=request.loader,
        authorized_keys=request.recipe.ssh.authorized_keys,
        metadata_key=request.recipe.ssh.metadata_key,
        **(_firmware(request) if request.hvm else {}),
    )


def _firmware(request: Request) -> dict[str, Any]:
    """What a boot proof has to know of an HVM image besides."""
    register, volume = request.recipe.register_, request.recipe.volume
    return {
        "virtualization": "hvm",
        "boot_mode": request.boot_mode,
        "volume_size": 0 if volume.size == "auto" else parse_size(volume.size) // GIB,
        "imds": "v2.0" if register.imds == "required" else "",
    }
