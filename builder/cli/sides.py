"""One side of `diff`: whatever names an image, as a file of this machine that holds it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.cli import subject
from builder.cli.meter import Meter
from builder.errors import BuilderError, RecipeError, RegionError
from builder.factory import Factory

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from builder.bundles.contract import PartSource
    from builder.observe import Region

_CLOUD = re.compile(r"(ami|snap)-[0-9a-f]{8,17}")
_KEY = re.compile(r"[0-9a-f]{4,64}")
_STEPS = "image, verify, boot, bundle, upload, snapshot, register and publish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """Finds images by whatever names them. What is not on this machine as an image is fetched, whole and checked."""

    factory: Factory
    private_key: Path | None
    """Opens bundles; None for the one that they are made with here."""
    scratch: Path
    """Where images are fetched to."""

    def find(self, text: str) -> Path:
        """A file, a block device, a bundle in a directory or in S3, a step's key, an AMI or a snapshot, as an image.

        RecipeError for what is none of them.
        """
        if _CLOUD.fullmatch(text):
            return self._of_region(text)
        if _KEY.fullmatch(text) and not Path(text).exists():
            return self._of_step(self.factory.store.find(text))
        found = subject.parse(text)
        if isinstance(found, subject.Image):
            return found.path
        if isinstance(found, subject.Stored):
            return self._stored(found.bucket, found.key)
        from builder.bundles.directory import DirectorySource, read_manifest_file

        return self._unbundled(read_manifest_file(found.path), DirectorySource(found.path.parent), found.path.name)

    def _of_step(self, key: str) -> Path:
        """The image that a step made, sent away or was about."""
        store = self.factory.store
        try:
            found = store.get(key)
        except KeyError:
            raise BuilderError(f"{key[:12]} is not in the store {store.root}", hint="build it first") from None
        record = found.record
        match record.stage:
            case "image":
                return found.path / "disk.raw"
            case "verify" | "boot":
                return self._of_step(record.inputs["image"])
            case "bundle":
                return self.find(str(found.path))
            case "upload":
                return self.find(f"s3://{record.result['location']}")
            case "snapshot":
                return self._of_region(record.result["snapshot_id"])
            case "register":
                return self._of_region(record.result["image_id"])
            case "publish":
                return self._of_step(record.inputs["register"])
        raise RecipeError(
            f"{key[:12]} is a step {record.stage}, which has no image", hint=f"diff takes keys of {_STEPS}"
        )

    def _of_region(self, name: str) -> Path:
        """The volume of a snapshot; of an AMI that of its root, or what its bundle holds."""
        from builder.cli.snapshot import fetch

        location = self._bundle_of(name) if name.startswith("ami-") else ""
        if location:
            return self.find(f"s3://{location.lstrip('/')}")
        target = self._new(name)
        fetch(self.factory, name, target)
        return target

    def _bundle_of(self, image_id: str) -> str:
        """BUCKET/KEY of the manifest of an instance-store AMI; "" for one whose root is a snapshot."""
        from builder.cloud.amis import ami
        from builder.cloud.session import client

        reached = self._reached(image_id)
        found = ami(client("ec2", reached.surroundings, reached.name), reached.name, image_id)
        if found is None:
            raise RegionError(f"there is no AMI {image_id} in {self.factory.region_words()}", hint="look at --region")
        return "" if found.volume else found.location

    def _stored(self, bucket: str, key: str) -> Path:
        from builder.bundles import fetch
        from builder.bundles.s3_parts import S3Source
        from builder.cloud import s3, session
        from builder.formats.manifest_reader import open_manifest, read_manifest

        reached = self._reached(f"{bucket}/{key}")
        place = s3.Bucket(client=session.client("s3", reached.surroundings, reached.name), name=bucket)
        prefix, _, name = key.rpartition("/")
        manifest = fetch.manifest(place, prefix, name)
        with S3Source(place, prefix, read_manifest(open_manifest(manifest, self._key())).parts) as source:
            return self._unbundled(manifest, source, name)

    def _unbundled(self, manifest: bytes, source: "PartSource", name: str) -> Path:
        from builder.bundles.read import unbundle

        with Meter(name) as meter:
            return unbundle(manifest, source, self._key(), self._new("bundle"), progress=meter)

    def _key(self) -> "RSAPrivateKey":
        from builder.cli.bundle_target import bundle_key

        return bundle_key(self.private_key)

    def _new(self, name: str) -> Path:
        """A name in the scratch that nothing has."""
        return self.scratch / f"{len(list(self.scratch.iterdir()))}-{name}.raw"

    def _reached(self, what: str) -> "Region":
        reached = self.factory.region(start=False)
        if reached is None:
            raise RegionError(
                f"{what} would be in the local region, which is not running",
                hint="start it: ami-factory region start; or name another region with --region",
            )
        return reached
