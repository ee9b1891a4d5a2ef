"""Clients of AWS, or of a region at another endpoint.

botocore alone, without boto3's layer over it: the same clients, and 0.03 s less in a run that has nothing to do.
Credentials come from botocore's own chain (environment, profiles, SSO, instance role).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

import botocore.credentials
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import create_loader

from builder import __version__
from builder.catalog.regions import AMAZON, LOCAL, LOCAL_REGIONS
from builder.cloud.errors import Client, is_loopback, unanswered
from builder.cloud.pace import MOST
from builder.errors import RegionError

POOL = 10
"""Connections, and so requests at once, of one client: boto3's default."""

_LOCAL_SIGNING_REGION = "us-east-1"
# What a session reads where: configuration, environment, default, conversion. A profile that is not there, a login that
# has ended or a file that is damaged must not stop a build for the local region, which is not AWS's.
_NOTHING_CONFIGURED = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


class Surroundings(Protocol):
    """What a client depends on besides the region: how this machine reaches it. stages.contract.Surroundings is one."""

    @property
    def endpoint_url(self) -> str | None: ...
    @property
    def profile(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Those that were given on a command line; they never show in a repr."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(repr=False, default=None)


def client(
    service: str,
    surroundings: Surroundings,
    region: str,
    *,
    credentials: Credentials | None = None,
    hasty: bool = False,
) -> Client:
    """A client of a service; safe to share between threads. RegionError when it cannot be made. `hasty`: it gives up
    within a minute.

    With `credentials` nothing that is configured is looked at. Else the local region is asked with the words "local"
    for credentials, whatever is configured for AWS; with "amazon" where that is the profile, since what it registers is
    then amazon's. They stand in for another region with an endpoint of its own too, where none are configured; nobody
    asks the metadata service for a role then, which takes seconds outside of EC2.
    """
    endpoint = surroundings.endpoint_url
    try:
        session = _session(surroundings, region, credentials)
        session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
        _refuse_unsendable(session.get_credentials())
        session.user_agent_name, session.user_agent_version = "ami-factory", __version__
        return session.create_client(
            service,
            region_name=_LOCAL_SIGNING_REGION if region == LOCAL else region,
            endpoint_url=endpoint,
            config=_config(service, endpoint, hasty=hasty),
        )
    except BotoCoreError as error:
        raise unanswered(endpoint or region, f"the region {region}", error) from error


def told(client: Client, say: Callable[[str], None]) -> None:
    """Have every answer that the client gets told in a line: call, status, request id. No header, so no signature."""

    def answered(http_response: Any, parsed: Any, model: Any, **_: object) -> None:
        request_id = parsed.get("ResponseMetadata", {}).get("RequestId", "-")
        say(f"{model.name}: {http_response.status_code}, request {request_id}")

    client.meta.events.register("after-call.*.*", answered)


def _session(surroundings: Surroundings, region: str, credentials: Credentials | None) -> botocore.session.Session:
    if credentials is not None:
        session = botocore.session.Session(session_vars=_NOTHING_CONFIGURED)
        session.set_credentials(credentials.key, credentials.secret, credentials.token)
        return session
    if region in LOCAL_REGIONS and is_loopback(surroundings.endpoint_url):
        session = botocore.session.Session(session_vars=_NOTHING_CONFIGURED)
        word = AMAZON if surroundings.profile == AMAZON else LOCAL
        session.set_credentials(word, word)
        return session
    session = botocore.session.Session(profile=surroundings.profile)
    if surroundings.endpoint_url:
        session.get_component("credential_provider").remove("iam-role")
        if session.get_credentials() is None:
            session.set_credentials("local", "local")
    return session


@cache
def _loader(path: str | None) -> Any:
    """Reads the models of services, for all clients of this process: a second client takes 0.01 s, not 0.1 or more."""
    return create_loader(path)


def _refuse_unsendable(found: Any) -> None:
    """RegionError for a key or token that no header can hold, such as one read from a file with its line's end.

    Python's own message would show it. What is fetched when it is needed, from a role or a login, is not looked at.
    """
    if type(found) is not botocore.credentials.Credentials:
        return
    for what, text in (("access key id", found.access_key), ("security token", found.token or "")):
        if not text.isprintable():
            raise RegionError(
                f"the {what} of your credentials holds a character that cannot be sent",
                hint="look for a line end, or another invisible character, at its end",
            )


def _config(service: str, endpoint: str | None, *, hasty: bool = False) -> Config:
    options: dict[str, Any] = {
        "max_pool_connections": MOST if service == "ebs" else POOL,
        "retries": {"mode": "adaptive", "total_max_attempts": 8},
        "connect_timeout": 10,
        "read_timeout": 60,
    }
    if hasty:
        options |= {"retries": {"mode": "standard", "total_max_attempts": 3}, "connect_timeout": 5, "read_timeout": 15}
    if is_loopback(endpoint):
        # What listens on this machine answers at once or is not there; a proxy could not reach it.
        options |= {"retries": {"mode": "standard", "total_max_attempts": 3}, "proxies": {}, "connect_timeout": 3}
        options |= {"use_fips_endpoint": False, "use_dualstack_endpoint": False}  # botocore refuses both at an endpoint
    if service == "s3":
        # What is read is compared with the bundle's own digests; botocore need not compute S3's beside them.
        options["response_checksum_validation"] = "when_required"
    if service == "s3" and endpoint:
        options["s3"] = {"addressing_style": "path"}
        if is_loopback(endpoint):
            # Over plain HTTP botocore would sign a SHA-256 of every body. What stays on this machine does with S3's
            # own checksum.
            options["s3"]["payload_signing_enabled"] = False
    return Config(**options)
