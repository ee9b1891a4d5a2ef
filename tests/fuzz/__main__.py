"""Fuzzes the readers of bundles.

    python -m tests.fuzz [--seconds N] [NAME ...]

Each target runs in a process of its own, from its seeds and from what earlier runs found interesting (.cache/fuzz). A
find is written beside that, and given back by: python -m tests.fuzz NAME --again FILE. `make fuzz` installs atheris,
which drives it, beside the virtual environment, not into it.
"""

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / ".cache/fuzz"
LONGEST = 20_000  # bytes of an input


def _drive(name: str, seconds: int) -> None:
    """In the target's own process; does not return."""
    import atheris

    with atheris.instrument_imports(include=["builder.formats"]):
        from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    options = (
        f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-len_control=0", "-timeout=20", "-verbosity=0",
        "-print_final_stats=1", f"-artifact_prefix={CORPUS}/{name}-",
    )  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.one)
    atheris.Fuzz()


def _again(name: str, path: Path) -> None:
    from tests.fuzz.targets import TARGETS

    TARGETS[name].one(path.read_bytes())


def main() -> int:
    names = ("manifest", "tar", "gzip", "unseal")
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names)}; all when left out")
    parser.add_argument("--seconds", type=int, default=60, help="for each")
    parser.add_argument("--again", type=Path, help="run one input that was found")
    parser.add_argument("--drive", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if arguments.again is not None:
        _again(*arguments.names, arguments.again)
        return 0
    if arguments.drive:
        _drive(*arguments.names, arguments.seconds)
    failed = []
    for name in arguments.names or names:
        print(f"{name}: {arguments.seconds} s", flush=True)
        command = [sys.executable, "-m", "tests.fuzz", name, "--drive", f"--seconds={arguments.seconds}"]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(name)
    print(f"found something in: {', '.join(failed)}" if failed else "nothing found")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
