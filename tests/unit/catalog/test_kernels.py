from pathlib import Path

import pytest

from builder.catalog.kernels import Kernel, kernel_names, load_kernel
from builder.errors import RecipeError
from builder.region.ec2 import kernels as region_kernels

KERNELS = Path(__file__).parents[3] / "kernels"
GOOD = 'initrd = "dracut"\nmodules = ["ext4"]\n[packages]\nx86_64 = ["kernel-core"]\n'


def refused(directory: Path, name: str = "own") -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load_kernel(directory, name)
    return caught.value


@pytest.mark.parametrize("name", kernel_names(KERNELS))
def test_ours(name: str) -> None:
    kernel = load_kernel(KERNELS, name)
    assert kernel.name == name
    assert {"xen-blkfront", "ext4"} <= set(kernel.modules)
    for architecture in kernel.packages:
        if "pv" in kernel.virtualization and kernel.aki:
            assert kernel.aki_in("local", architecture).startswith("aki-")
            assert set(kernel.aki_partitioned.get(architecture, {})) <= set(kernel.aki[architecture])
        elif "pv" not in kernel.virtualization:
            assert kernel.pv.unsupported[architecture] in kernel.refusal("pv", architecture)
        assert kernel.refusal("hvm", architecture) == ""
        assert {"nvme", "ena", "xen-blkfront", "xen-netfront"} <= set(kernel.hvm.modules)
        assert kernel.initrd == "inside" or kernel.hvm.packages[architecture]
    for filesystem in ("ext3", "ext4"):
        assert "pv" not in kernel.virtualization or "^64bit" in kernel.features(filesystem).split(",")


def test_defaults_and_digest(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(GOOD)
    kernel = load_kernel(tmp_path, "own")
    assert kernel == Kernel(name="own", initrd="dracut", modules=("ext4",), packages={"x86_64": ("kernel-core",)})
    assert kernel.digest() == load_kernel(tmp_path, "own").digest()
    (tmp_path / "own.toml").write_text(GOOD.replace("ext4", "ext3"))
    assert kernel.digest() != load_kernel(tmp_path, "own").digest()


def test_unknown_name() -> None:
    error = refused(KERNELS, "quikstart")
    assert error.brief == f'kernel: "quikstart" is not a file under {KERNELS}; did you mean "quickstart"?'
    assert error.hint == "there are: amazon-linux-2023, debian, enterprise-linux, fedora, inside, quickstart, ubuntu"
    assert "is not a file" in refused(KERNELS, "../recipes/quickstart").brief


def test_kernel_images_for_partitions_are_the_local_regions() -> None:
    """The region knows by its id what a kernel image is for."""
    kernel = load_kernel(KERNELS, "quickstart")
    for architecture in ("x86_64", "i386"):
        for partitioned, loader in ((False, "pv-grub-hd0"), (True, "pv-grub-hd00")):
            found = kernel.aki_in("local", architecture, partitioned=partitioned)
            assert (region_kernels.loader(found), region_kernels.PV_GRUB[found]) == (loader, architecture)


def test_no_aki() -> None:
    with pytest.raises(RecipeError) as caught:
        load_kernel(KERNELS, "quickstart").aki_in("eu-south-2", "x86_64")
    assert caught.value.brief == "kernels/quickstart.toml: aki.x86_64: no kernel image (AKI) for eu-south-2"
    assert "us-east-1" in caught.value.hint
    with pytest.raises(RecipeError, match=r"aki_partitioned\.x86_64: no kernel image"):
        load_kernel(KERNELS, "quickstart").aki_in("eu-central-1", "x86_64", partitioned=True)
    with pytest.raises(RecipeError, match=r"aki\.i386: no kernel image"):
        load_kernel(KERNELS, "fedora").aki_in("us-east-1", "i386")


def test_all_faults_with_places(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'initrd = "mkinitcpio"\nmodules = "ext4"\n[packages]\narm64 = []\n[pv]\ndiscs = "sd"\n[aki.i386]\nx = "ami-1"\n'
    )
    error = refused(tmp_path)
    assert [error.brief, *error.detail.splitlines()] == [
        f'{path}:1:1: initrd: "mkinitcpio" is not one of initramfs-tools, dracut, inside',
        f'{path}:2:1: modules: this must be a list in brackets, and "ext4" is not',
        f'{path}:4:1: packages.arm64: "arm64" is not one of x86_64, i386',
        f'{path}:6:1: pv.discs: unknown key; did you mean "disks"?',
        f'{path}:8:1: aki.i386.x: "ami-1" is not the id of a kernel image, such as aki-919dcaf8',
    ]


def test_bad_syntax(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("initrd")
    assert refused(tmp_path).brief.startswith(f"{tmp_path}/own.toml:1:7: ")


def test_red_hats_kernels_refuse_pv_and_say_why() -> None:
    kernel = load_kernel(KERNELS, "enterprise-linux")
    assert kernel.refusal("pv", "x86_64") == (
        "kernel enterprise-linux boots hvm images alone: Red Hat builds its kernels without CONFIG_XEN_PV since "
        "release 8 (kernel-x86_64-rhel.config), and CONFIG_XEN_PVHVM alone is left"
    )
    assert load_kernel(KERNELS, "quickstart").refusal("pv", "i386") == ""
