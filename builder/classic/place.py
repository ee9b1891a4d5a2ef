"""Which region a command talks to, at which address, and as whom.

The local region is where everything goes unless an option or the environment says otherwise, and that is said.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from builder.catalog.regions import LOCAL
from builder.catalog.regions import region as find_region
from builder.classic.command import Options
from builder.cli import output
from builder.cli.endpoint import endpoint
from builder.errors import RecipeError
from builder.host.directories import region_directory

if TYPE_CHECKING:  # what only asks for help does not pay for botocore
    from builder.cloud.errors import Client
    from builder.cloud.session import Credentials

SIGNING_REGION = "us-east-1"
"""What requests to a service at an address that names no region are signed for."""

_AWS = re.compile(r"(?:.+\.)?amazonaws\.com(?:\.cn)?")
_REGION = re.compile(r"(?:^|[.-])((?:[a-z]{2,}-)+[a-z]+-[0-9])(?:\.|$)")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a command's requests go. Nothing is asked or started before the first of them."""

    region: str
    """`local`, or an AWS region."""
    given_url: str | None = None
    credentials: "Credentials | None" = field(default=None, repr=False)
    say: Callable[[str], None] | None = None
    """Where requests are told, for --debug."""
    profile: str | None = None
    """Of AWS's configuration."""

    @cached_property
    def endpoint_url(self) -> str | None:
        """The address; None for AWS's own. The local region is started when it does not run."""
        if self.given_url is not None or not self.is_local:
            return self.given_url
        from builder.region import control

        return control.start(region_directory()).endpoint_url

    @property
    def is_local(self) -> bool:
        return self.region == LOCAL

    def client(self, service: str) -> "Client":
        """A client of `s3` or `ec2`, with the given credentials, or those that botocore finds."""
        from builder.cloud import session

        made = session.client(service, self, self.region, credentials=self.credentials)
        if self.say is not None:
            session.told(made, self.say)
        return made

    def account(self) -> str:
        """The account that the credentials belong to; the local region's own one is known without asking."""
        if self.is_local:
            from builder.region.identity import identity

            return identity(region_directory()).account
        from builder.cloud import sts

        return sts.account(self, self.region, credentials=self.credentials)

    def certificate(self) -> Path:
        """EC2's certificate that bundles for this region are made with."""
        if self.is_local:
            from builder.region.identity import identity

            return identity(region_directory()).certificate
        from builder.catalog.certificates import certificate_of

        return certificate_of(self.region).path


def find(options: Options, service: Literal["s3", "ec2"], *, location: str = "") -> Place:
    """The place that the options and the environment mean. It is named on stderr when it is the emulated one.

    `location` is a region that is meant where an address of AWS's names none.
    """
    region, url = choose(
        getattr(options, "region", None), getattr(options, "url", None), os.environ, service, location=location
    )
    debug = _debug if options.debug else None
    place = Place(
        region=region,
        given_url=url,
        credentials=credentials(options, local=region == LOCAL),
        say=debug,
        profile=getattr(options, "profile", None),
    )
    if place.is_local:
        output.say("region: local (emulated)")
    if debug:
        debug(f"region {region}, {url or 'at its own address'}")
    return place


def choose(
    region: str | None, url: str | None, environment: Mapping[str, str], service: str, *, location: str = ""
) -> tuple[str, str | None]:
    """Region and address; no address for AWS's own, and for the local region where it has to be asked for.

    --url counts before --region, which then is what requests are signed for; then EC2_URL or S3_URL, that of the
    service first; AMI_FACTORY_REGION; and the local region.
    """
    from builder.cloud.errors import is_loopback

    variables = ("S3_URL", "EC2_URL") if service == "s3" else ("EC2_URL", "S3_URL")
    name = next((each for each in variables if environment.get(each)), "")
    if region is not None:
        find_region(region)
    if url is not None:
        return _at(url, region or "", location, "--url")
    if region == LOCAL and name and is_loopback(environment[name]):
        return _at(environment[name], region, "", name)
    if region is not None:
        return region, None
    if name:
        return _at(environment[name], "", location, name)
    return find_region(environment.get("AMI_FACTORY_REGION") or LOCAL).name, None


def credentials(options: Options, *, local: bool) -> "Credentials | None":
    """Those of -a and -s or of their variables; None leaves it to botocore (--profile, AWS_ACCESS_KEY_ID, roles).

    The words that `ami-factory region env` sets are for the local region, and no key of AWS's.
    """
    key, secret = getattr(options, "access_key", None), getattr(options, "secret_key", None)
    if bool(key) != bool(secret):
        raise RecipeError(
            f"the {'secret access key' if key else 'access key id'} is missing: they belong together",
            hint="give both or neither: the options, AWS_ACCESS_KEY and AWS_SECRET_KEY, or what botocore reads",
        )
    if not key or not secret or getattr(options, "profile", None) or (not local and (key, secret) == (LOCAL, LOCAL)):
        return None
    from builder.cloud.session import Credentials

    return Credentials(key=key, secret=secret, token=getattr(options, "delegation_token", None))


def _at(url: str, region: str, location: str, where: str) -> tuple[str, str | None]:
    """AWS's own addresses only name a region: botocore knows better ones for it."""
    from builder.cloud.errors import is_loopback

    try:
        address = endpoint(url)
    except RecipeError as error:
        raise RecipeError(error.brief.replace("--endpoint-url", where), hint=error.hint) from None
    host = urlsplit(address or "").hostname or ""
    if _AWS.fullmatch(host):
        found = _REGION.search(host)
        return region or find_region(found[1] if found else location or SIGNING_REGION).name, None
    return region or (LOCAL if is_loopback(address) else SIGNING_REGION), address


def _debug(text: str) -> None:
    output.say(f"debug: {text}")
