"""What may stand as the address of an endpoint."""

from urllib.parse import urlsplit

from builder.errors import RecipeError


def endpoint(text: str | None) -> str | None:
    """The address of an endpoint. It stands in keys and messages, so it must not hold a password."""
    if text is None:
        return None
    if "@" in text:
        raise RecipeError("--endpoint-url holds a user name", hint="credentials come from the environment or --profile")
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, brackets that do not match
        good = False
    if not good or not text.isascii() or not text.isprintable() or " " in text:
        raise RecipeError(f"--endpoint-url: {text!r} is not an address", hint="write one such as http://127.0.0.1:5000")
    return text.rstrip("/")
