"""Times the pipeline against bare tools in the same run, and prints medians and ratios.

    python -m tests.bench [--runs N] [NAME ...]

Names: cold, nothing, key, types, bundle, unbundle, bundles_s3, snapshot, verify. Needs recipes/quickstart.toml built
once (`make ami`): the repository is warm then.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from builder.host.directories import cache_directory
from builder.host.namespace import inside, remove_tree
from tests.bench import bundles as bundling
from tests.bench import bundles_s3 as to_s3
from tests.bench import snapshot as snapshots
from tests.bench import unbundle as unbundling
from tests.bench import verify as verifying
from tests.bench.lines import Line

ROOT = Path(__file__).parents[2]
FACTORY = Path(sys.executable).with_name("ami-factory")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{:043d} bench"

# Never the same key twice: an AMI that an earlier run registered would be found, and nothing would be built.
NUMBERS = itertools.count(time.time_ns())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A store of its own with the warm repository, and copies of the recipe to change."""

    home: Path
    runs: int

    def recipe(self, name: str, change: Callable[[str], str] = lambda text: text) -> Path:
        """A copy of the quickstart recipe with its lock, changed where the lock does not look."""
        folder = self.home / "recipes"
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.toml"
        path.write_text(change((ROOT / "recipes/quickstart.toml").read_text()))
        shutil.copy(ROOT / "recipes/quickstart.lock", path.with_suffix(".lock"))
        return path

    def store(self, name: str) -> Path:
        """A new store that holds the quickstart's repository and nothing else."""
        store = self.home / name
        repository = json.loads(self.factory("plan", "--offline", "--json", self.recipe("plan")))["recipes"][0][
            "steps"
        ][0]
        assert repository["stage"] == "repository"
        key = repository["key"]
        source = cache_directory() / "store/objects" / key[:2] / key
        shutil.copytree(source, store / "objects" / key[:2] / key)
        return store

    def factory(self, *arguments: str | Path, store: Path | None = None) -> str:
        """Run ami-factory; its stdout."""
        where = ["--store", store] if store else []
        done = subprocess.run(
            [FACTORY, *arguments, *where], capture_output=True, text=True, check=False, cwd=ROOT, env=environment()
        )
        if done.returncode:
            raise SystemExit(f"{arguments}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def timed(self, act: Callable[[], object], runs: int = 0) -> float:
        """The median of several runs."""
        return statistics.median(_seconds(act) for _ in range(runs or self.runs))


def environment() -> dict[str, str]:
    """The boot is a row of its own."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "AMI_FACTORY_BOOT": "none"}


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def nothing(bench: Bench) -> Iterator[Line]:
    """Nothing to do: up to the bundle, and with the one question to the region."""
    recipe = bench.recipe("nothing")
    store = bench.store("nothing")
    bench.factory("build", recipe, store=store)
    runs = max(bench.runs, 7)
    local = bench.timed(lambda: bench.factory("build", "--until", "bundle", recipe, store=store), runs)
    yield Line(name="nothing to do, --until bundle", seconds=local, against="the budget", limit=0.3, aim=1)
    full = bench.timed(lambda: bench.factory("build", recipe, store=store), runs)
    yield Line(name="nothing to do, the region asked once", seconds=full, against="the budget", limit=0.8, aim=1)


def key(bench: Bench) -> Iterator[Line]:
    """Another SSH key, a 1 GiB image: from the recipe to the registered AMI, without the time of verify."""
    store = bench.store("key")

    def changed() -> Path:
        line = f'[image]\nsize = "1GiB"\n[ssh]\nauthorized_keys = ["{KEY.format(next(NUMBERS))}"]\n'
        return bench.recipe("key", lambda text: text[: text.index("[ssh]")] + line + text[text.index("[register") :])

    bench.factory("build", changed(), store=store)
    found = []
    for _ in range(bench.runs):
        recipe = changed()
        # Up to the upload nothing waits for verify, and verify does not run; what is left is register.
        wall = _seconds(lambda recipe=recipe: bench.factory("build", "--until", "upload", recipe, store=store))
        report = json.loads(bench.factory("build", "--json", recipe, store=store))["recipes"][0]
        run = {each["label"]: each["milliseconds"] / 1000 for each in report["steps"] if each["action"] == "run"}
        assert set(run) == {"verify", "register"}, run
        found.append(wall + run["register"])
    seconds = statistics.median(found)
    yield Line(name="changed SSH key to a registered AMI", seconds=seconds, against="the budget", limit=6, aim=1)


def types(bench: Bench) -> Iterator[Line]:
    """Three instance types against one, both from warm packages and kernel."""
    store = bench.store("types")

    def build(kinds: str) -> None:
        line = f'[ssh]\nauthorized_keys = ["{KEY.format(next(NUMBERS))}"]\n'
        recipe = bench.recipe(
            "types",
            lambda text: (
                text[: text.index("[ssh]")].replace('["m1.small"]', kinds) + line + text[text.index("[register") :]
            ),
        )
        bench.factory("build", recipe, store=store)

    build('["m1.small"]')
    one = bench.timed(lambda: build('["m1.small"]'))
    three = bench.timed(lambda: build('["m1.small", "m1.large", "m1.xlarge"]'))
    yield Line(name="three instance types", seconds=three, against="one", limit=one, aim=2.2)


BARE = """
set -e
mkdir -p "$1/root" "$1/home"
printf '%%_dbpath /usr/lib/sysimage/rpm\\n' > "$1/home/.rpmmacros"
cat > "$1/dnf.conf" <<END
[main]
reposdir=/dev/null
cachedir=$1/cache
logdir=$1/log
install_weak_deps=False
gpgcheck=0
[quickstart]
name=quickstart
baseurl=file://$2
END
mkdir -p "$1/log"
env -i PATH="$PATH" HOME="$1/home" dnf -q -y -c "$1/dnf.conf" --installroot="$1/root" --releasever=12 install $3
mke2fs -q -t ext4 -d "$1/root" "$1/disk.raw" 1G
"""
LAUNCH = """
import guestfs, sys
g = guestfs.GuestFS(python_return_dict=True)
g.add_drive_opts(sys.argv[1], readonly=1, format="raw")
g.launch(); g.mount_ro("/dev/sda", "/"); g.ls("/"); g.close()
"""


def cold(bench: Bench) -> Iterator[Line]:
    """Store empty, repository warm, up to the image and on to the verified image; both against bare dnf, mke2fs -d and
    one guestfs launch. The bare tools make no initrd and read nothing of the image."""
    recipe = bench.recipe("cold")
    lock = json.loads(recipe.with_suffix(".lock").read_text())["architectures"]["x86_64"]
    names = " ".join(
        f"{p['name']}-{p['epoch']}:{p['version']}-{p['release']}" for p in lock["packages"] + lock["kernel_packages"]
    )
    numbers = iter(range(100))
    images, verified, bare, parts = [], [], [], []
    for _ in range(bench.runs):
        store = bench.store(f"cold{next(numbers)}")
        repository = next((store / "objects").glob("*/*"))
        image, verify = (
            _seconds(lambda store=store, stage=stage: bench.factory("build", "--until", stage, recipe, store=store))
            for stage in ("image", "verify")
        )
        images.append(image)
        verified.append(image + verify)
        parts.append({e["label"]: e["milliseconds"] / 1000 for e in _records(store)})
        place = Path(mkdtemp(dir=bench.home))
        script = inside(["sh", "-c", BARE, "bare", place, repository, names])
        install = _seconds(lambda script=script: subprocess.run(script, check=True, stdout=subprocess.DEVNULL))
        launch = _seconds(lambda place=place: _launch(place / "disk.raw"))
        bare.append(install + launch)
        remove_tree(place, store)
    limit, against = statistics.median(bare), "dnf, mke2fs and guestfs's launch"
    for name, found in (("cold build up to the image", images), ("cold build up to the verified image", verified)):
        yield Line(name=name, seconds=statistics.median(found), against=against, limit=limit, aim=1.25)
    shown = ", ".join(f"{label} {seconds:.1f}" for label, seconds in parts[-1].items())
    print(f"    of which: {shown}", flush=True)


def _records(store: Path) -> list[dict[str, object]]:
    records = [json.loads(path.read_text()) for path in (store / "objects").glob("*/*/object.json")]
    return [{"label": r["stage"], "milliseconds": r["milliseconds"]} for r in records if r["stage"] != "repository"]


def _launch(image: Path) -> None:
    cache = cache_directory() / "appliance"
    settings = {
        "LIBGUESTFS_BACKEND": "direct",
        "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg",
        "LIBGUESTFS_CACHEDIR": str(cache),
    }
    subprocess.run([sys.executable, "-c", LAUNCH, image], check=True, env={**environment(), **settings})


def boot(bench: Bench) -> Iterator[Line]:
    """The boot proof, whose phases are printed, against what its users are told to expect of a common machine."""
    recipe = bench.recipe("boot")
    proofs = [json.loads(bench.factory("boot", "--json", recipe))["proofs"][0] for _ in range(bench.runs)]
    middle = sorted(proofs, key=lambda each: int(each["milliseconds"]["off"]))[bench.runs // 2]["milliseconds"]
    print("    " + ", ".join(f"{phase} {at / 1000:.1f}" for phase, at in middle.items()), flush=True)
    for name, phase, budget in (("boot to SSH", "ssh", 40), ("the login gate", "off", 60)):
        yield Line(name=name, seconds=middle[phase] / 1000, against="the budget", limit=budget, aim=1)


def bundle(bench: Bench) -> Iterator[Line]:
    """An image bundled."""
    home = bench.home / "bundle"
    home.mkdir()
    yield from bundling.rows(home, bench.runs)


def unbundle(bench: Bench) -> Iterator[Line]:
    """A bundle taken apart."""
    home = bench.home / "unbundle"
    home.mkdir()
    yield from unbundling.rows(home, bench.runs)


def bundles_s3(bench: Bench) -> Iterator[Line]:
    """A bundle straight to S3."""
    home = bench.home / "bundles_s3"
    home.mkdir()
    yield from to_s3.rows(home, bench.runs)


def snapshot(bench: Bench) -> Iterator[Line]:
    """A snapshot's first upload, and the next one's."""
    home = bench.home / "snapshot"
    home.mkdir()
    yield from snapshots.rows(home, bench.runs)


def verify(bench: Bench) -> Iterator[Line]:
    """What verify adds to the start of its appliance."""
    home = bench.home / "verify"
    home.mkdir()
    yield from verifying.rows(home, bench.runs)


BENCHES: dict[str, Callable[[Bench], Iterator[Line]]] = {
    "nothing": nothing,
    "key": key,
    "types": types,
    "cold": cold,
    "boot": boot,
    "bundle": bundle,
    "unbundle": unbundle,
    "bundles_s3": bundles_s3,
    "snapshot": snapshot,
    "verify": verify,
}


@contextmanager
def _home() -> Iterator[Path]:
    """A directory on the store's own file system."""
    home = Path(mkdtemp(dir=cache_directory(), prefix="bench-"))
    try:
        yield home
    finally:
        remove_tree(home)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHES)}; all when left out")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; the median counts")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHES]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    if not (ROOT / "recipes/quickstart.lock").exists():
        raise SystemExit("run `make ami` first: the benchmarks start from a warm repository")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {arguments.runs} runs", flush=True)
    with _home() as home:
        for name in arguments.names or BENCHES:
            for line in BENCHES[name](Bench(home=home, runs=arguments.runs)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
