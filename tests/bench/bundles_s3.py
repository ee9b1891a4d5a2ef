"""Bundles and S3: straight from the image, against bundling and uploading one after the other.

    python -m tests.bench bundles_s3

A link stands between, as a network does: on loopback alone the region's own hashing would take the cores that bundle.
It is as quick as lets uploading alone take twice as long as bundling alone, so one after the other would be 1.5 times
the slower. Each job is a process of its own, so that its memory can be told.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench import jobs
from tests.bench.lines import Line
from tests.bench.unbundle import Job, make_system
from tests.support.regions import running

BUCKET = "bench"
ACCOUNT = "123456789012"
MEMORY = 200 << 20


def rows(home: Path, runs: int) -> Iterator[Line]:
    """A system of 430 MB in 1 GiB."""
    image = make_system(home)
    with running(home / "region") as region:
        directory = home / "bundle"
        directory.mkdir()
        job(home, "bucket", region.endpoint_url)
        alone = median(runs, lambda run: job(home, "bundle", str(image), str(directory)))
        size = sum(each.stat().st_size for each in directory.iterdir())
        rate = size / (2 * alone.seconds)
        with link(region.endpoint_url, rate) as url:
            upload = median(runs, lambda run: job(home, "upload", str(directory), url, f"upload-{run}"))
            straight = median(runs, lambda run: job(home, "straight", str(image), url, f"straight-{run}"))
        here = region.endpoint_url
        near = median(runs, lambda run: job(home, "straight", str(image), here, f"near-{run}"))
        after = median(runs, lambda run: job(home, "upload", str(directory), here, f"near-upload-{run}"))
        again = median(runs, lambda run: job(home, "upload", str(directory), here, "near-upload-0"))
    slower = max(alone.seconds, upload.seconds)
    print(
        f"    {size / 1e6:.0f} MB over {rate / 1e6:.0f} MB/s: bundling alone {alone.seconds:.2f} s, "
        f"uploading alone {upload.seconds:.2f} s; without the link {after.seconds:.2f} s, nothing left to send "
        f"{again.seconds:.2f} s; peak memory {straight.memory >> 20} MiB straight, {upload.memory >> 20} MiB uploading",
        flush=True,
    )
    yield Line(
        name="bundle straight to S3", seconds=straight.seconds, against="the slower alone", limit=slower, aim=1.15
    )
    both = alone.seconds + after.seconds
    name = "bundle straight to S3, region on these cores"
    yield Line(name=name, seconds=near.seconds, against="one after the other", limit=both, aim=1)
    memory = max(straight.memory, upload.memory, near.memory)
    print(
        f"    peak memory {memory >> 20} MiB; aim {MEMORY >> 20}: {'within' if memory <= MEMORY else 'over'}",
        flush=True,
    )


def median(runs: int, act: Callable[[int], Job]) -> Job:
    done = [act(run) for run in range(runs)]
    return Job(seconds=statistics.median(each.seconds for each in done), memory=max(each.memory for each in done))


def job(home: Path, *arguments: str) -> Job:
    """Run a job of this module; its time, without that of Python's start and imports."""
    seconds, memory = jobs.job("tests.bench.bundles_s3", str(home), *arguments)
    return Job(seconds=seconds, memory=memory)


@contextmanager
def link(endpoint: str, rate: float) -> Iterator[str]:
    """The address of a link to the region, in a process of its own."""
    command = [sys.executable, "-m", "tests.support.links", endpoint, str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def perform(home: Path, name: str, *arguments: str) -> Callable[[], Any]:
    """A job, ready to be done: all that it needs is imported."""
    from builder.bundles import send, write
    from builder.bundles.contract import Description
    from builder.bundles.image import open_image
    from builder.cloud import buckets, session
    from builder.cloud.s3 import Bucket
    from builder.stages.contract import Surroundings

    def bucket(url: str) -> Bucket:
        surroundings = Surroundings(state=home, cache=home, trees=home, endpoint_url=url)
        return Bucket(client=session.client("s3", surroundings, "local"), name=BUCKET, account=ACCOUNT)

    said = Description(name="disk.img", account=ACCOUNT, architecture="x86_64")
    if name == "bucket":
        there = bucket(arguments[0])
        return lambda: buckets.ensure_bucket(there)
    if name == "upload":
        directory, there = Path(arguments[0]), bucket(arguments[1])
        return lambda: send.upload(directory / "disk.img.manifest.xml", there, arguments[2])
    keys = _keys()

    def bundle() -> object:
        with open_image(Path(arguments[0])) as image:
            return write.bundle_to_directory(image, said, keys, Path(arguments[1]), force=True)

    def straight(there: Bucket) -> object:
        with open_image(Path(arguments[0])) as image:
            return send.bundle_to_s3(image, said, keys, there, arguments[2])

    if name == "bundle":
        return bundle
    there = bucket(arguments[1])
    return lambda: straight(there)


def _keys() -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    from builder.bundles.contract import Keys

    key = rsa.generate_private_key(65537, 2048)
    return Keys(private_key=key, ec2=key.public_key())


if __name__ == "__main__":
    act = perform(Path(sys.argv[1]), *sys.argv[2:])
    start = time.perf_counter()
    act()
    print(json.dumps(time.perf_counter() - start))
