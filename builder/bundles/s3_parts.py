"""Parts of a bundle that go to S3 straight from memory, and come from there ahead of who reads them."""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from queue import SimpleQueue
from types import TracebackType
from typing import BinaryIO, TypeVar

from builder.bundles.contract import PartDigest
from builder.catalog.ec2_user import EC2_USER
from builder.cloud import buckets, s3, session
from builder.cloud.body import Body
from builder.cloud.s3 import Bucket
from builder.errors import BuilderError
from builder.formats.bundle_manifest import Part
from builder.formats.bundle_stream import PART_SIZE

T = TypeVar("T")
R = TypeVar("R")

PART_TYPE = "application/octet-stream"
MANIFEST_TYPE = "application/xml"
_EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"
CONNECTIONS = 4
"""Parts that are on their way at once."""
BUFFERS = CONNECTIONS + 2
"""Parts in memory at once: those on their way, one that waits, and the one that is being filled. 60 MiB."""


def key_of(prefix: str, name: str) -> str:
    """The key of a file of a bundle; a bundle may lie at the very top of a bucket."""
    return f"{prefix}/{name}" if prefix else name


def below(prefix: str) -> str:
    """What the keys below `prefix` begin with."""
    return f"{prefix}/" if prefix else ""


def in_parallel(work: Callable[[T], R], items: Sequence[T], stopped: threading.Event | None = None) -> Iterator[R]:
    """The results as they come, several requests at once. The first error ends it, or Ctrl-C: what has not begun never
    does, and `stopped` is set for what has."""
    with ThreadPoolExecutor(session.POOL, "s3") as pool:
        try:
            for each in as_completed([pool.submit(work, item) for item in items]):
                yield each.result()
        except BaseException:
            if stopped is not None:
                stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def store(
    bucket: Bucket,
    prefix: str,
    key: str,
    body: bytes | Body | BinaryIO,
    *,
    sha1: str,
    acl: str | None,
    content_type: str,
    new: bool = True,
) -> None:
    """Put a file of a bundle. RegionError with the remedies where the bucket takes no access lists.

    Taken when it is `new` and another file came to be there meanwhile: two bundles are never mixed, not even when they
    are sent at the same time. The same file may be there: a try of our own whose answer was lost.
    """
    try:
        s3.put(bucket, key, body, sha1=sha1, acl=acl, content_type=content_type, new=new)
    except s3.AclsRefused as error:
        raise buckets.no_acls(bucket, prefix, acl or "") from error
    except s3.Taken as error:
        there = s3.stored(bucket, key)
        if there is None or there.sha1 != sha1:
            raise s3.Taken(
                f"another bundle is being put below s3://{bucket.name}/{below(prefix)}",
                detail=f"{error.brief}, with other bytes; it was not a moment ago.",
                hint="two bundles must not be mixed: use another prefix",
            ) from error


def let_ec2_read(bucket: Bucket, keys: Sequence[str], acl: str | None) -> None:
    """Give objects that were there already the access list that lets EC2 read them, where they have it not."""
    reader = {"aws-exec-read": EC2_USER, "public-read": _EVERYBODY}.get(acl or "")
    if acl is None or reader is None:
        return

    def ensure(key: str) -> None:
        found = s3.readers(bucket, key)
        if found is not None and reader not in found:
            s3.set_acl(bucket, key, acl)

    for _ in in_parallel(ensure, keys):
        pass


def beside(bucket: Bucket, prefix: str) -> dict[str, s3.Listed]:
    """The objects directly below a prefix, by the rest of their names."""
    start = below(prefix)
    return {key.removeprefix(start): each for key, each in s3.listed(bucket, start, deep=False).items()}


