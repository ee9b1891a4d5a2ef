"""Write the snapshot of EC2's instance types: `python -m builder.catalog.refresh DOCUMENT DATE > FILE`.

DOCUMENT is what `aws ec2 describe-instance-types --output json` gives, or a file of the same records by name, plain or
gzip; the file that is here was made from the one that moto 5.2.5 ships (ec2/resources/instance_types.json.gz).
One line a type, so that one type can be read without parsing the others, and a refresh is a readable diff.
"""

import gzip
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def records(document: bytes) -> list[Mapping[str, Any]]:
    """The InstanceTypeInfo records of a document."""
    plain = gzip.decompress(document) if document[:2] == b"\x1f\x8b" else document
    data = json.loads(plain)
    return list(data["InstanceTypes"] if "InstanceTypes" in data else data.values())


def row(record: Mapping[str, Any]) -> list[Any]:
    """What the factory needs of one type; `instance_types._parse` reads it."""
    storage = record.get("InstanceStorageInfo") or {}
    return [
        sorted(record["ProcessorInfo"]["SupportedArchitectures"]),
        sorted({"paravirtual": "pv"}.get(each, each) for each in record["SupportedVirtualizationTypes"]),
        sorted(record["SupportedRootDeviceTypes"]),
        record["MemoryInfo"]["SizeInMiB"],
        record["VCpuInfo"]["DefaultVCpus"],
        [[disk["Count"], disk["SizeInGB"], disk["Type"]] for disk in storage.get("Disks", [])],
        storage.get("NvmeSupport", "unsupported") == "required",
    ]


def snapshot(found: Iterable[Mapping[str, Any]], source: str) -> str:
    """The file's text."""
    rows = {record["InstanceType"]: row(record) for record in found}
    lines = [f'"source": {json.dumps(source)}']
    lines += [f'"{name}": {json.dumps(rows[name], separators=(",", ":"))}' for name in sorted(rows)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(snapshot(records(Path(sys.argv[1]).read_bytes()), f"DescribeInstanceTypes, {sys.argv[2]}"))
