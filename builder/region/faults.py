"""What the region does wrong on request, so that clients can be tried against it: PUT /_region/faults.

Rules are kept in memory and are gone with the process: a region that is started again does nothing wrong. No AWS call
reaches this, since no bucket has a name like that. docs/region.md lists what a rule can say.
"""

import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from builder.region.course import Course
from builder.region.errors import ServiceError

LARGEST = 1 << 20
OUTCOMES = ("completed", "error", "stalled")
# What each service says of it: code, message, what more is in its shape.
_REASONS = {"RequestThrottledException": "ACCOUNT_THROTTLED", "AccessDeniedException": "UNAUTHORIZED_ACCOUNT"}
_CODES: Mapping[str, Mapping[str, str]] = {
    "throttle": {
        "ec2": "RequestLimitExceeded",
        "ebs": "RequestThrottledException",
        "s3": "SlowDown",
        "ssm": "ThrottlingException",
        "sts": "Throttling",
        "servicequotas": "TooManyRequestsException",
        "iam": "Throttling",
        "kms": "ThrottlingException",
    },
    "deny": {
        "ec2": "UnauthorizedOperation",
        "ebs": "AccessDeniedException",
        "s3": "AccessDenied",
        "ssm": "AccessDeniedException",
        "sts": "AccessDenied",
        "servicequotas": "AccessDeniedException",
        "iam": "AccessDenied",
        "kms": "AccessDeniedException",
    },
    "error": {
        "ec2": "InternalError",
        "ebs": "InternalServerException",
        "s3": "InternalError",
        "ssm": "InternalServerError",
        "sts": "InternalFailure",
        "servicequotas": "ServiceException",
        "iam": "ServiceFailure",
        "kms": "KMSInternalException",
    },
    "expired": {
        "ec2": "RequestExpired",
        "ebs": "ExpiredTokenException",
        "s3": "ExpiredToken",
        "ssm": "ExpiredTokenException",
        "sts": "ExpiredToken",
        "servicequotas": "ExpiredTokenException",
        "iam": "ExpiredToken",
        "kms": "ExpiredTokenException",
    },
}
_MESSAGES = {
    "throttle": "Request limit exceeded.",
    "deny": "You are not authorized to perform this operation.",
    "error": "An internal error has occurred",
    "expired": "The security token included in the request is expired",
}
# Beside the codes: the connection ends before anything is done, or when all is done; the answer is late; its checksum
# is another block's; a course goes as it is said; a quota is another.
_OTHERS = ("reset", "lost", "delay", "checksum", "course", "quota")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing to do wrong. A pattern has * and ?, as in a shell."""

    fault: str
    service: str = "*"
    operation: str = "*"
    region: str = "*"
    times: int = 0
    """For how many requests; 0: for all."""
    after: int = 0
    """How many pass before."""
    share: float = 1.0
    """Of the requests that it is for."""
    code: str = ""
    message: str = ""
    seconds: float = 0.0
    """Of a delay, or of a course."""
    outcome: str = "completed"
    at: int = 100
    """The percentage where a course fails or stalls."""
    quota: str = ""
    value: float = 0.0

    def is_for(self, service: str, operation: str, region: str) -> bool:
        named = ((self.service, service), (self.operation, operation), (self.region, region))
        return all(fnmatchcase(name, pattern) for pattern, name in named)


@dataclass(slots=True)
class _Armed:
    rule: Rule
    met: int = 0
    done: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(0))


class Reset(ConnectionError):
    """The connection is to end without an answer."""


class Faults:
    """The rules that are in force. Thread-safe. A share is drawn from a fixed seed, so that equal runs are alike."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []

    @property
    def armed(self) -> bool:
        return bool(self._armed)

    def set(self, rules: list[Rule]) -> None:
        with self._lock:
            self._armed = [_Armed(each) for each in rules]

    def told(self) -> list[dict[str, Any]]:
        """The rules, with how many requests each was for (`met`) and how often it did something (`done`)."""
        with self._lock:
            return [{**asdict(each.rule), "met": each.met, "done": each.done} for each in self._armed]

    def before(self, service: str, operation: str, region: str) -> frozenset[str]:
        """Do what is to be done before the request is: delay it, refuse it (ServiceError), or cut it off (Reset). What
        is left to do to the answer is returned: `lost`, `checksum`."""
        left = set()
        for rule in self._drawn(service, operation, region, not_of=("course", "quota")):
            if rule.fault == "delay":
                time.sleep(rule.seconds)
            elif rule.fault == "reset":
                raise Reset("on request")
            elif rule.fault in _CODES:
                raise _refusal(rule, service)
            else:
                left.add(rule.fault)
        return frozenset(left)

    def denies(self, service: str, operation: str, region: str) -> bool:
        """Whether a request would be denied, whoever it comes from; it is not counted."""
        with self._lock:
            rules = [each.rule for each in self._armed if each.rule.fault == "deny"]
        return any(each.is_for(service, operation, region) for each in rules)

    def course(self, service: str, operation: str, region: str) -> Course:
        """How something that begins now goes on."""
        for rule in self._drawn(service, operation, region, of=("course",)):
            return Course(
                begun=time.time(), seconds=rule.seconds, outcome=rule.outcome, at=rule.at, reason=rule.message
            )
        return Course(begun=time.time())

    def quota(self, code: str, region: str, usual: float) -> float:
        with self._lock:
            rules = [each.rule for each in self._armed if each.rule.fault == "quota" and each.rule.quota == code]
        return next((each.value for each in rules if fnmatchcase(region, each.region)), usual)

    def _drawn(
        self, service: str, operation: str, region: str, *, of: tuple[str, ...] = (), not_of: tuple[str, ...] = ()
    ) -> Iterator[Rule]:
        with self._lock:
            drawn = []
            for each in self._armed:
                rule = each.rule
                if (of and rule.fault not in of) or rule.fault in not_of or not rule.is_for(service, operation, region):
                    continue
                each.met += 1
                spent = rule.times and each.done >= rule.times
                if each.met <= rule.after or spent or each.chance.random() >= rule.share:
                    continue
                each.done += 1
                drawn.append(rule)
        yield from drawn


