"""GetConsoleOutput."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from builder.region.ec2.instances.record import find_instance
from builder.region.ec2.region import Region, timestamp

MOST = 65536
"""EC2 keeps the last 64 KiB (EC2 User Guide, "Instance console output")."""


def get_console_output(region: Region, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What the instance wrote so far, as it was written: there is nothing older to be had than the latest."""
    instance = find_instance(region.state, str(wanted["InstanceId"]))
    written, at = region.machines.console(instance.id, MOST)
    when = datetime.fromtimestamp(at, UTC) if at is not None else datetime.now(UTC)
    answer = {"InstanceId": instance.id, "Timestamp": timestamp(when)}
    return answer | ({"Output": base64.b64encode(written).decode()} if written else {})
