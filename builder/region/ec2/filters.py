"""EC2's filters: several values are alternatives, several filters must all hold; * and ? are wildcards."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from builder.region.errors import ServiceError

Item = TypeVar("Item")
Values = Callable[[Item], Iterable[str]]


def pattern_of(value: str) -> re.Pattern[str]:
    r"""A filter value: `*` any characters, `?` one character, `\` takes the meaning of the next one away."""
    pieces = []
    for escaped, wildcard, plain in re.findall(r"(?s)\\(.)|([*?])|(.)", value):
        pieces.append({"*": ".*", "?": "."}[wildcard] if wildcard else re.escape(escaped or plain))
    return re.compile("".join(pieces), re.DOTALL)


def matching(
    items: Iterable[Item],
    filters: Sequence[Mapping[str, Any]],
    values: Mapping[str, Values[Item]],
    tags: Callable[[Item], Mapping[str, str]] | None = None,
) -> list[Item]:
    """The items that pass. `values` says for each filter's name what an item has; `tags` serves `tag:KEY`."""
    tests = []
    for each in filters:
        name, wanted = each.get("Name"), each.get("Values") or ()
        if not name or not wanted:
            raise ServiceError("InvalidParameterValue", "A filter has a name and at least one value")
        if len(wanted) > 200:
            raise ServiceError(
                "FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200"
            )
        found = _values_of(str(name), values, tags)
        tests.append((found, [pattern_of(value) for value in wanted]))
    return [item for item in items if all(_passes(found(item), patterns) for found, patterns in tests)]


def _values_of(
    name: str, values: Mapping[str, Values[Item]], tags: Callable[[Item], Mapping[str, str]] | None
) -> Values[Item]:
    if name in values:
        return values[name]
    if tags is not None and name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda item: [tags(item)[key]] if key in tags(item) else []
    raise ServiceError("InvalidParameterValue", f"The filter '{name}' is invalid")


def _passes(found: Iterable[str], patterns: Sequence[re.Pattern[str]]) -> bool:
    return any(pattern.fullmatch(value) for value in found for pattern in patterns)
