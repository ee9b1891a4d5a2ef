from collections.abc import Callable
from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from builder.cloud.patience import TRIES, Damaged, Patience, Verdict, patience_for, patiently, verdict
from builder.errors import RegionError


def refused(code: str, status: int = 400, reason: str = "", message: str = "no") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError({**answer, "Reason": reason}, "PutSnapshotBlock")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused("RequestThrottledException"), Verdict.SLOWER),
        (refused("ThrottlingException"), Verdict.SLOWER),
        (refused("ConcurrentLimitExceededException"), Verdict.SLOWER),
        (refused("503", 503), Verdict.SLOWER),
        (refused("ValidationException", reason="WRITE_REQUEST_TIMEOUT"), Verdict.SLOWER),
        (refused("ValidationException", message="Failed to read block data"), Verdict.SLOWER),
        (refused("InternalServerException", 500), Verdict.AGAIN),
        (refused("ValidationException", reason="CONFLICTING_BLOCK_UPDATE"), Verdict.AGAIN),
        (refused("ExpiredTokenException", 403), Verdict.RENEW),
        (refused("ResourceNotFoundException", 404), Verdict.NEVER),
        (refused("ValidationException"), Verdict.NEVER),
        (refused("AccessDeniedException", 403), Verdict.NEVER),
        (refused("ServiceQuotaExceededException", 402), Verdict.NEVER),
        (exceptions.ReadTimeoutError(endpoint_url="x"), Verdict.SLOWER),
        (exceptions.ConnectTimeoutError(endpoint_url="x"), Verdict.SLOWER),
        (exceptions.ConnectionClosedError(endpoint_url="x"), Verdict.AGAIN),
        (exceptions.EndpointConnectionError(endpoint_url="x"), Verdict.AGAIN),
        (exceptions.NoCredentialsError(), Verdict.NEVER),
        (ResponseParserError("no XML"), Verdict.AGAIN),
        (Damaged("other bytes"), Verdict.AGAIN),
    ],
    ids=str,
)
def test_verdicts(error: Exception, expected: Verdict) -> None:
    assert verdict(error) is expected


def test_what_was_made_a_moment_ago_may_not_be_seen_yet() -> None:
    assert verdict(refused("ResourceNotFoundException", 404), fresh=True) is Verdict.AGAIN


class Region:
    """A client that fails as told, on a clock that only sleeping moves."""

    class meta:
        endpoint_url = "https://ebs.us-east-1.amazonaws.com"
        region_name = "us-east-1"

        class service_model:
            service_name = "ebs"

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.calls, self.now = list(failures), 0, 0.0

    def act(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def tried(self, **more: Any) -> str:
        patience = Patience(clock=lambda: self.now, sleep=self.sleep, jitter=lambda low, high: high)
        return patiently(self.act, client=self, about="block 1", patience=more.pop("patience", patience), **more)


def test_failures_are_tried_again_and_heard_of() -> None:
    heard: list[Verdict] = []
    region = Region(refused("InternalServerException", 500), refused("ThrottlingException"), Damaged("x"))
    assert region.tried(heard=heard.append) == "done"
    assert heard == [Verdict.AGAIN, Verdict.SLOWER, Verdict.AGAIN]
    assert region.now == pytest.approx(0.1 + 0.2 + 0.4)


def test_it_ends_after_two_minutes_and_tells_how_often_it_was_tried() -> None:
    region = Region(*[refused("ThrottlingException") for _ in range(100)])
    with pytest.raises(RegionError) as caught:
        region.tried()
    assert 130 <= region.now < 145
    assert caught.value.brief == "block 1: the region is throttling requests, many tries long"
    assert caught.value.detail.endswith(f"It was tried {region.calls} times.")


def test_however_quick_it_is_tried_so_often() -> None:
    region = Region(*[Damaged("x") for _ in range(100)])
    patience = Patience(seconds=0, clock=lambda: 0.0, sleep=lambda seconds: None)
    with pytest.raises(RegionError, match="block 1: x"):
        region.tried(patience=patience)
    assert region.calls == TRIES


def test_what_no_trying_mends() -> None:
    region = Region(refused("ServiceQuotaExceededException", 402))
    with pytest.raises(RegionError, match="PutSnapshotBlock was refused: ServiceQuotaExceededException"):
        region.tried()
    assert region.calls == 1


@pytest.mark.parametrize(("renew", "calls"), [(lambda: True, 2), (lambda: False, 1)])
def test_credentials_that_expired(renew: Callable[[], bool], calls: int) -> None:
    region = Region(refused("ExpiredTokenException", 403))
    if calls == 2:
        assert region.tried(renew=renew) == "done"
    else:
        with pytest.raises(RegionError, match="block 1: your credentials have expired"):
            region.tried(renew=renew)
    assert region.calls == calls


def test_nothing_more_is_tried_when_it_is_stopped() -> None:
    region = Region(Damaged("x"), Damaged("x"))
    with pytest.raises(RegionError):
        region.tried(stopped=lambda: True)
    assert region.calls == 1


def test_on_this_machine_who_does_not_listen_is_not_waited_for() -> None:
    assert patience_for("http://127.0.0.1:5000").refused is False
    assert patience_for("https://ebs.us-east-1.amazonaws.com") == Patience()
    region = Region(exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"))
    with pytest.raises(RegionError, match="does not answer"):
        region.tried(patience=patience_for("http://127.0.0.1:1"))
    assert region.calls == 1