class S3Sink:
    """Takes a bundle's parts and uploads each while later ones are made; nothing of them touches the disk.

    At most `BUFFERS` parts are held: `write` waits until one is free, which is the back-pressure. The first part that
    S3 refuses stops the producer, at its next `write` or `end`. A context manager: `keep` stores the manifest after
    all parts; without it what was sent is removed at the end, and `note` tells so.
    """

    def __init__(
        self,
        bucket: Bucket,
        prefix: str,
        names: Sequence[str],
        acl: str | None = "aws-exec-read",
        *,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._bucket, self._prefix, self._names, self._acl, self._note = bucket, prefix, names, acl, note
        self._free: SimpleQueue[bytearray | None] = SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(None)  # made when first needed: a small bundle takes little memory
        self._buffer: bytearray | None = None
        self._filled = 0
        self._failure: BaseException | None = None
        self._stopped = threading.Event()
        self._sent: list[str] = []
        self._working: list[Future[None]] = []
        self._kept = False
        self.length = 0

    def __enter__(self) -> "S3Sink":
        self._pool = ThreadPoolExecutor(CONNECTIONS, "part")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.stop()
        self._pool.shutdown(cancel_futures=True)
        if not self._kept:
            self._remove()

    def stop(self) -> None:
        """Have the producer stop at its next call, and end what is on its way. From any thread."""
        self._failure = self._failure or BuilderError("the bundle was stopped before it was whole")
        self._stopped.set()
        self._free.put(None)  # who waits for room waits no more

    def write(self, index: int, data: memoryview) -> None:
        del index  # parts come in order: it is the one that `end` tells
        self._raise_failure()
        if self._buffer is None:
            self._buffer = self._free.get() or bytearray(PART_SIZE)
            self._raise_failure()
        end = self._filled + len(data)
        if end > len(self._buffer):
            self._buffer.extend(bytes(end - len(self._buffer)))
        self._buffer[self._filled : end] = data
        self._filled = end

    def end(self, index: int, digest: PartDigest) -> None:
        self._raise_failure()
        buffer, filled = self._buffer or bytearray(), self._filled
        self._buffer, self._filled = None, 0
        key = key_of(self._prefix, self._names[index])
        self._sent.append(key)
        self.length += filled
        self._working.append(self._pool.submit(self._put, key, buffer, filled, digest.sha1))

    def keep(self, manifest_name: str, manifest: bytes) -> str:
        """Wait for the parts, then store the manifest; its key."""
        for each in self._working:
            each.result()
        key = key_of(self._prefix, manifest_name)
        self._sent.append(key)
        sha1 = hashlib.sha1(manifest, usedforsecurity=False).hexdigest()
        self._store(key, manifest, sha1, MANIFEST_TYPE)
        self._kept = True
        return key

    def _put(self, key: str, buffer: bytearray, length: int, sha1: str) -> None:
        try:
            if not self._stopped.is_set():
                with memoryview(buffer)[:length] as data, Body(data, self._stopped.is_set) as body:
                    self._store(key, body, sha1, PART_TYPE)
        except BaseException as error:
            self._failure = self._failure or error
            self.stop()
            raise
        finally:
            self._free.put(buffer)

    def _store(self, key: str, body: bytes | Body, sha1: str, content_type: str) -> None:
        try:
            store(self._bucket, self._prefix, key, body, sha1=sha1, acl=self._acl, content_type=content_type)
        except s3.Taken:
            self._sent.remove(key)  # somebody else's, which is not ours to remove
            raise

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _remove(self) -> None:
        """Take back what was sent; what cannot be is named."""
        if not self._sent:
            return
        try:
            s3.delete(self._bucket, list(reversed(self._sent)))
        except BuilderError as error:
            self._note(f"parts are left below s3://{self._bucket.name}/{below(self._prefix)}: {error.brief}")
            return
        self._note(f"removed what was sent to s3://{self._bucket.name}/{below(self._prefix)}: the bundle failed")


class S3Source:
    """Gives the parts that lie below a prefix, fetched ahead of the reader in the order of the manifest.

    Memory is bounded whatever the objects' sizes: what is fetched at a time are stretches of at most 10 MiB, `BUFFERS`
    of them. A connection that breaks goes on where it broke, and an object that is replaced meanwhile is refused.
    A context manager; without it the threads end with the process.
    """

    def __init__(self, bucket: Bucket, prefix: str, parts: Sequence[Part]) -> None:
        self._bucket, self._prefix, self._parts = bucket, prefix, tuple(parts)
        self._listed: dict[str, s3.Listed] | None = None
        self._pool = ThreadPoolExecutor(CONNECTIONS, "fetch")
        self._stopped = threading.Event()
        self._ahead: deque[tuple[tuple[str, int], Future[list[bytes]]]] = deque()
        self._planned: Iterator[tuple[str, int, int]] = iter(())

    def __enter__(self) -> "S3Source":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def lengths(self) -> dict[str, int]:
        """The bytes of every object directly below the prefix."""
        return {name: each.size for name, each in self._objects().items()}

    def read(self, part: Part) -> Iterator[bytes]:
        """The part in pieces of at most 1 MiB. Quickest in the manifest's order; any other works."""
        found = self._objects().get(part.filename)
        if found is None:
            key = key_of(self._prefix, part.filename)
            raise BuilderError(f"the part s3://{self._bucket.name}/{key} is not there")
        if found.size and (not self._ahead or self._ahead[0][0] != (part.filename, 0)):
            self._begin_at(part)
        left = found.size
        while left:
            self._fill()
            _, fetched = self._ahead.popleft()
            for piece in fetched.result():
                left -= len(piece)
                yield piece

    def _objects(self) -> dict[str, s3.Listed]:
        if self._listed is None:
            self._listed = beside(self._bucket, self._prefix)
        return self._listed

    def _begin_at(self, part: Part) -> None:
        self._drop()
        names = [each.filename for each in self._parts]
        at = names.index(part.filename) if part.filename in names else None
        self._planned = self._stretches([part.filename] if at is None else names[at:])
        self._fill()

    def _stretches(self, names: Iterable[str]) -> Iterator[tuple[str, int, int]]:
        for name in names:
            size = self._objects()[name].size if name in self._objects() else 0
            yield from ((name, at, min(PART_SIZE, size - at)) for at in range(0, size, PART_SIZE))

    def _fill(self) -> None:
        while len(self._ahead) < BUFFERS and (stretch := next(self._planned, None)) is not None:
            self._ahead.append((stretch[:2], self._pool.submit(self._fetch, *stretch)))

    def _fetch(self, name: str, start: int, length: int) -> list[bytes]:
        key, etag = key_of(self._prefix, name), self._objects()[name].etag
        pieces = []
        for piece in s3.read(self._bucket, key, start=start, length=length, etag=etag):
            if self._stopped.is_set():
                break
            pieces.append(piece)
        return pieces

    def _drop(self) -> None:
        for _, each in self._ahead:
            each.cancel()
        self._ahead.clear()
