"""Parameters of Systems Manager that hold the id of an AMI: read, written and believed when they are read back."""

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from builder.cloud.asking import asked
from builder.cloud.ec2 import pauses
from builder.cloud.errors import Client, refused_with
from builder.errors import RegionError

IMAGE = "aws:ec2:image"
_AT_ONCE = 10
"""Names of one GetParameters (API reference)."""
_LOOKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What a parameter says."""

    value: str
    data_type: str = IMAGE
    version: int = 0


def read_parameters(client: Client, names: Iterable[str]) -> dict[str, Parameter]:
    """Those of the parameters that there are."""
    wanted = sorted(set(names))
    found: dict[str, Parameter] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        request = {"Names": wanted[start : start + _AT_ONCE]}
        for each in asked(client, "get_parameters", request, "the SSM parameters")["Parameters"]:
            found[each["Name"]] = Parameter(
                value=each["Value"], data_type=each.get("DataType", "text"), version=each.get("Version", 0)
            )
    return found


def write_parameter(
    client: Client,
    name: str,
    image_id: str,
    *,
    data_type: str = IMAGE,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Have a parameter say the id of an AMI, and read it back.

    SSM takes an aws:ec2:image first and looks for the AMI afterwards; when that cannot be used nothing is kept, and
    nobody is told (Systems Manager User Guide, "Native parameter support for AMI IDs"). So it is RegionError when the
    parameter does not say it after a while. A parameter keeps the data type that it was made with.
    """
    request = {"Name": name, "Value": image_id, "Type": "String", "DataType": data_type, "Overwrite": True}
    asked(client, "put_parameter", request, f"the SSM parameter {name}")
    for pause in itertools.islice(pauses(), _LOOKS):
        found = read_parameters(client, [name]).get(name)
        if found is not None and found.value == image_id:
            return
        sleep(pause)
    raise RegionError(
        f"the SSM parameter {name} in {client.meta.region_name} does not say {image_id}, although it was written",
        detail="SSM keeps an aws:ec2:image only when the account may launch that AMI.",
        hint=f"see whether {image_id} is available there, and run it again",
    )


def remove_parameter(client: Client, name: str) -> None:
    """No error when it is not there."""
    try:
        asked(client, "delete_parameter", {"Name": name}, f"the SSM parameter {name}")
    except RegionError as error:
        if refused_with(error) != "ParameterNotFound":
            raise
