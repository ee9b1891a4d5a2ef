"""Bundles taken apart: against the arithmetic of this machine, and against the classic pipeline.

    python -m tests.bench unbundle

Every run is a process of its own, so that its memory can be told; its
time is without Python's start.
"""

import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.formats.sparse import read_blocks
from tests.bench.lines import Line

GIB = 1 << 30
PIECE = 1 << 20
MEMORY = 200 << 20
KEY, IV = bytes(range(16)), bytes(range(16, 32))
DATA = 430_000_000  # bytes of a system


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle on the disk, and the image that is in it."""

    directory: Path
    image: Path
    private_key: Path

    @property
    def manifest(self) -> Path:
        return self.directory / "disk.img.manifest.xml"

    @property
    def parts(self) -> list[Path]:
        return sorted(self.directory.glob("*.part.*"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Seconds of one core for what cannot be left out."""

    parts: float
    decrypt: float
    inflate: float
    tar: float

    @property
    def total(self) -> float:
        return self.parts + self.decrypt + self.inflate + self.tar

    @property
    def limit(self) -> float:
        """On every core: a deflate stream is inflated by one, from its beginning to its end, whatever the others do."""
        return max(self.inflate, self.total / len(os.sched_getaffinity(0)))

    def __str__(self) -> str:
        return (
            f"SHA-1 of parts {self.parts:.2f} s, AES {self.decrypt:.2f} s, igzip {self.inflate:.2f} s, "
            f"SHA-1 of the tar stream {self.tar:.2f} s; all by the cores {self.limit:.2f} s"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a process took."""

    seconds: float
    memory: int
    """Its peak, in bytes."""


def rows(home: Path, runs: int) -> Iterator[Line]:
    """A system of 430 MB in 1 GiB, and 1 GiB of data in 10 GiB."""
    system = make_bundle(home / "system", make_system(home))
    # One after the other in every round, so that what else the machine does meets all of them.
    rounds = [
        (one_core(system), _run(system, "check").seconds, on_disk(system), unbundle(system), pipeline(system))
        for _ in range(runs)
    ]
    works, checks, disks, jobs, pipelines = zip(*rounds, strict=True)
    work = sorted(works, key=lambda each: each.limit)[runs // 2]
    print(f"    one core: {work}", flush=True)
    checked, disk, classic = (statistics.median(each) for each in (checks, disks, pipelines))
    seconds = statistics.median(each.seconds for each in jobs)
    yield Line(
        name="1 GiB, 430 MB of it data, checked", seconds=checked, against="the limit", limit=work.limit, aim=1.5
    )
    yield Line(
        name="the same, written and on the disk",
        seconds=seconds,
        against=f"the limit, or the disk's own {disk:.2f} s",
        limit=max(work.limit, disk),
        aim=1.5,
    )
    against = "cat | openssl | gunzip | tar, nothing checked"
    yield Line(name="unbundle 1 GiB", seconds=seconds, against=against, limit=classic, aim=0.5)
    large = make_bundle(home / "large", spread(home, system.image))
    pairs = [(one_core(large), unbundle(large)) for _ in range(runs)]
    yield Line(
        name="unbundle 10 GiB, 1 GiB of it data",
        seconds=statistics.median(each.seconds for _, each in pairs),
        against="SHA-1 of 10 GiB and the work of the data",
        limit=statistics.median(each.total for each, _ in pairs),
        aim=1,
    )
    memory = max(each.memory for each in (*jobs, *(each for _, each in pairs)))
    print(
        f"    peak memory {memory >> 20} MiB; aim {MEMORY >> 20}: {'within' if memory <= MEMORY else 'over'}",
        flush=True,
    )


# What is read.


def make_system(home: Path) -> Path:
    """1 GiB of ext3 that holds programs and libraries of this machine."""
    tree, image = home / "tree", home / "system.img"
    left = DATA
    for source in sorted(Path("/usr").rglob("*")):
        if left > 0 and source.is_file() and not source.is_symlink():
            target = tree / source.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            left -= source.stat().st_size
    image.touch()
    os.truncate(image, GIB)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext3", "-d", tree, image], check=True)
    shutil.rmtree(tree)
    return image


def spread(home: Path, system: Path) -> Path:
    """10 GiB with the data of a system twice and more, a piece in each GiB: 1 GiB in all, and holes between."""
    image = home / "large.img"
    with system.open("rb") as source, image.open("wb") as file:
        for number in range(10):
            file.seek(number * GIB + 512 * 1024)
            left = GIB // 10
            while left > 0:
                piece = source.read(PIECE)
                if not piece:
                    source.seek(0)
                elif any(piece):
                    file.write(piece)
                    left -= len(piece)
        file.truncate(10 * GIB)
    return image


def make_bundle(directory: Path, image: Path) -> Bundle:
    """By our own writer, which describes no holes: a reader has to find the zeros."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    from builder.bundles.contract import Description, Keys
    from builder.bundles.image import open_image
    from builder.bundles.write import bundle_to_directory
    from builder.formats.bundle_cipher import SessionKey

    directory.mkdir()
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "pk.pem").write_bytes(pem)
    said = Description(name="disk.img", account="123456789012", architecture="x86_64")
    with open_image(image) as opened:
        bundle_to_directory(
            opened, said, Keys(private_key=key, ec2=key.public_key()), directory, session=SessionKey(key=KEY, iv=IV)
        )
    return Bundle(directory=directory, image=image, private_key=directory / "pk.pem")


