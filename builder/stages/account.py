"""Whose credentials a stage works with."""

from builder.cloud import sts
from builder.errors import RegionError
from builder.stages.contract import Surroundings


def refuse_other_account(account: str, region: str, surroundings: Surroundings, what: str) -> None:
    """RegionError when AWS's credentials are not of the account that `what` is for.

    Asked before anything is made for it. An endpoint that is not AWS's may know nothing of accounts.
    """
    if surroundings.endpoint_url is None and (found := sts.account(surroundings, region)) != account:
        raise RegionError(
            f"your credentials are of the account {found}, and the {what} is for {account}",
            hint="choose others with --profile, or correct bundle.account in the recipe, or EC2_USER",
        )
