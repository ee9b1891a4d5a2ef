"""Who the credentials belong to."""

from builder.cloud import session
from builder.cloud.errors import answers
from builder.cloud.session import Credentials, Surroundings


def account(surroundings: Surroundings, region: str, *, credentials: Credentials | None = None) -> str:
    """The twelve digits of the account that the credentials belong to."""
    client = session.client("sts", surroundings, region, credentials=credentials)
    with answers(client, f"the account in {region}"):
        return str(client.get_caller_identity()["Account"])
