"""Who the credentials belong to."""

from builder.cloud import session
from builder.cloud.errors import answers
from builder.cloud.session import Surroundings


def account(surroundings: Surroundings, region: str) -> str:
    """The twelve digits of the account that the credentials belong to."""
    client = session.client("sts", surroundings, region)
    with answers(client, f"the account in {region}"):
        return str(client.get_caller_identity()["Account"])
