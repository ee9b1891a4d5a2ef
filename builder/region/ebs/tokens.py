"""Block tokens and page tokens: nobody but this region can make one, and each is good for a week and one purpose."""

import hashlib
import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from builder.region.ebs.record import invalid
from builder.region.ec2.region import Region

GOOD_FOR = 7 * 24 * 3600
"""Seconds (EBS User Guide, "Read EBS snapshots with EBS direct APIs": block tokens expire after seven days)."""
_MAC = 16


def block_token(region: Region, snapshot: str, position: int, blob: str, expiry: int) -> str:
    return _sealed(region, {"s": snapshot, "i": position, "b": blob[:16], "e": expiry})


def check_block_token(region: Region, token: str, snapshot: str, position: int, blob: str) -> None:
    told = _opened(region, token)
    if told is None or told.get("e", 0) < time.time():
        raise invalid("INVALID_BLOCK_TOKEN", "The block token is not one that was given out, or it has expired")
    if (told.get("s"), told.get("i"), told.get("b")) != (snapshot, position, blob[:16]):
        raise invalid("INVALID_BLOCK_TOKEN", "The block token is for another block")


def page_token(region: Region, purpose: str, position: int) -> str:
    return _sealed(region, {"p": purpose, "i": position})


def position_of(region: Region, token: str, purpose: str) -> int:
    """Where the page begins that a token stands for."""
    told = _opened(region, token)
    if told is None or told.get("p") != purpose:
        raise invalid("INVALID_PAGE_TOKEN", "The page token is not one that this list gave out")
    return int(told["i"])


def _sealed(region: Region, told: Mapping[str, Any]) -> str:
    text = json.dumps(told, separators=(",", ":")).encode()
    return b64encode(_mac(region, text) + text).decode()


def _opened(region: Region, token: str) -> dict[str, Any] | None:
    try:
        raw = b64decode(token, validate=True)
    except ValueError:
        return None
    if not hmac.compare_digest(raw[:_MAC], _mac(region, raw[_MAC:])):
        return None
    told: dict[str, Any] = json.loads(raw[_MAC:])
    return told


def _mac(region: Region, text: bytes) -> bytes:
    return hmac.new(f"ebs {region.identity.id}".encode(), text, hashlib.sha256).digest()[:_MAC]
