"""A bench for recipes that the project ships, with what this machine has downloaded and made before."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from builder.host.directories import cache_directory
from builder.host.namespace import remove_tree
from builder.region import control
from tests.support.tiny import ROOT, Bench

DOWNLOADED = ("debs", "apt", "appliance")
SAVED_HOST = "machine"


@contextmanager
def shipped(
    name: str, *others: str, room: str, patience: float = 300.0, caches: Sequence[str] = DOWNLOADED
) -> Iterator[Bench]:
    """A bench whose recipe is the shipped one of this name, with `others` beside it. Its region is stopped and all of
    it removed at the end. `room`: a word for its directory's name; `caches`: those that are copied, if they are there.
    """
    bench = Bench(path=Path(tempfile.mkdtemp(prefix=f"ami-factory-{room}-")), name=name, patience=patience)
    cache = bench.path / "cache/ami-factory"
    cache.mkdir(parents=True)
    (bench.path / "recipes").mkdir()
    for each in (name, *others):
        shutil.copy(ROOT / f"recipes/{each}.toml", bench.path / "recipes")
    for each in caches:
        if (cache_directory() / each).is_dir():  # a saved host's memory is 6 GiB of holes
            subprocess.run(["cp", "-a", "--sparse=always", cache_directory() / each, cache], check=True)
    try:
        yield bench
    finally:
        control.stop(bench.path / "state/ami-factory/region")
        remove_tree(bench.path)
