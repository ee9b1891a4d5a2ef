"""The regions that an account may use, and how many copies at a time one of them takes."""

from builder.catalog.regions import LOCAL, LOCAL_REGIONS
from builder.cloud.asking import all_of, asked
from builder.cloud.errors import Client, refused_with
from builder.errors import RegionError

COPIES_AT_ONCE = 20
"""Concurrent snapshot copies into one region, where Service Quotas do not say (EBS endpoints and quotas)."""
_QUOTA = "Concurrent snapshot copies per destination Region"
_UNTOLD = {"AccessDenied", "AccessDeniedException", "NoSuchResourceException", "UnauthorizedOperation"}


def enabled_regions(client: Client, home: str) -> tuple[str, ...]:
    """The regions that are switched on for the account, `home` first. The local region's others are local-2, local-3;
    it plays us-east-1, and is called local here."""
    found = [str(each["RegionName"]) for each in asked(client, "describe_regions", {}, "the regions")["Regions"]]
    if home in LOCAL_REGIONS:
        found = [each if each in LOCAL_REGIONS else LOCAL for each in found]
    return (home, *sorted(each for each in set(found) if each != home))


def copies_at_once(quotas: Client) -> int:
    """How many snapshots may be on their way into the region of a `service-quotas` client."""
    about = f"the quotas of {quotas.meta.region_name}"
    try:
        listed = all_of(quotas, "list_service_quotas", "Quotas", {"ServiceCode": "ebs"}, about)
    except RegionError as error:
        if refused_with(error) in _UNTOLD:
            return COPIES_AT_ONCE
        raise
    told = (int(each["Value"]) for each in listed if each.get("QuotaName") == _QUOTA)
    return max(1, next(told, COPIES_AT_ONCE))
