"""The metadata service of the instance that this runs on: version 2 (with a token) first, then version 1.

The variables are those of AWS's SDKs: AWS_EC2_METADATA_SERVICE_ENDPOINT, AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE,
AWS_EC2_METADATA_DISABLED, AWS_EC2_METADATA_V1_DISABLED, AWS_METADATA_SERVICE_TIMEOUT (seconds) and
AWS_METADATA_SERVICE_NUM_ATTEMPTS. No proxy is ever asked: the address is the machine's own link.
"""

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

from builder.errors import HostError

_ADDRESSES = {"ipv4": "http://169.254.169.254", "ipv6": "http://[fd00:ec2::254]"}
_TOKEN_LIFE = "300"  # seconds; the reading takes one
_LONGEST = 1 << 16
_NO_TOKENS = (403, 404, 405, 501)
"""What a service answers that knows version 1 only, or has version 2 switched off."""


class InstanceMetadata:
    """Values below `latest/meta-data/`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """HostError when there is no service, or it refuses."""
        mode = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower() or "ipv4"
        self._url = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _ADDRESSES.get(mode, _ADDRESSES["ipv4"])
        if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise self._unusable("AWS_EC2_METADATA_DISABLED is set")
        self._timeout = _number(environment, "AWS_METADATA_SERVICE_TIMEOUT", 1.0)
        self._attempts = max(1, int(_number(environment, "AWS_METADATA_SERVICE_NUM_ATTEMPTS", 2)))
        self._headers: dict[str, str] = {}
        status, token = self._ask("PUT", "latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": _TOKEN_LIFE})
        if status == 200 and token:
            self._headers = {"X-aws-ec2-metadata-token": token}
        elif status not in _NO_TOKENS:
            raise self._unusable(f"it answers {status} when asked for a token")
        elif environment.get("AWS_EC2_METADATA_V1_DISABLED", "").lower() == "true":
            raise self._unusable("it gives no token, and AWS_EC2_METADATA_V1_DISABLED is set")

    def get(self, path: str) -> str | None:
        """The value, or None for what this instance does not have."""
        status, text = self._ask("GET", f"latest/meta-data/{path}", self._headers)
        if status == 404:
            return None
        if status != 200:
            raise self._unusable(f"it answers {status} when asked for {path}")
        return text

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """Status and text. Tried again when nothing is answered, or the service has a fault."""
        for attempt in range(1, self._attempts + 1):
            try:
                status, text = self._ask_once(method, path, headers)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if attempt == self._attempts:
                    raise self._unusable(str(error) or type(error).__name__) from error
                continue
            if status < 500 or attempt == self._attempts:
                return status, text
        raise AssertionError

    def _ask_once(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self._url} is not an address")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname, parts.port, timeout=self._timeout)
        try:
            connection.request(method, f"{parts.path.rstrip('/')}/{path}", headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read(_LONGEST).decode("ascii", errors="replace").strip()
        finally:
            connection.close()

    def _unusable(self, why: str) -> HostError:
        return HostError(
            f"the instance metadata at {self._url} cannot be read: {why}",
            hint="say --no-inherit where there is none, as on a machine that is no instance of EC2",
        )


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(environment.get(name) or default)
    except ValueError:
        return default
