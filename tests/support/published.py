"""A local region with AMIs to copy and share, and the command line at work on them."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from builder.cloud.amis import Ami, ami
from builder.images.reach import Reach
from builder.stages.contract import Surroundings
from tests.support.plans import ROOT
from tests.support.regions import client, running
from tests.support.snapshots import block, snapshot

ACCOUNT = "123456789012"
FRIEND = "210987654321"
REGIONS = ("local", "local-2", "local-3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A region that runs, with its own state directory."""

    path: Path
    endpoint: str

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(state=self.path, cache=self.path, trees=self.path, endpoint_url=self.endpoint)

    @property
    def reach(self) -> Reach:
        return Reach(self.surroundings, "local")

    def client(self, service: str, region: str = "local", **options: Any) -> Any:
        """A client that owes nothing to ours."""
        return client(service, self.endpoint, region="us-east-1" if region == "local" else region, **options)

    def register(self, *, tags: Mapping[str, str] | None = None, encrypted: bool = False, **members: Any) -> Ami:
        """An AMI of the factory's, of EBS."""
        made = snapshot(self.client("ebs"), {0: block(1), 5: block(2)}, Encrypted=encrypted)
        name = f"web-{secrets.token_hex(6)}"
        given = {"ami-factory:key": secrets.token_hex(32), "Name": name, "team": "blue", **(tags or {})}
        answer = self.client("ec2").register_image(
            **{
                "Name": name,
                "Description": "a web server",
                "Architecture": "x86_64",
                "VirtualizationType": "hvm",
                "RootDeviceName": "/dev/xvda",
                "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": made, "VolumeType": "gp3"}}],
                "EnaSupport": True,
                "BootMode": "uefi-preferred",
                "ImdsSupport": "v2.0",
                "TagSpecifications": [
                    {"ResourceType": "image", "Tags": [{"Key": k, "Value": v} for k, v in given.items()]}
                ],
                **members,
            }
        )
        found = ami(self.client("ec2"), "local", answer["ImageId"])
        assert found is not None
        return found

    def images(self, region: str, **filters: str) -> list[dict[str, Any]]:
        named = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
        return list(self.client("ec2", region).describe_images(Owners=["self"], Filters=named)["Images"])

    def copies(self, source: Ami, region: str) -> list[dict[str, Any]]:
        return self.images(region, source_image_id=source.id)

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.path / "home"),
            "XDG_STATE_HOME": str(self.path / "state"),
            "XDG_CACHE_HOME": str(self.path / "cache"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "COLUMNS": "100",
        }

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "builder.cli.main", *words],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*words)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def document(self, *words: str, code: int = 0) -> dict[str, Any]:
        """What the verb prints with --json, held against its schema."""
        done = self.run(*words, "--json")
        assert done.returncode == code, done.stderr
        found = json.loads(done.stdout)
        schema = json.loads((ROOT / f"builder/cli/schemas/{found['kind']}.json").read_text())
        jsonschema.validate(found, schema, jsonschema.Draft202012Validator)
        return dict(found)


@contextmanager
def a_place(path: Path) -> Iterator[Place]:
    """A region of its own: faults are for all of its clients."""
    (path / "home").mkdir()
    with running(path / "state/ami-factory/region") as status:
        yield Place(path=path, endpoint=status.endpoint_url)