def _refusal(rule: Rule, service: str) -> ServiceError:
    code = rule.code or _CODES[rule.fault].get(service, "InternalError")
    extra = {"Reason": _REASONS[code]} if service == "ebs" and code in _REASONS else {}
    return ServiceError(code, rule.message or _MESSAGES[rule.fault], extra)


def parse(text: bytes) -> list[Rule]:
    """Rules from JSON: a list of objects with the members of Rule. ValueError says what is wrong."""
    listed = json.loads(text)
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise ValueError("the rules are a list of objects")
    return [_rule(each) for each in listed]


def _rule(members: Mapping[str, Any]) -> Rule:
    kinds = {each.name: each.type for each in fields(Rule)}
    for name, value in members.items():
        if name not in kinds:
            raise ValueError(f'a rule has no "{name}"; it has {", ".join(kinds)}')
        wanted = {"str": (str,), "int": (int,), "float": (int, float)}[str(kinds[name].__name__)]  # type: ignore[union-attr]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ValueError(f'"{name}" is not of its type, {wanted[-1].__name__}')
    rule = Rule(**members)
    if rule.fault not in (*_CODES, *_OTHERS):
        raise ValueError(f'"{rule.fault}" is no fault; there are {", ".join((*_CODES, *_OTHERS))}')
    if rule.outcome not in OUTCOMES:
        raise ValueError(f'"{rule.outcome}" is no outcome; there are {", ".join(OUTCOMES)}')
    if not 0 <= rule.share <= 1 or not 0 <= rule.at <= 100 or min(rule.times, rule.after, rule.seconds) < 0:
        raise ValueError("a share is from 0 to 1, a percentage from 0 to 100, and a number not negative")
    return rule
