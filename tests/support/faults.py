"""What a local region is told to do wrong."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def control(endpoint_url: str, method: str = "GET", rules: Any = None) -> Any:
    """Ask /_region/faults; what it answers."""
    body = None if rules is None else json.dumps(rules).encode()
    request = urllib.request.Request(f"{endpoint_url}/_region/faults", data=body, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


@contextmanager
def faults(endpoint_url: str, *rules: dict[str, Any]) -> Iterator[None]:
    """The rules are in force inside, and no others."""
    control(endpoint_url, "PUT", list(rules))
    try:
        yield
    finally:
        control(endpoint_url, "DELETE")
