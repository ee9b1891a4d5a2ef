"""What a bundle step needs: an image, the user's pair and EC2's, and a context to run in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.formats import bundle_cipher
from builder.stages.bundle.spec import BundleSpec
from builder.stages.contract import Input, Progress, StageContext, Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """A place for one run of a stage, with both key pairs as files."""

    path: Path
    user_certificate: Path
    user_key: Path
    ec2_certificate: Path
    ec2_key: Path

    def fingerprint(self, certificate: Path) -> str:
        return bundle_cipher.fingerprint(certificate.read_bytes())

    def spec(self, **changes: Any) -> BundleSpec:
        values: dict[str, Any] = {
            "name": "web-1-x86_64",
            "account": "123456789012",
            "architecture": "x86_64",
            "kernel_id": "aki-919dcaf8",
            "ramdisk_id": "",
            "block_device_mapping": (("ami", "sda1"), ("ephemeral0", "sda2"), ("root", "/dev/sda1"), ("swap", "sda3")),
            "compression": "fast",
            "user_certificate": self.fingerprint(self.user_certificate),
            "ec2_certificate": self.fingerprint(self.ec2_certificate),
        }
        return BundleSpec(**{**values, **changes})

    def context(self, *inputs: Input, **changes: Any) -> StageContext:
        """A context that knows the user's key and both certificates."""
        known = {
            "secrets": {"private_key": str(self.user_key)},
            "sources": {self.fingerprint(each): str(each) for each in (self.user_certificate, self.ec2_certificate)},
        }
        return stage_context(self.path, *inputs, **{**known, **changes})


def stage_context(
    path: Path,
    *inputs: Input,
    key: str = "k" * 64,
    output: str = "output",
    progress: Progress = lambda what, done, total, unit="bytes": None,
    note: Callable[[str], None] = lambda text: None,
    **place: Any,
) -> StageContext:
    """A context under `path`; `place` is for its Surroundings. Its region is one that nobody can reach."""
    for name in (output, "scratch"):
        (path / name).mkdir(exist_ok=True)
    values = {"state": path, "cache": path, "trees": path, "endpoint_url": "http://127.0.0.1:1", **place}
    return StageContext(
        key=key,
        inputs=inputs,
        output=path / output,
        scratch=path / "scratch",
        surroundings=Surroundings(**values),
        progress=progress,
        note=note,
    )


def workshop(path: Path) -> Workshop:
    """Two fresh pairs under `path`."""
    found = Workshop(
        path=path,
        user_certificate=path / "cert.pem",
        user_key=path / "pk.pem",
        ec2_certificate=path / "ec2-cert.pem",
        ec2_key=path / "ec2-pk.pem",
    )
    for key, certificate in ((found.user_key, found.user_certificate), (found.ec2_key, found.ec2_certificate)):
        private, public = bundle_cipher.make_pair()
        key.write_bytes(private)
        certificate.write_bytes(public)
    return found


def image_input(path: Path, *extents: tuple[int, bytes], size: int) -> Input:
    """A sparse disk.raw as the image stage would hand it over."""
    path.mkdir()
    with (path / "disk.raw").open("wb") as file:
        file.truncate(size)
        for offset, data in extents:
            file.seek(offset)
            file.write(data)
    return Input(name="image", path=path, result={"size": size})
