"""Snapshots by the EBS direct API: begun, filled block by block, sealed, listed and read.

Blocks of 512 KiB, many at a time, each tried again as long as that may help. Memory is one block for each request that
is on its way, whatever the size of the volume.
"""

import base64
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from builder.cloud.ebs_wire import ALGORITHM, Wire
from builder.cloud.errors import Client, code_of, refused_with
from builder.cloud.pace import Pace
from builder.cloud.patience import Patience, Verdict, patience_for, patiently
from builder.errors import BuilderError, RegionError
from builder.formats.blocks import BLOCK_SIZE

T = TypeVar("T")

TIMEOUT = 60
"""Minutes without a block after which EBS gives a pending snapshot up: its own default."""
NOBODYS = "snap-00000000000000000"
"""The id of no snapshot."""
_PAGE = 10000
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "Forbidden"}
_STALE_TOKEN = "INVALID_BLOCK_TOKEN"


class Denied(RegionError):
    """The credentials have no right to the EBS direct API, or an organisation's policy forbids it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A StartSnapshot request: equal ones, by their token, make one snapshot."""

    volume_size: int
    """GiB"""
    token: str
    description: str
    tags: tuple[tuple[str, str], ...]
    parent: str = ""
    encrypted: bool = False
    kms_key: str = ""

    def request(self) -> dict[str, Any]:
        """Without what EBS refuses together: a parent decides the encryption."""
        asked: dict[str, Any] = {
            "VolumeSize": self.volume_size,
            "ClientToken": self.token,
            "Description": self.description,
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags],
            "ParentSnapshotId": self.parent,
            "Timeout": TIMEOUT,
        }
        if self.encrypted and not self.parent:
            asked |= {"Encrypted": True, "KmsKeyArn": self.kms_key}
        return {name: value for name, value in asked.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The blocks that a snapshot has, and what to ask for them with."""

    volume_size: int
    """GiB"""
    tokens: Mapping[int, str] = field(repr=False)
    expires: datetime | None = None


class Direct:
    """The EBS direct API of a region. `connect` makes a client, again when credentials have expired."""

    def __init__(
        self,
        connect: Callable[[], Client],
        *,
        patience: Patience | None = None,
        pace: Callable[[], Pace] = Pace,
    ) -> None:
        self._connect, self._pace = connect, pace
        self._wire = Wire(connect())
        self._patience = patience or patience_for(self._wire.client.meta.endpoint_url)
        self._lock = threading.Lock()

    def allowed(self) -> bool:
        """Whether the API is allowed: the end of a snapshot that there is not is asked for, which changes nothing."""
        try:
            self._call("complete_snapshot", {"SnapshotId": NOBODYS, "ChangedBlocksCount": 0}, "the EBS direct API")
        except Denied:
            return False
        except RegionError as error:
            if refused_with(error) not in ("ResourceNotFoundException", "ValidationException"):
                raise
        return True

    def start(self, begin: Begin) -> str:
        """StartSnapshot; the id. Denied, or what the region refuses."""
        return str(self._call("start_snapshot", begin.request(), "the snapshot")["SnapshotId"])

    def complete(self, snapshot: str, count: int, digests: Iterable[str]) -> None:
        """CompleteSnapshot: `digests` are those of all `count` blocks that were put, in the order of their indices
        (hex)."""
        asked: dict[str, Any] = {"SnapshotId": snapshot, "ChangedBlocksCount": count}
        if count:
            asked |= {"Checksum": linear(digests), "ChecksumAlgorithm": ALGORITHM}
            asked |= {"ChecksumAggregationMethod": "LINEAR"}
        self._call("complete_snapshot", asked, f"the snapshot {snapshot}")

    def blocks(self, snapshot: str) -> Listing:
        """The blocks of a completed snapshot; RegionError, too, when they are not of 512 KiB."""
        tokens: dict[int, str] = {}
        answer: Mapping[str, Any] = {}
        for answer in self._pages(snapshot):
            tokens |= {each["BlockIndex"]: each["BlockToken"] for each in answer.get("Blocks", ())}
        return Listing(volume_size=answer["VolumeSize"], tokens=tokens, expires=answer.get("ExpiryTime"))

    def indices(self, snapshot: str) -> Iterator[int]:
        """Those of `blocks` alone: of a large volume their tokens would take more memory than all else."""
        for answer in self._pages(snapshot):
            yield from (each["BlockIndex"] for each in answer.get("Blocks", ()))

    def _pages(self, snapshot: str) -> Iterator[Mapping[str, Any]]:
        about = f"the blocks of {snapshot}"
        asked: dict[str, Any] = {"SnapshotId": snapshot, "MaxResults": _PAGE}
        while True:
            answer = self._call("list_snapshot_blocks", asked, about)
            if answer.get("BlockSize", BLOCK_SIZE) != BLOCK_SIZE:
                raise RegionError(f"{about} have {answer['BlockSize']} bytes, and only {BLOCK_SIZE} is understood here")
            yield answer
            if not answer.get("NextToken"):
                return
            asked["NextToken"] = answer["NextToken"]

    def put(
        self,
        snapshot: str,
        blocks: Iterable[tuple[int, str]],
        read: Callable[[int], bytes],
        done: Callable[[int, str], None],
        *,
        fresh: bool = False,
    ) -> None:
        """Put blocks (index, hex digest); `done` hears of each once the region has it, in the order in which that
        happens, from any thread, but from one at a time.

        `read` gives the bytes of one, 512 KiB. BuilderError when they are not what the digest says. With `fresh` the
        snapshot was started a moment ago, and may not be seen everywhere yet. The first failure ends it.
        """

        def put(wire: Wire, block: tuple[int, str]) -> None:
            index, digest = block
            data = read(index)
            try:
                wire.put(snapshot, index, data, digest)
            except ClientError as error:
                if code_of(error) == "ValidationException" and hashlib.sha256(data).hexdigest() != digest:
                    raise BuilderError(
                        f"block {index} of the image is not what its list of blocks says",
                        hint="the image was changed after it was made: build it again with --rebuild image",
                    ) from error
                raise

        self._many(
            blocks,
            put,
            lambda block: f"block {block[0]} of {snapshot}",
            lambda block: done(*block),
            fresh=fresh,
        )

    def get(
        self,
        snapshot: str,
        listing: Listing,
        indices: Iterable[int],
        write: Callable[[int, bytes], None],
        done: Callable[[int], None],
    ) -> None:
        """Get blocks, give each to `write` (from any thread), and tell `done` its index then, from one at a time."""
        known, relisting = [listing], threading.Lock()

        def get(wire: Wire, index: int) -> None:
            used = known[0]
            try:
                data = wire.get(snapshot, index, used.tokens[index])
            except ClientError as error:
                if error.response.get("Reason") != _STALE_TOKEN:
                    raise
                with relisting:  # tokens are for some time only
                    if known[0] is used:
                        known[0] = self.blocks(snapshot)
                data = wire.get(snapshot, index, known[0].tokens[index])
            write(index, data)

        self._many(indices, get, lambda index: f"block {index} of {snapshot}", done)

    def _call(self, operation: str, asked: Mapping[str, Any], about: str) -> Mapping[str, Any]:
        used = self._wire

        def call() -> Mapping[str, Any]:
            nonlocal used
            used = self._wire
            answer: Mapping[str, Any] = getattr(used.client, operation)(**asked)
            return answer

        try:
            return patiently(
                call, client=used.client, about=about, patience=self._patience, renew=lambda: self._renew(used)
            )
        except RegionError as error:
            raise denied(error) or error from error.__cause__

    def _renew(self, expired: Wire) -> bool:
        """Other credentials than those that have expired, if there are any now: a file that was written anew."""
        with self._lock:
            if self._wire is expired:  # nobody was quicker
                made = self._connect()
                if _keys_of(made) == _keys_of(expired.client):
                    return False
                self._wire = Wire(made)
            return True

    def _many(
        self,
        items: Iterable[T],
        act: Callable[[Wire, T], None],
        about: Callable[[T], str],
        done: Callable[[T], None],
        *,
        fresh: bool = False,
    ) -> None:
        """Do `act` to every item, several at a time, and tell `done` of each."""
        pace = self._pace()
        crew = _Crew(pace)

        def one(item: T) -> None:
            used = self._wire

            def attempt() -> None:
                nonlocal used
                used = self._wire
                act(used, item)

            patiently(
                attempt,
                client=used.client,
                about=about(item),
                patience=self._patience,
                fresh=fresh,
                renew=lambda: self._renew(used),
                heard=lambda verdict: pace.slower() if verdict is Verdict.SLOWER else None,
                stopped=lambda: crew.stopped,
            )
            pace.succeeded()

        try:
            crew.work(iter(items), one, done)
        except RegionError as error:
            raise denied(error) or error from error.__cause__


class _Crew:
    """Threads that take items one by one, as many as the pace allows at the moment.

    Whoever has done an item says so itself, in its turn: to hand each one over to a thread that waits for it takes a
    third of the processor time that it takes to send it.
    """

    def __init__(self, pace: Pace) -> None:
        self.stopped = False
        self._pace = pace
        self._lock, self._telling = threading.Lock(), threading.Lock()
        self._running, self._over = 0, threading.Event()
        self._failure: BaseException | None = None

    def work(self, items: Iterator[T], act: Callable[[T], None], done: Callable[[T], None]) -> None:
        """`act` on every item, and then `done`, by one thread at a time, and never after this has returned. The first
        error of either ends it: what is on its way is waited for, and nothing more is begun."""
        left = False

        def labour() -> None:
            try:
                while (item := self._take(items)) is not None:
                    act(item[0])
                    with self._telling:
                        if not left:
                            done(item[0])
                    hire()
            except BaseException as error:
                with self._lock:
                    self.stopped, self._failure = True, self._failure or error
                    self._leave()

        def hire() -> None:
            if self._running < self._pace.limit and not self.stopped:
                with self._lock:
                    while 0 < self._running < self._pace.limit:
                        self._running += 1
                        threading.Thread(target=labour, name="ebs", daemon=True).start()

        self._running = 1
        threading.Thread(target=labour, name="ebs", daemon=True).start()
        try:
            hire()
            self._over.wait()
        finally:
            self.stopped = True
            with self._telling:
                left = True
        if self._failure is not None:
            raise self._failure

    def _take(self, items: Iterator[T]) -> tuple[T] | None:
        """The next item; None at the end, and for a thread that is one too many now: it is no more of the crew."""
        with self._lock:
            if not self.stopped and self._running <= self._pace.limit:
                for item in items:
                    return (item,)
            self._leave()
            return None

    def _leave(self) -> None:
        self._running -= 1
        if not self._running:
            self._over.set()


def linear(digests: Iterable[str]) -> str:
    """The aggregate checksum LINEAR: SHA-256 over the digests' bytes in the order of the indices, as base64."""
    total = hashlib.sha256()
    for each in digests:
        total.update(bytes.fromhex(each))
    return base64.b64encode(total.digest()).decode("ascii")


def denied(error: RegionError) -> Denied | None:
    """The same error as Denied, when the region refused for want of a right to this API.

    None when the right that is missing is to a key of KMS: who has no right to that has it by no other way either.
    """
    cause = error.__cause__
    if not isinstance(cause, ClientError) or code_of(cause) not in _DENIED:
        return None
    if cause.response.get("Reason") == "DEPENDENCY_ACCESS_DENIED":
        error.hint = "the credentials need rights to the KMS key: kms:GenerateDataKeyWithoutPlaintext, kms:Decrypt, "
        error.hint += "kms:DescribeKey and kms:CreateGrant"
        return None
    return Denied(error.brief, detail=error.detail, hint=error.hint)


def _keys_of(client: Client) -> tuple[str, str] | None:
    found = client._request_signer._credentials
    if found is None:
        return None
    frozen = found.get_frozen_credentials()
    return str(frozen.access_key), str(frozen.token)
