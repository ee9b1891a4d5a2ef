"""Bucket policies of S3, as far as they tell who may read an object: JSON in, an answer out.

Only what decides whether a bundle can be read is looked at: effect, principal, action, resource. A statement with
conditions gives nothing, since who asks here does not know whether they will hold; nor does it take anything away.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from builder.errors import BuilderError


def allows(policy: str, *, canonical_user: str, action: str, resource: str) -> bool:
    """Whether the policy lets a canonical user, or everybody, do `action` (s3:GetObject) with `resource` (an ARN).

    `resource` may end in `*`: then all that begins with it must be allowed, by one statement.
    """

    def concerns(statement: Mapping[str, Any]) -> bool:
        return (
            not statement.get("Condition")
            and not _named(statement).isdisjoint({canonical_user, _EVERYBODY})
            and any(_matches(pattern, action, fold=True) for pattern in _texts(statement.get("Action")))
            and any(_matches(pattern, resource) for pattern in _texts(statement.get("Resource")))
        )

    effects = {str(each.get("Effect")) for each in statements(policy) if concerns(each)}
    return effects == {"Allow"}


def is_public(policy: str) -> bool:
    """Whether any statement gives something to everybody."""
    return any(
        each.get("Effect") == "Allow" and not each.get("Condition") and _EVERYBODY in _named(each)
        for each in statements(policy)
    )


def granting(bucket: str, prefix: str, canonical_user: str, partition: str = "aws") -> str:
    """A policy that lets a user read everything below `prefix`, in one line."""
    statement = {
        "Sid": "ReadBundles",
        "Effect": "Allow",
        "Principal": {"CanonicalUser": canonical_user},
        "Action": "s3:GetObject",
        "Resource": f"arn:{partition}:s3:::{bucket}/{prefix}/*" if prefix else f"arn:{partition}:s3:::{bucket}/*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def statements(policy: str) -> tuple[Mapping[str, Any], ...]:
    """The statements of a policy; BuilderError when it is none."""
    try:
        found = json.loads(policy)["Statement"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BuilderError("the bucket policy is not one: no JSON object with a Statement") from error
    listed = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) for each in listed):
        raise BuilderError("the bucket policy is not one: a statement is no JSON object")
    return tuple(listed)


_EVERYBODY = "*"


def _named(statement: Mapping[str, Any]) -> set[str]:
    """Canonical users and `*`; principals of other kinds cannot be the one that is asked about."""
    principal = statement.get("Principal")
    if isinstance(principal, dict):
        return {*_texts(principal.get("CanonicalUser"))} | ({_EVERYBODY} & {*_texts(principal.get("AWS"))})
    return {_EVERYBODY} & {*_texts(principal)}


def _texts(value: object) -> Iterator[str]:
    yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))


def _matches(pattern: str, text: str, *, fold: bool = False) -> bool:
    """IAM's wildcards: `*` is anything, `?` one character; actions are the same in either case."""
    expression = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern)
    return re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if fold else 0)) is not None
