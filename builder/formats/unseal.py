"""A bundle's encrypted parts turned back into the image, in one pass, with everything checked that the manifest says.

    parts -> SHA-1 of each -> AES                      one thread
                              -> inflate               one thread
                                 -> SHA-1 of the tar   one thread
                                 -> tar -> image       the caller's thread

No byte is read twice and a few MiB are held at a time, whatever the bundle's size or what it claims to be. What has
come out before an error is worthless: nothing is proven before the end.
"""

import collections
import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from builder.errors import BuilderError
from builder.formats import gzip_reader, tar_reader
from builder.formats.bundle_cipher import Decryptor, SessionKey
from builder.formats.bundle_manifest import BundleManifest, Part
from builder.formats.part_lengths import check_lengths
from builder.formats.read_ahead import ReadAhead
from builder.formats.tar_reader import ImageSink

__all__ = ["ImageSink", "PartSource", "check_parts", "unseal"]

_TOLD_EVERY = 1 << 20
_HASHED_LATE = 4  # pieces of a MiB that wait for the digest at most


class PartSource(Protocol):
    """Gives the parts of a bundle, wherever they lie."""

    def lengths(self) -> Mapping[str, int]:
        """The bytes of every file beside the manifest that is a part by its name, asked for once."""
        ...

    def read(self, part: Part) -> Iterator[bytes]:
        """A part's bytes in pieces of at most 1 MiB; BuilderError naming the part when it is not there."""
        ...


Progress = Callable[[int, int], None]


def _silent(_done: int, _total: int) -> None:
    pass


def unseal(
    manifest: BundleManifest,
    source: PartSource,
    session: SessionKey,
    out: ImageSink,
    progress: Progress = _silent,
) -> None:
    """Decrypt the image into `out`. BuilderError names the first thing in the stream that is not as the manifest says.

    Held: presence, lengths, order and digests of the parts, gzip's CRCs, the tar stream's digest to its very end,
    exactly one member, the image's size. `progress` hears of the image's bytes, in the caller's thread.
    """
    lengths = check_lengths(manifest, source.lengths())
    parts = _Parts(manifest, source, lengths)
    told = _Told(out, manifest.size, progress)
    try:
        with (
            ReadAhead(_decrypt(parts, session), name="unbundle-parts") as packed,
            ReadAhead(_inflate(packed, manifest.size), name="unbundle-inflate") as plain,
            _Sha1() as digest,
        ):
            tar_reader.read_image(digest.of(plain), manifest.size, told)
            found = digest.hexdigest()
    except BuilderError:
        parts.settle()
        raise
    if found != manifest.digest:
        raise BuilderError(f"the tar stream in the bundle has the SHA-1 {found}, the manifest says {manifest.digest}")
    progress(manifest.size, manifest.size)


def check_parts(manifest: BundleManifest, source: PartSource, progress: Progress = _silent) -> None:
    """What can be known without a key: presence, lengths and digests of the parts. BuilderError as from `unseal`."""
    lengths = check_lengths(manifest, source.lengths())
    done = 0
    with ReadAhead(iter(_Parts(manifest, source, lengths)), name="parts") as pieces:
        for piece in pieces:
            done += len(piece)
            progress(done, manifest.bundled_size)


class _Parts:
    """The parts' bytes in order; the error about a part comes after its last byte."""

    def __init__(self, manifest: BundleManifest, source: PartSource, lengths: dict[str, int]) -> None:
        self._manifest = manifest
        self._source = source
        self._lengths = lengths
        self._current: Iterator[bytes] = iter(())
        self._failure: BuilderError | None = None

    def __iter__(self) -> Iterator[bytes]:
        for part in self._manifest.parts:
            self._current = self._read(part)
            try:
                # Not `yield from`: who stops taking leaves the part open for `settle`.
                for piece in self._current:  # noqa: UP028
                    yield piece
            except BuilderError as error:
                self._failure = error
                raise

    def settle(self) -> None:
        """Read the part in hand to its end, and raise what is wrong with it.

        Damage shows in what comes out of the stream before the part's digest is known, and is no news after that.
        """
        if self._failure is not None:
            raise self._failure
        collections.deque(self._current, maxlen=0)

    def _read(self, part: Part) -> Iterator[bytes]:
        digest = hashlib.sha1(usedforsecurity=False)
        length = 0
        for piece in self._source.read(part):
            digest.update(piece)
            length += len(piece)
            yield piece
        if length != self._lengths[part.filename]:
            raise BuilderError(
                f"part {part.filename} had {self._lengths[part.filename]} bytes and gave {length}: "
                "it changed while it was being read"
            )
        if digest.hexdigest() != part.sha1:
            raise self._damaged(part, digest.hexdigest())

    def _damaged(self, part: Part, found: str) -> BuilderError:
        detail = f"manifest: {part.sha1}\npart:     {found}"
        for other in self._manifest.parts:
            if other.sha1 == found:
                return BuilderError(f"part {part.filename} holds what belongs in {other.filename}", detail=detail)
        return BuilderError(
            f"part {part.filename} is damaged: its SHA-1 is not the one that the manifest gives", detail=detail
        )


def _decrypt(parts: _Parts, session: SessionKey) -> Iterator[bytes]:
    cipher = Decryptor(session)
    for piece in parts:
        yield bytes(cipher.update(piece))  # its buffer is used again
    yield cipher.finish()


def _inflate(packed: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The tar stream, which is hardly longer than its image: a bundle that inflates without end is stopped there."""
    return gzip_reader.inflate(packed, size + tar_reader.OVERHEAD)


class _Sha1:
    """The digest of a stream, worked out beside whoever takes it."""

    def __init__(self) -> None:
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._thread = ThreadPoolExecutor(1, "unbundle-sha1")
        self._pending: collections.deque[Future[None]] = collections.deque()

    def __enter__(self) -> "_Sha1":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def of(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if len(self._pending) == _HASHED_LATE:
                self._pending.popleft().result()
            self._pending.append(self._thread.submit(self._digest.update, piece))
            yield piece

    def hexdigest(self) -> str:
        while self._pending:
            self._pending.popleft().result()
        return self._digest.hexdigest()


class _Told:
    """A sink that tells how far it is."""

    def __init__(self, out: ImageSink, size: int, progress: Progress) -> None:
        self._out = out
        self._size = size
        self._progress = progress
        self._said = 0

    def write(self, offset: int, data: memoryview) -> None:
        self._out.write(offset, data)
        done = offset + len(data)
        if done - self._said >= _TOLD_EVERY:
            self._progress(done, self._size)
            self._said = done
