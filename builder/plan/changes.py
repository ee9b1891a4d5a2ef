"""Says in words what differs between two specs: the reason why a step runs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def changes(old: Any, new: Any) -> tuple[str, ...]:
    """One line for each field that differs, by its dotted path; empty when equal."""
    return tuple(_changes("", old, new))


def _changes(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            place = f"{path}.{name}" if path else name
            if (name in old) != (name in new):
                yield f"{place}: {'added' if name in new else 'removed'}"
            else:
                yield from _changes(place, old[name], new[name])
    elif isinstance(old, list) and isinstance(new, list):
        yield f"{path}: {_list_change(old, new)}"
    elif isinstance(old, str) and isinstance(new, str) and ("\n" in old + new or len(old) + len(new) > 120):
        yield f"{path}: text changed"
    elif old is None or new is None:
        yield f"{path}: {'added' if old is None else 'removed'}"
    else:
        yield f"{path}: {_show(old)} to {_show(new)}"


def _list_change(old: Sequence[Any], new: Sequence[Any]) -> str:
    names_old, names_new = _named(old), _named(new)
    if names_old is not None and names_new is not None:
        added = [name for name in names_new if name not in names_old]
        removed = [name for name in names_old if name not in names_new]
        changed = [name for name in names_new if name in names_old and names_new[name] != names_old[name]]
        parts = [_count(changed, "changed"), _count(added, "added"), _count(removed, "removed")]
    else:
        parts = [
            _count([each for each in new if each not in old], "added", name=False),
            _count([each for each in old if each not in new], "removed", name=False),
        ]
    said = ", ".join(part for part in parts if part)
    return said or "order changed"


def _named(items: Sequence[Any]) -> dict[str, Any] | None:
    """Items by what they are called, if they have names."""
    named: dict[str, Any] = {}
    for each in items:
        if isinstance(each, Mapping):
            name = each.get("name") or each.get("destination") or each.get("id")
        elif isinstance(each, list) and len(each) == 2 and isinstance(each[0], str):
            name = each[0]
        else:
            return None
        if not isinstance(name, str) or name in named:
            return None
        named[name] = each
    return named if named or not items else None


def _count(items: Sequence[Any], what: str, *, name: bool = True) -> str:
    if not items:
        return ""
    if name and len(items) <= 3:
        return f"{len(items)} {what} ({', '.join(items)})"
    return f"{len(items)} {what}"


def _show(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if len(text) == 64 and all(c in "0123456789abcdef" for c in text):
        return text[:12]
    return text if text else '""'
