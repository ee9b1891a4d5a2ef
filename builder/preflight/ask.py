"""Asks the questions: all at once, each on its own. What one of them meets is its answer, and stops no other."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builder.catalog.regions import LOCAL_REGIONS
from builder.cloud import (
    buckets,
    ec2,
    encryption,
    instance_types,
    kernel_images,
    limits,
    patience,
    rights,
    session,
    sts,
)
from builder.cloud.ebs import Direct
from builder.cloud.errors import Client, refused_with
from builder.cloud.s3 import Bucket
from builder.cloud.session import Surroundings
from builder.errors import BuilderError, RegionError
from builder.formats import bundle_cipher
from builder.preflight import question as q

WORKERS = 12
_HOMES = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
"""Regions that every account of a partition can use: others are asked about there."""
_COUNTED: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "AMIs": ("describe_images", "Images", {"Owners": ["self"]}),
    "public AMIs": (
        "describe_images",
        "Images",
        {"Owners": ["self"], "Filters": [{"Name": "is-public", "Values": ["true"]}]},
    ),
    "snapshots": ("describe_snapshots", "Snapshots", {"OwnerIds": ["self"]}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no answer."""

    brief: str
    detail: str = ""
    hint: str = ""
    code: str = ""
    """AWS's error code; "" where nothing answered."""
    passing: bool = False
    """It may be gone a moment later."""
    local: bool = False
    """It is this machine's fault, or the recipe's, not the region's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A quota, and how much of it is used; None where it is not known, or not counted."""

    quota: float | None
    used: limits.Used | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question and what came of it: an answer, whose type follows from the question's, or a failure."""

    question: q.Question
    answer: Any = None
    failure: Failure | None = None


class Clients:
    """The clients of a region, each made when it is first asked for. Safe to share between threads."""

    def __init__(
        self, surroundings: Surroundings, place: q.Place, connect: Callable[..., Client] = session.client
    ) -> None:
        self._surroundings, self.place, self._connect = surroundings, place, connect
        self._made: dict[tuple[str, str], Client] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def of(self, service: str, region: str = "") -> Client:
        name = service, region or self.place.region
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._made:
                self._made[name] = self._connect(service, self._surroundings, name[1], hasty=True)
            return self._made[name]

    def home(self) -> Client:
        """EC2, where it can be asked about other regions."""
        if self._surroundings.endpoint_url or self.place.region in LOCAL_REGIONS:
            return self.of("ec2")
        return self.of("ec2", _HOMES.get(self.place.partition, self.place.region))


def ask(questions: Sequence[q.Question], clients: Clients, *, caller: str = "") -> tuple[Asked, ...]:
    """Every question with its answer, in their order. `caller`: the ARN of who asks, once it is known."""
    if not questions:
        return ()
    with ThreadPoolExecutor(min(WORKERS, len(questions)), "preflight") as pool:
        return tuple(pool.map(lambda each: _asked(each, clients, caller), questions))


def _asked(question: q.Question, clients: Clients, caller: str) -> Asked:
    try:
        return Asked(question=question, answer=_ANSWERS[type(question)](question, clients, caller))
    except BuilderError as error:
        return Asked(question=question, failure=failure(error))


def failure(error: BuilderError) -> Failure:
    """What a question met, as plain data."""
    found = Failure(brief=error.brief, detail=error.detail, hint=error.hint, local=True)
    if isinstance(error, RegionError):
        return replace(found, code=refused_with(error), passing=patience.passing(error), local=False)
    return found


def _who(question: q.WhoAsks, clients: Clients, caller: str) -> sts.Caller:
    return sts.caller(clients.of("sts"), clients.place.region)


def _open(question: q.RegionOpen, clients: Clients, caller: str) -> str | None:
    home = clients.home()
    # The local region plays one of EC2's, under that region's name.
    return kernel_images.opted_in(home, home.meta.region_name if question.region in LOCAL_REGIONS else question.region)


def _dry_run(question: q.DryRun, clients: Clients, caller: str) -> rights.Verdict:
    return rights.dry_run(clients.of("ec2"), question.operation, question.request, question.needed)


def _allowed(question: q.Allowed, clients: Clients, caller: str) -> Mapping[str, str] | None:
    return rights.simulate(clients.of("iam"), caller, question.actions, question.resource)


def _bucket(question: q.BucketFit, clients: Clients, caller: str) -> bool:
    """Whether it is there; a bucket that will not do is a failure."""
    bucket = Bucket(client=clients.of("s3"), name=question.bucket, account=question.account)
    there = buckets.is_there(bucket)
    if there and question.acl:
        buckets.readable_acl(bucket, question.prefix, question.acl)
    return there


def _blocks(question: q.BlocksReached, clients: Clients, caller: str) -> bool:
    return Direct(lambda: clients.of("ebs"), patience=patience.Patience(seconds=0, tries=3, refused=False)).allowed()


def _limit(question: q.Limit, clients: Clients, caller: str) -> Room:
    quota = limits.quota(clients.of("service-quotas"), question.service, question.code)
    if quota is None or question.what not in _COUNTED:
        return Room(quota=quota)
    operation, member, request = _COUNTED[question.what]
    used = limits.count(clients.of("ec2"), operation, member, request, f"the {question.what} of your account")
    return Room(quota=quota, used=used)


def _name(question: q.NameFree, clients: Clients, caller: str) -> ec2.Image | None:
    return ec2.image_by_name(clients.of("ec2"), question.name)


def _kernel(question: q.KernelThere, clients: Clients, caller: str) -> kernel_images.KernelImage | None:
    return kernel_images.kernel_image(clients.of("ec2"), question.image_id)


def _type(question: q.TypeRuns, clients: Clients, caller: str) -> instance_types.Offered | None:
    return next(iter(instance_types.offered(clients.of("ec2"), (question.instance_type,))), None)


def _key(question: q.KeyUsable, clients: Clients, caller: str) -> encryption.Key | None:
    name = question.arn or encryption.default_key(clients.of("ec2"))
    return encryption.describe_key(clients.of("kms"), name)


def _anyway(question: q.EncryptedAnyway, clients: Clients, caller: str) -> bool:
    return encryption.by_default(clients.of("ec2"))


def _pair(question: q.PairFits, clients: Clients, caller: str) -> bool:
    try:
        certificate, key = Path(question.certificate).read_bytes(), Path(question.private_key).read_bytes()
    except OSError as error:
        raise BuilderError(f"{error.filename} cannot be read: {error.strerror}", hint="check the path") from error
    private = bundle_cipher.load_private_key(key, f"the private key {question.private_key}")
    bundle_cipher.load_public_key(certificate, f"the certificate {question.certificate}")
    return bundle_cipher.fits(private, certificate)


_ANSWERS: Mapping[type[q.Question], Callable[[Any, Clients, str], Any]] = {
    q.WhoAsks: _who,
    q.RegionOpen: _open,
    q.DryRun: _dry_run,
    q.Allowed: _allowed,
    q.BucketFit: _bucket,
    q.BlocksReached: _blocks,
    q.Limit: _limit,
    q.NameFree: _name,
    q.KernelThere: _kernel,
    q.TypeRuns: _type,
    q.KeyUsable: _key,
    q.EncryptedAnyway: _anyway,
    q.PairFits: _pair,
}
