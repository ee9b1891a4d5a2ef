"""Who the credentials belong to."""

from dataclasses import dataclass

from builder.cloud import session
from builder.cloud.errors import Client, answers
from builder.cloud.session import Credentials, Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whom AWS takes the credentials for."""

    account: str
    """Twelve digits."""
    arn: str


def account(surroundings: Surroundings, region: str, *, credentials: Credentials | None = None) -> str:
    """The twelve digits of the account that the credentials belong to."""
    return caller(session.client("sts", surroundings, region, credentials=credentials), region).account


def caller(client: Client, region: str) -> Caller:
    """Who asks, as AWS sees it."""
    with answers(client, f"the account in {region}"):
        found = client.get_caller_identity()
    return Caller(account=str(found["Account"]), arn=str(found.get("Arn", "")))