# What is measured.


def unbundle(bundle: Bundle) -> Job:
    """One run; the image is held against the one that went in."""
    done = _run(bundle, "unbundle")
    subprocess.run(["cmp", "--", bundle.image, _out(bundle)], check=True)
    if _out(bundle).stat().st_blocks > bundle.image.stat().st_blocks * 1.01 + 8:
        raise SystemExit("the image has lost its holes")
    _out(bundle).unlink()
    return done


def on_disk(bundle: Bundle) -> float:
    """What the image's data take to be written, and be on the disk, with no other work done: ours are synced too."""
    began = time.perf_counter()
    with bundle.image.open("rb") as source, _out(bundle).open("wb") as file:
        at = 0
        for block in read_blocks(source.fileno(), bundle.image.stat().st_size):
            if block.data is not None:
                os.pwrite(file.fileno(), block.data, at)
            at += block.length
        os.fsync(file.fileno())
    found = time.perf_counter() - began
    _out(bundle).unlink()
    return found


def _out(bundle: Bundle) -> Path:
    return bundle.directory / "out.img"


def _run(bundle: Bundle, act: str) -> Job:
    """This module as a process."""
    command = [sys.executable, "-m", "tests.bench.unbundle", act, bundle.manifest, bundle.private_key, _out(bundle)]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return Job(**json.loads(told))


def perform(act: str, manifest: Path, key: Path, out: Path) -> Job:
    """One run, with all that it needs imported."""
    from builder.bundles import read
    from builder.bundles.directory import DirectorySource
    from builder.formats.bundle_cipher import load_private_key

    private_key = load_private_key(key.read_bytes())
    source = DirectorySource(manifest.parent)
    out.unlink(missing_ok=True)
    began = time.perf_counter()
    if act == "check":
        read.check(manifest.read_bytes(), source, private_key)
    else:
        read.unbundle(manifest.read_bytes(), source, private_key, out)
    seconds = time.perf_counter() - began
    # Not of getrusage, which counts what the parent had when it started us.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return Job(seconds=seconds, memory=int(peak) * 1024)


PIPELINE = 'set -o pipefail; cat "$@" | openssl enc -d -aes-128-cbc -K "$KEY" -iv "$IV" | gunzip | tar xO > "$OUT"'


def pipeline(bundle: Bundle) -> float:
    """The public tools, and nothing held but gzip's CRC."""
    _out(bundle).unlink(missing_ok=True)
    settings = {**os.environ, "KEY": KEY.hex(), "IV": IV.hex(), "OUT": str(_out(bundle))}
    began = time.perf_counter()
    subprocess.run(["bash", "-c", PIPELINE, "pipeline", *bundle.parts], env=settings, check=True)
    found = time.perf_counter() - began
    _out(bundle).unlink()
    return found


def one_core(bundle: Bundle) -> Work:
    """Each library alone, in the pieces that it works in."""
    from cryptography.hazmat.primitives.ciphers import Cipher, modes
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from isal import igzip_lib

    cipher = b"".join(part.read_bytes() for part in bundle.parts)
    context = Cipher(AES(KEY), modes.CBC(IV)).decryptor()
    plain = context.update(cipher) + context.finalize()

    def sha1(pieces: Iterator[memoryview | bytes]) -> None:
        digest = hashlib.sha1(usedforsecurity=False)
        for piece in pieces:
            digest.update(piece)

    def decrypt() -> None:
        context = Cipher(AES(KEY), modes.CBC(IV)).decryptor()
        room = bytearray(PIECE + 16)
        for piece in _cut(cipher):
            context.update_into(piece, room)

    def inflate() -> Iterator[bytes]:
        inflater, pieces = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP), _cut(plain)
        while not inflater.eof:
            yield inflater.decompress(next(pieces) if inflater.needs_input else b"", PIECE)

    def timed(act: Callable[[], object]) -> float:
        began = time.perf_counter()
        act()
        return time.perf_counter() - began

    def drained() -> None:
        for _ in inflate():
            pass

    # A piece of the right size stands for the tar stream, which may not fit into memory.
    piece, count = bytes(range(256)) * (PIECE // 256), -(-bundle.image.stat().st_size // PIECE)
    return Work(
        parts=timed(lambda: sha1(_cut(cipher))),
        decrypt=timed(decrypt),
        inflate=timed(drained),
        tar=timed(lambda: sha1(piece for _ in range(count))),
    )


def _cut(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    return (view[at : at + PIECE] for at in range(0, len(view), PIECE))


if __name__ == "__main__":
    print(json.dumps(asdict(perform(sys.argv[1], *map(Path, sys.argv[2:])))))
