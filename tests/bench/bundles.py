"""Bundles made: against the arithmetic of this machine, and against pipelines of public tools.

    python -m tests.bench bundle

Every run is a process of its own, under /usr/bin/time, which tells its peak memory; its time is without Python's start.
"""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builder.formats import gzip_stream
from builder.formats.bundle_cipher import Encryptor, SessionKey
from builder.formats.sparse import BLOCK, read_blocks
from tests.bench.lines import Line
from tests.bench.unbundle import make_system, spread

MEMORY = 200 << 20
KEY, IV = bytes(range(16)), bytes(range(16, 32))
MODULE = (sys.executable, "-m", "tests.bench.bundles")
_ZEROS = bytes(BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Seconds of one core for what cannot be left out."""

    tar: float
    deflate: float
    encrypt: float
    parts: float

    @property
    def total(self) -> float:
        return self.tar + self.deflate + self.encrypt + self.parts

    def __str__(self) -> str:
        return (
            f"SHA-1 of the tar stream {self.tar:.2f} s, igzip {self.deflate:.2f} s, AES {self.encrypt:.2f} s, "
            f"SHA-1 of parts {self.parts:.2f} s"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A bundle: how long it took, how large it is, and the most memory of the process, in bytes."""

    seconds: float
    size: int
    memory: int = 0


def rows(home: Path, runs: int) -> Iterator[Line]:
    """A system of 430 MB in 1 GiB, at both levels, and 1 GiB of data in 10 GiB."""
    image = make_system(home)
    cores = len(os.sched_getaffinity(0))
    # One after the other in every round, so that what else the machine does meets all of them.
    rounds = [
        (every_core(image), ours(image, "fast"), pipeline(image, "gzip"), ours(image, "small"), pigz(image))
        for _ in range(runs)
    ]
    works, fast, classic, small, packed = zip(*rounds, strict=True)
    work = sorted(works, key=lambda each: each.total)[runs // 2]
    print(f"    one core: {work}", flush=True)
    print(f"    fast {fast[0].size / 1e6:.1f} MB, small {small[0].size / 1e6:.1f} MB", flush=True)
    seconds, limit = _median(fast), work.total / cores
    yield Line(name="bundle 1 GiB, 430 MB of it data", seconds=seconds, against="the limit", limit=limit, aim=1.5)
    against = f"tar | gzip | openssl | split, {classic[0].size / 1e6:.1f} MB"
    yield Line(name="the same", seconds=seconds, against=against, limit=_median(classic), aim=0.1)
    against = f"the same with pigz -6, {packed[0].size / 1e6:.1f} MB"
    yield Line(name="the same, small", seconds=_median(small), against=against, limit=_median(packed), aim=1)
    large = spread(home, image)
    pairs = [(one_core(large), ours(large, "fast")) for _ in range(runs)]
    yield Line(
        name="bundle 10 GiB, 1 GiB of it data",
        seconds=_median([made for _, made in pairs]),
        against="SHA-1 of 10 GiB and the work of the data",
        limit=statistics.median(each.total for each, _ in pairs),
        aim=1,
    )
    for what, found in (("1 GiB", (*fast, *small)), ("10 GiB", [made for _, made in pairs])):
        peak = max(each.memory for each in found)
        verdict = "within" if peak <= MEMORY else "over"
        print(f"    peak memory, {what}: {peak >> 20} MiB; aim {MEMORY >> 20}: {verdict}", flush=True)


def _median(found: "tuple[Made, ...] | list[Made]") -> float:
    return statistics.median(each.seconds for each in found)


def every_core(image: Path) -> Work:
    """What `one_core` takes while every core does the same, which is what ours has too: the mean."""
    command = [*MODULE, "work", str(image)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in os.sched_getaffinity(0)]
    found = [json.loads(each.communicate()[0]) for each in running]
    return Work(**{what: statistics.mean(each[what] for each in found) for what in found[0]})


def ours(image: Path, level: str) -> Made:
    """This module as a process."""
    out, memory = _fresh(image.parent / "ours"), image.parent / "memory"
    command = ["/usr/bin/time", "--format=%M", f"--output={memory}", *MODULE, "bundle", str(image), str(out), level]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return Made(seconds=json.loads(told), size=_size(out), memory=int(memory.read_text()) * 1024)


def perform(image: Path, directory: Path, level: gzip_stream.Level) -> float:
    """One run, with all that it needs imported."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    from builder.bundles.contract import Description, Keys
    from builder.bundles.image import open_image
    from builder.bundles.write import bundle_to_directory

    key = rsa.generate_private_key(65537, 2048)
    said = Description(name="disk.img", account="123456789012", architecture="x86_64")
    keys = Keys(private_key=key, ec2=key.public_key())
    began = time.perf_counter()
    with open_image(image) as opened:
        bundle_to_directory(opened, said, keys, directory, level=level)
    return time.perf_counter() - began


PIPELINE = """
set -o pipefail
tar --create --directory "$(dirname "$1")" "$(basename "$1")" | tee >(sha1sum > "$2/tar.sha1") | $3 \
    | openssl enc -e -aes-128-cbc -K "$KEY" -iv "$IV" | split --bytes=10M --numeric-suffixes - "$2/disk.img.part."
sha1sum "$2"/disk.img.part.* > "$2/parts.sha1"
"""


def pipeline(image: Path, deflate: str) -> Made:
    """A bundle by public tools, but for its manifest."""
    out = _fresh(image.parent / "theirs")
    settings = {**os.environ, "KEY": KEY.hex(), "IV": IV.hex()}
    began = time.perf_counter()
    subprocess.run(["bash", "-c", PIPELINE, "pipeline", image, out, deflate], env=settings, check=True)
    return Made(seconds=time.perf_counter() - began, size=_size(out))


def pigz(image: Path) -> Made:
    return pipeline(image, "pigz -6")


def one_core(image: Path) -> Work:
    """Each library alone, one after the other, on the blocks of an image."""
    digest, parts = hashlib.sha1(usedforsecurity=False), hashlib.sha1(usedforsecurity=False)
    cipher = Encryptor(SessionKey(key=KEY, iv=IV))
    spent = dict.fromkeys(("tar", "deflate", "encrypt", "parts"), 0.0)

    def timed(what: str, act: Callable[..., Any], *arguments: Any) -> Any:
        began = time.perf_counter()
        done = act(*arguments)
        spent[what] += time.perf_counter() - began
        return done

    before = b"\0"
    with image.open("rb") as file:
        for block in read_blocks(file.fileno(), image.stat().st_size):
            data = block.data or _ZEROS[: block.length]
            timed("tar", digest.update, data)
            if block.data is None:
                packed = gzip_stream.deflate_zeros(block.length)
            else:
                packed = timed("deflate", gzip_stream.deflate, data, "fast", before)
            timed("parts", parts.update, timed("encrypt", cipher.update, packed.data))
            before = bytes(data[-gzip_stream.PRIMER :])
    return Work(**spent)


def _fresh(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def _size(directory: Path) -> int:
    return sum(each.stat().st_size for each in directory.glob("*.part.*"))


def _main(act: str, image: str, *rest: Any) -> Any:
    return asdict(one_core(Path(image))) if act == "work" else perform(Path(image), Path(rest[0]), rest[1])


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:])))
