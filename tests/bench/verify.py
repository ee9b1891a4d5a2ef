"""verify beyond the start of libguestfs's appliance: a 2 GiB image of 9000 files with 430 MB in them."""

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from builder.host import appliance
from builder.host.directories import cache_directory
from builder.stages.verify.run import look
from tests.bench.lines import Line
from tests.support.bootable import make_tree

FILES, DIRECTORIES, BYTES, SIZE = 9000, 900, 430_000_000, 2 * 1024**3
BUDGET = 6


def rows(home: Path, runs: int) -> Iterator[Line]:
    """The least of a few runs of each: the start varies by more than is to be measured."""
    image = _image(home)
    cache = cache_directory() / "appliance"
    starts, looks = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            began = time.perf_counter()
            with appliance.opened([image], cache=cache, scratch=Path(scratch)):
                pass
            starts.append(time.perf_counter() - began)
            began = time.perf_counter()
            look(image, menu="/boot/grub/menu.lst", partitioned=False, cache=cache, scratch=Path(scratch))
            looks.append(time.perf_counter() - began)
    beyond = min(looks) - min(starts)
    yield Line(name="verify beyond the appliance's start", seconds=beyond, against="the budget", limit=BUDGET, aim=1)


def _image(home: Path) -> Path:
    tree, image = home / "verify-tree", home / "verify.raw"
    make_tree(tree)
    noise = random.Random(1)
    for number in range(FILES):
        path = tree / f"usr/share/d{number % DIRECTORIES}/f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.randbytes(BYTES // FILES))
    image.touch()
    os.truncate(image, SIZE)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^64bit,^metadata_csum", "-d", tree, image], check=True)
    return image
