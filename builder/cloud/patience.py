"""What to do about a request that failed: try it again, go slower, renew the credentials, or give up.

botocore has such rules for the calls of its clients. These are for the requests that pass it by (cloud/ebs_wire.py),
of which an upload makes thousands at once, and for the few calls around them. Facts are from the error shapes of the
service model (ebs 2019-11-02), its words on error retries, and coldsnap's issue 43: for up to two minutes after
StartSnapshot a put may be told that there is no such snapshot.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from botocore import exceptions
from botocore.parsers import ResponseParserError

from builder.cloud.errors import Client, code_of, is_loopback, refusal, unanswered
from builder.errors import RegionError

R = TypeVar("R")

TRIES = 9
"""At least, however quickly they fail: with one request in five lost, one in two million is lost this often."""
_THROTTLED = {
    "BandwidthLimitExceeded",
    "ConcurrentLimitExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_AGAIN = {"InternalError", "InternalFailure", "InternalServerException", "RequestTimeout", "RequestTimeoutException"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_NOT_YET = {"ResourceNotFoundException", "InvalidSnapshot.NotFound"}
_SLOW_REASONS = {"WRITE_REQUEST_TIMEOUT"}
_AGAIN_REASONS = {"CONFLICTING_BLOCK_UPDATE"}
_UNREAD = "Failed to read block data"
_TIMEOUTS = (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError)


class Damaged(Exception):
    """What arrived is not what was sent, or the other way round; it says what, and may be tried again."""


class Verdict(Enum):
    """What a failure calls for."""

    AGAIN = "try it again"
    SLOWER = "try it again, and send less at a time"
    RENEW = "try it again with other credentials"
    NEVER = "give up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a request is tried: for so many seconds, and so many times however quickly it fails."""

    seconds: float = 130.0
    tries: int = TRIES
    refused: bool = True
    """Whether an address where nobody listens is worth another try."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[float, float], float] = random.uniform

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures: full jitter below a bound that doubles, 10 s at most."""
        return self.jitter(0.0, min(10.0, 0.05 * 2**failures))


def patience_for(endpoint: str | None) -> Patience:
    """Two minutes; of an endpoint on this machine, which answers or is not there, a few seconds."""
    return Patience(seconds=5.0, refused=False) if is_loopback(endpoint) else Patience()


def verdict(error: Exception, *, fresh: bool = False) -> Verdict:
    """`fresh`: what is asked for was made a moment ago, and may not be seen yet."""
    if isinstance(error, exceptions.ClientError):
        return _of_answer(error, fresh=fresh)
    if isinstance(error, _TIMEOUTS):
        return Verdict.SLOWER
    if isinstance(error, Damaged | ResponseParserError | exceptions.HTTPClientError | exceptions.ConnectionError):
        return Verdict.AGAIN
    return Verdict.NEVER


def passing(error: RegionError) -> bool:
    """Whether what a user would meet may be gone a moment later: the region was busy or faulty, a connection broke.
    Not where nobody answers at all."""
    cause = error.__cause__
    if not isinstance(cause, Exception) or isinstance(cause, exceptions.EndpointConnectionError):
        return False
    return verdict(cause) in (Verdict.AGAIN, Verdict.SLOWER)


def _of_answer(error: exceptions.ClientError, *, fresh: bool) -> Verdict:
    code, status = code_of(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    reason = str(error.response.get("Reason", ""))
    if code in _EXPIRED:
        return Verdict.RENEW
    if code in _THROTTLED or status in (429, 503) or reason in _SLOW_REASONS:
        return Verdict.SLOWER
    if code == "ValidationException" and _UNREAD in str(error):  # a block that came too slowly: nanovms/ops 1268
        return Verdict.SLOWER
    if code in _AGAIN or status >= 500 or reason in _AGAIN_REASONS or (fresh and code in _NOT_YET):
        return Verdict.AGAIN
    return Verdict.NEVER


def patiently(
    act: Callable[[], R],
    *,
    client: Client,
    about: str,
    patience: Patience,
    fresh: bool = False,
    renew: Callable[[], bool] = lambda: False,
    heard: Callable[[Verdict], None] = lambda verdict: None,
    stopped: Callable[[], bool] = lambda: False,
) -> R:
    """What `act` answers, tried until patience ends. RegionError about the last failure then, or the first for which
    trying again is of no use.

    `renew` gets other credentials, and says whether there are any. `heard` is told of every failure that is tried
    again. Nothing more is tried when it is `stopped`.
    """
    end, failures = patience.clock() + patience.seconds, 0
    while True:
        try:
            return act()
        except (exceptions.ClientError, exceptions.BotoCoreError, ResponseParserError, Damaged) as error:
            failures += 1
            what = verdict(error, fresh=fresh)
            given_up = failures >= patience.tries and patience.clock() >= end
            given_up |= isinstance(error, exceptions.EndpointConnectionError) and not patience.refused
            if what is Verdict.RENEW and not (failures < patience.tries and renew()):
                what = Verdict.NEVER
            if what is Verdict.NEVER or given_up or stopped():
                raise told(client, about, error, failures) from error
        heard(what)
        patience.sleep(patience.pause(failures))


def told(client: Client, about: str, error: Exception, tries: int) -> RegionError:
    """The failure as a user meets it."""
    if isinstance(error, exceptions.ClientError):
        found = refusal(client, about, error)
    elif isinstance(error, exceptions.BotoCoreError):
        found = unanswered(client.meta.endpoint_url, about, error)
    else:
        found = RegionError(f"{about}: {error}", hint="something between here and the region changes what is sent")
    if tries > 1:
        found.detail = "\n".join(part for part in (found.detail, f"It was tried {tries} times.") if part)
    return found
