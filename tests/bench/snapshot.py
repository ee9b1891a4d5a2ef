"""Snapshots: the first upload against a bare pool of workers that put the same blocks, and the second build's.

    python -m tests.bench snapshot

The bare pool does what no tool can do without: it reads each block, sends it with its checksum over connections that
are kept, and reads the answer. It signs nothing, checks nothing and remembers nothing. It is run with several numbers
of workers, and the quickest counts. Each job is a process of its own, so that its memory can be told; what is timed
begins when modules are imported and clients are made, for both.
"""

import base64
import functools
import http.client
import json
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from builder.formats.blocks import BLOCK_SIZE, ZERO, block_digests, format_blocks, parse_blocks
from tests.bench import jobs
from tests.bench.lines import Line
from tests.support.regions import running

SIZE = 2 << 30
BLOCKS = 820
"""430 MB"""
CHANGED = BLOCKS // 100
WORKERS = (2, 4, 8)
MEMORY = 200 << 20


def rows(home: Path, runs: int) -> Iterator[Line]:
    """A volume of 2 GiB with 430 MB of data."""
    first, second = home / "first", home / "second"
    _make_image(first, changed=0)
    _make_image(second, changed=CHANGED)
    bare: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    uploads, seconds, memory, told = [], [], 0, {}
    with running(home / "region") as region:
        url = region.endpoint_url
        for image in (first, second):  # the region keeps equal blocks once: from here on all find the same there
            job(home, "bare", str(image), url, "4")
        for run in range(runs):
            for workers in WORKERS:
                bare[workers].append(job(home, "bare", str(first), url, str(workers))["seconds"])
            for image, found in ((first, uploads), (second, seconds)):
                told = job(home, "ours", str(image), url, f"{run}-{image.name}", f"lineage-{run}")
                found.append(told["seconds"])
                memory = max(memory, told["memory"])
    best = min(statistics.median(found) for found in bare.values())
    upload, again = statistics.median(uploads), statistics.median(seconds)
    shown = ", ".join(f"{workers}: {statistics.median(found):.2f} s" for workers, found in bare.items())
    print(f"    bare pool by workers: {shown}", flush=True)
    yield Line(name="snapshot, first upload", seconds=upload, against="the bare pool", limit=best, aim=1.15)
    yield Line(name="snapshot, 1 % changed", seconds=again, against="the first upload", limit=upload, aim=0.1)
    share = told["sent"] / BLOCKS
    print(
        f"    blocks sent of 1 % changed: {told['sent']} of {BLOCKS}; aim 1.5 %: {_verdict(share, 0.015)}", flush=True
    )
    print(f"    peak memory {memory >> 20} MiB; aim {MEMORY >> 20}: {_verdict(memory, MEMORY)}", flush=True)


def _verdict(found: float, aim: float) -> str:
    return "within" if found <= aim else "over"


def _make_image(place: Path, *, changed: int) -> None:
    """Data in one block of five, as in a system; `changed` of them are others than in an image without."""
    place.mkdir()
    chosen = random.Random(1).sample(range(SIZE // BLOCK_SIZE), BLOCKS)
    with (place / "disk.raw").open("wb") as file:
        file.truncate(SIZE)
        for number, index in enumerate(sorted(chosen)):
            file.seek(index * BLOCK_SIZE)
            file.write(random.Random(f"{index} {number < changed}").randbytes(BLOCK_SIZE))
    with (place / "disk.raw").open("rb") as file:
        (place / "blocks").write_bytes(format_blocks(list(block_digests(file.fileno(), SIZE))))


def job(home: Path, *arguments: str) -> dict[str, Any]:
    """Run a job of this module; what it tells, and its peak memory."""
    told, memory = jobs.job("tests.bench.snapshot", str(home), *arguments)
    return {**told, "memory": memory}


def bare(image: Path, url: str, workers: int) -> Callable[[], int]:
    """The pool, ready to be run; how many blocks it sent."""
    import hashlib

    from tests.support.regions import client

    ebs, here = client("ebs", url, checked=False), threading.local()
    place = urlsplit(url)
    digests = parse_blocks((image / "blocks").read_bytes())
    wanted = [(index, bytes.fromhex(digest)) for index, digest in enumerate(digests) if digest != ZERO]

    def put(snapshot: str, descriptor: int, index: int, digest: bytes) -> None:
        connection = getattr(here, "connection", None)
        if connection is None:
            connection = here.connection = http.client.HTTPConnection(place.hostname or "", place.port)
        checksum = base64.b64encode(digest).decode()
        headers = {
            "x-amz-Data-Length": str(BLOCK_SIZE),
            "x-amz-Checksum": checksum,
            "x-amz-Checksum-Algorithm": "SHA256",
        }
        headers["Authorization"] = UNCHECKED
        data = os.pread(descriptor, BLOCK_SIZE, index * BLOCK_SIZE)
        connection.request("PUT", f"/snapshots/{snapshot}/blocks/{index}", data, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 201:
            raise SystemExit(f"block {index}: {answer.status}")

    def run() -> int:
        snapshot = ebs.start_snapshot(VolumeSize=SIZE >> 30)["SnapshotId"]
        with (image / "disk.raw").open("rb") as disk, ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda each: put(snapshot, disk.fileno(), *each), wanted))
        linear = base64.b64encode(hashlib.sha256(b"".join(digest for _, digest in wanted)).digest()).decode()
        ebs.complete_snapshot(
            SnapshotId=snapshot,
            ChangedBlocksCount=len(wanted),
            Checksum=linear,
            ChecksumAlgorithm="SHA256",
            ChecksumAggregationMethod="LINEAR",
        )
        return len(wanted)

    return run


UNCHECKED = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/ebs/aws4_request, SignedHeaders=host, Signature=0"
"""The local region looks at whose request it is, and for which region; it does not check signatures."""


def ours(home: Path, image: Path, url: str, key: str, lineage: str) -> Callable[[], int]:
    """The stage, ready to be run; how many blocks it sent."""
    from builder.canonical import digest_of
    from builder.cloud import session
    from builder.stages.contract import Input, StageContext, Surroundings
    from builder.stages.snapshot.run import run
    from builder.stages.snapshot.spec import SnapshotSpec

    surroundings = Surroundings(state=home / "state", cache=home / "cache", trees=home, endpoint_url=url)
    made = functools.cache(lambda service: client(service, surroundings, "local"))
    client, session.client = session.client, lambda service, *_, **__: made(service)  # type: ignore[assignment]
    for service in ("ec2", "ebs"):
        made(service)
    spec = SnapshotSpec(
        partition="aws",
        account="123456789012",
        region="local",
        endpoint="local",
        description="benchmark",
        encrypted=False,
        kms_key="",
        lineage=lineage,
        tags=(),
    )
    context = StageContext(
        key=digest_of(key),
        inputs=(Input(name="image", path=image, result={}),),
        output=home,
        scratch=home,
        surroundings=surroundings,
        progress=lambda what, done, total, unit="bytes": None,
        note=lambda text: None,
    )
    return lambda: int(run(spec, context)["blocks_sent"])


if __name__ == "__main__":
    where, name, *more = sys.argv[1:]
    jobs: dict[str, Callable[[], Callable[[], int]]] = {
        "bare": lambda: bare(Path(more[0]), more[1], int(more[2])),
        "ours": lambda: ours(Path(where), Path(more[0]), *more[1:]),
    }
    act = jobs[name]()
    start = time.perf_counter()
    sent = act()
    print(json.dumps({"seconds": time.perf_counter() - start, "sent": sent}))
