"""Which tools of the host are there, asked of the same list that setup installs from."""

from functools import cache

from builder.errors import HostError
from builder.host.namespace import require_namespace
from builder.host.packages import missing_packages


@cache
def missing() -> tuple[str, ...]:
    """The Debian packages this machine lacks, and what keeps it from making a user namespace."""
    lacking = tuple(each.name for each in missing_packages())
    try:
        require_namespace()
    except HostError as error:
        return (*lacking, str(error))
    return lacking
