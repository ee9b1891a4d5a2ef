"""Bundles that lie in a local region, or in a directory, and processes that are killed while they move one."""

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from builder.cloud import s3, session
from builder.cloud.s3 import Bucket
from builder.formats.bundle_manifest import BundleManifest, Part, format_manifest
from builder.region.control import Status
from builder.stages.contract import Surroundings

FORK = multiprocessing.get_context("fork")
ACCOUNT = "123456789012"
MIB = 1 << 20


def client_of(endpoint_url: str, path: Path) -> Any:
    surroundings = Surroundings(state=path, cache=path, trees=path, endpoint_url=endpoint_url)
    return session.client("s3", surroundings, "local")


def laid_out(directory: Path, files: Mapping[str, bytes], manifest: str) -> Path:
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory / manifest


def bundle_of(names: tuple[str, ...], contents: tuple[bytes, ...], name: str = "disk.img") -> dict[str, bytes]:
    """Files of a bundle whose parts have any names and contents; its manifest is the last."""
    parts = tuple(
        Part(filename=each, sha1=hashlib.sha1(data).hexdigest()) for each, data in zip(names, contents, strict=True)
    )
    manifest = BundleManifest(
        name=name,
        account=ACCOUNT,
        architecture="x86_64",
        digest="00" * 20,
        size=1,
        bundled_size=sum(map(len, contents)),
        ec2_encrypted_key="00",
        user_encrypted_key="00",
        ec2_encrypted_iv="00",
        user_encrypted_iv="00",
        parts=parts,
    )
    text = format_manifest(manifest, lambda signed: b"\0")
    return {**dict(zip(names, contents, strict=True)), f"{name}.manifest.xml": text}


class Deadly:
    """A progress that kills its own process at the sixth call."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, done: int, total: int) -> None:
        self._calls += 1
        if self._calls == 6:
            os.kill(os.getpid(), signal.SIGKILL)


def killed(region: Status, bucket: Bucket, path: Path, work: Callable[[Bucket], object]) -> None:
    """Do work that is killed, in a process of its own, whose connections are its own too."""
    child = FORK.Process(target=lambda: work(replace(bucket, client=client_of(region.endpoint_url, path))))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


def under(bucket: Bucket, prefix: str = "") -> dict[str, bytes]:
    return {
        key.removeprefix(prefix): bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()
        for key in s3.listed(bucket, prefix)
    }


def in_directory(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


def readers(bucket: Bucket, key: str) -> set[str]:
    grants = bucket.client.get_object_acl(Bucket=bucket.name, Key=key)["Grants"]
    return {
        each["Grantee"].get("DisplayName", each["Grantee"].get("URI"))
        for each in grants
        if each["Permission"] == "READ"
    }


def open_to_public(bucket: Bucket) -> None:
    """A bucket that takes public-read."""
    bucket.client.delete_public_access_block(Bucket=bucket.name)
