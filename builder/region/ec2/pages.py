"""MaxResults and NextToken."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from builder.region.errors import ServiceError

Item = TypeVar("Item")


def page(
    items: Sequence[Item], wanted: Mapping[str, Any], name_of: Callable[[Item], str], *, least: int, most: int
) -> tuple[Sequence[Item], dict[str, str]]:
    """One page, and the NextToken when there are more. A token names the last item seen: what is new since is kept."""
    limit = wanted.get("MaxResults")
    if limit is not None and not least <= limit <= most:
        raise ServiceError(
            "InvalidParameterValue",
            f"Value ( {limit} ) for parameter maxResults is invalid. Expecting a value between {least} and {most}.",
        )
    start = _start(items, wanted.get("NextToken"), name_of)
    end = len(items) if limit is None else start + limit
    shown = items[start:end]
    if end >= len(items):
        return shown, {}
    return shown, {"NextToken": urlsafe_b64encode(name_of(shown[-1]).encode()).decode()}


def _start(items: Sequence[Item], token: str | None, name_of: Callable[[Item], str]) -> int:
    if not token:
        return 0
    try:
        last = urlsafe_b64decode(token.encode()).decode()
    except ValueError:
        last = ""
    for position, item in enumerate(items):
        if name_of(item) == last:
            return position + 1
    raise ServiceError("InvalidNextToken", f"The token '{token}' is invalid or its page is gone")
