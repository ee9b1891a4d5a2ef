"""From a record to a guest: bundles as disks, kept as long as their images; what a guest is given."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.machine.guest import Disk, GuestSpec
from builder.region.ec2.instances.record import Instance, find_instance
from builder.region.ec2.region import Region
from builder.region.launch import Bundles, guest_spec, root_disk
from tests.support.bundles import HOLED, TestBundle, make_bundle
from tests.support.regions import WithoutPower, client, region_at, served


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    region: Region
    ec2: Any
    s3: Any
    bundle: TestBundle
    bundles: Bundles

    @property
    def location(self) -> str:
        return f"images/b/{self.bundle.manifest_name}"

    def register(self, name: str) -> str:
        return str(self.ec2.register_image(Name=name, ImageLocation=self.location)["ImageId"])

    def put(self, name: str, content: bytes) -> None:
        self.s3.put_object(Bucket="images", Key=f"b/{name}", Body=content, ACL="aws-exec-read")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    region = region_at(tmp_path / "region", WithoutPower)
    (tmp_path / "bundle").mkdir()
    bundle = make_bundle(tmp_path / "bundle", region.identity.certificate, content=HOLED, part_size=1024)
    with served(region) as url:
        made = Desk(
            region=region,
            ec2=client("ec2", url),
            s3=client("s3", url),
            bundle=bundle,
            bundles=Bundles.under(tmp_path / "images", region.state, lambda: region.private_key),
        )
        made.s3.create_bucket(Bucket="images", ObjectOwnership="BucketOwnerPreferred")
        for name, content in bundle.files().items():
            made.put(name, content)
        yield made


def test_a_bundle_becomes_a_disk_once(desk: Desk) -> None:
    first, second = desk.register("first"), desk.register("second")
    disk = desk.bundles.disk(first, desk.location)
    assert disk.read_bytes() == desk.bundle.content
    assert disk.stat().st_mode & 0o077 == 0
    written = disk.stat().st_mtime_ns
    part = next(name for name in desk.bundle.files() if ".part." in name)
    desk.put(part, desk.bundle.files()[part])  # the same bytes
    assert desk.bundles.disk(second, desk.location) == disk
    assert (disk.stat().st_mtime_ns, list(disk.parent.iterdir())) == (written, [disk])


def test_a_disk_does_not_hide_what_became_of_its_bundle(desk: Desk) -> None:
    image = desk.register("first")
    desk.bundles.disk(image, desk.location)
    part = next(name for name in desk.bundle.files() if ".part." in name)
    desk.put(part, bytes(len(desk.bundle.files()[part])))
    with pytest.raises(BuilderError, match=f"part {part} is damaged"):
        desk.bundles.disk(image, desk.location)
    desk.s3.delete_object(Bucket="images", Key=f"b/{part}")
    with pytest.raises(BuilderError, match=f"part {part} of the bundle"):
        desk.bundles.disk(image, desk.location)


def test_disks_go_with_their_images(desk: Desk) -> None:
    image = desk.register("first")
    disk = desk.bundles.disk(image, desk.location)
    (disk.parent / ".ami-factory-unbundle-cut-off").touch()
    desk.bundles.keep_only({image: desk.location})
    assert list(disk.parent.iterdir()) == [disk]
    desk.bundles.keep_only({})
    assert list(disk.parent.iterdir()) == []


def record_of(desk: Desk, **wanted: Any) -> Instance:
    image = desk.register("first")
    answer = desk.ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, **wanted)
    return find_instance(desk.region.state, answer["Instances"][0]["InstanceId"])


def spec_of(instance: Instance, cache: Path, memory_mib: int = 512) -> GuestSpec:
    root = Disk(device="", base=cache / "image")
    return guest_spec(instance, root=root, cache=cache, memory_mib=memory_mib)


def test_a_guest_of_m1_small(desk: Desk, downloads: Path) -> None:
    instance = record_of(desk)
    spec = spec_of(instance, downloads)
    blanks = downloads / "machine" / "disks"
    assert [(each.device, each.base) for each in spec.disks] == [
        ("sda1", downloads / "image"),
        ("sda2", blanks / "ext3-160"),
        ("sda3", blanks / "swap-1"),
    ]
    assert (spec.name, spec.address, spec.mac) == (instance.id, instance.private_address, instance.mac)
    assert (spec.memory_mib, spec.loader, spec.domain) == (512, "pv-grub-hd0", "ec2.internal")
    assert spec.hostname == f"ip-{instance.private_address.replace('.', '-')}"
    assert spec_of(instance, downloads, memory_mib=9999).memory_mib == 1740


def test_a_partitioned_image(desk: Desk, downloads: Path) -> None:
    spec = spec_of(record_of(desk, KernelId="aki-499ccb20"), downloads)
    assert (spec.loader, spec.disks[0].device) == ("pv-grub-hd00", "sda")
    assert root_disk("/dev/sda1", "pv-grub-hd0") == "sda1"
    assert root_disk("/dev/sda", "pv-grub-hd00") == "sda"


def test_an_image_without_a_kernel_image_of_its_own(desk: Desk, downloads: Path) -> None:
    instance = record_of(desk)
    record = {name: value for name, value in instance.record.items() if name != "KernelId"}
    assert spec_of(replace(instance, record=record), downloads).loader == "pv-grub-hd0"
