"""Lists of keys: in the order of their UTF-8 bytes, a page at a time, common prefixes skipped and not walked."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from builder.region.errors import ServiceError
from builder.region.s3 import access
from builder.region.s3.call import Call, Result, find_bucket, limit_of, time_of
from builder.region.state import Row, State

# Sorts behind every key with the same beginning; no key holds it, since UTF-8 ends here.
LAST = "\U0010ffff"
# Rows that are read at a time when common prefixes may skip most of them.
BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    rows: tuple[Row, ...]
    prefixes: tuple[str, ...]
    last: str
    more: bool


def page_of(state: State, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int) -> Page:
    """Up to `limit` keys and common prefixes that come after `after`. Python orders text as UTF-8 orders its bytes."""
    rows: list[Row] = []
    prefixes: list[str] = []
    position = after
    while len(rows) + len(prefixes) <= limit:
        batch = state.rows(
            "SELECT * FROM objects WHERE bucket = ? AND key > ? AND key >= ? ORDER BY key LIMIT ?",
            (bucket, position, prefix, BATCH if delimiter else limit + 1),
        )
        if not batch:
            break
        for row in batch:
            key = row["key"]
            if not key.startswith(prefix):
                return _page(rows, prefixes, limit)
            if key <= position:
                continue  # below a common prefix that is listed
            common = _common_prefix(key, prefix, delimiter)
            if common is None:
                rows.append(row)
            elif common != after.removesuffix(LAST):
                prefixes.append(common)
            position = key if common is None else common + LAST
            if len(rows) + len(prefixes) > limit:
                break
    return _page(rows, prefixes, limit)


def _page(rows: list[Row], prefixes: list[str], limit: int) -> Page:
    """Cut off what is beyond the limit: at most one entry, the last in order, which tells that there is more."""
    names = sorted([row["key"] for row in rows] + prefixes, key=str.encode)
    kept = set(names[:limit])
    last = names[:limit][-1] if kept else ""
    return Page(
        rows=tuple(row for row in rows if row["key"] in kept),
        prefixes=tuple(each for each in prefixes if each in kept),
        last=last + LAST if last in prefixes else last,
        more=len(names) > limit,
    )


def _common_prefix(key: str, prefix: str, delimiter: str) -> str | None:
    if not delimiter:
        return None
    end = key.find(delimiter, len(prefix))
    return None if end < 0 else key[: end + len(delimiter)]


def _encoder(parameters: Mapping[str, Any]) -> Any:
    return quote if parameters.get("EncodingType") == "url" else str


def _contents(page: Page, encode: Any, *, with_owner: bool) -> list[dict[str, Any]]:
    owner = {"Owner": access.OWNER} if with_owner else {}
    return [
        {
            "Key": encode(row["key"]),
            "LastModified": time_of(row["modified"]),
            "ETag": f'"{row["etag"]}"',
            "Size": row["size"],
            "StorageClass": "STANDARD",
            **owner,
        }
        for row in page.rows
    ]


def _read(call: Call, after: str, limit: int) -> Page:
    bucket = find_bucket(call)
    if call.anonymous and not access.anyone_may("READ", bucket["acl"], bucket):
        raise ServiceError("AccessDenied", "Access Denied")
    wanted = call.parameters
    if limit == 0:
        return Page(rows=(), prefixes=(), last="", more=False)
    return page_of(
        call.state,
        call.bucket,
        prefix=wanted.get("Prefix") or "",
        delimiter=wanted.get("Delimiter") or "",
        after=after,
        limit=limit,
    )


def _common(call: Call, page: Page, limit: int, encode: Any, *, with_owner: bool) -> dict[str, Any]:
    wanted = call.parameters
    members: dict[str, Any] = {
        "Name": call.bucket,
        "Prefix": encode(wanted.get("Prefix") or ""),
        "MaxKeys": limit,
        "IsTruncated": page.more,
        "Contents": _contents(page, encode, with_owner=with_owner),
        "CommonPrefixes": [{"Prefix": encode(each)} for each in page.prefixes],
    }
    if wanted.get("Delimiter"):
        members["Delimiter"] = encode(wanted["Delimiter"])
    if wanted.get("EncodingType"):
        members["EncodingType"] = wanted["EncodingType"]
    return members


def list_objects_v2(call: Call) -> Result:
    wanted = call.parameters
    limit = limit_of(wanted, "MaxKeys", least=0)
    token = wanted.get("ContinuationToken")
    after = _decoded(token) if token else wanted.get("StartAfter") or ""
    page = _read(call, after, limit)
    encode = _encoder(wanted)
    members = _common(call, page, limit, encode, with_owner=bool(wanted.get("FetchOwner")))
    members["KeyCount"] = len(page.rows) + len(page.prefixes)
    if wanted.get("StartAfter"):
        members["StartAfter"] = encode(wanted["StartAfter"])
    if token:
        members["ContinuationToken"] = token
    if page.more:
        members["NextContinuationToken"] = urlsafe_b64encode(page.last.encode()).decode()
    return Result(members=members)


def _decoded(token: str) -> str:
    try:
        return urlsafe_b64decode(token.encode()).decode()
    except ValueError as error:
        raise ServiceError("InvalidArgument", "The continuation token provided is incorrect") from error


def list_objects(call: Call) -> Result:
    wanted = call.parameters
    limit = limit_of(wanted, "MaxKeys", least=0)
    marker = wanted.get("Marker") or ""
    delimiter = wanted.get("Delimiter") or ""
    # A marker that is a common prefix stands for all keys below it.
    below = bool(delimiter) and marker.endswith(delimiter)
    page = _read(call, marker + LAST if below else marker, limit)
    encode = _encoder(wanted)
    members = _common(call, page, limit, encode, with_owner=True)
    members["Marker"] = encode(marker)
    if page.more and delimiter:
        members["NextMarker"] = encode(page.last.removesuffix(LAST))
    return Result(members=members)
