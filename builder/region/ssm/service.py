"""Systems Manager's front: the operations of its Parameter Store."""

from collections.abc import Callable, Mapping
from typing import Any

from builder.region import jsonwire
from builder.region.ec2.region import Region
from builder.region.http import Answer
from builder.region.ssm import change, labels, read

OPERATIONS: Mapping[str, Callable[[Region, Mapping[str, Any]], dict[str, Any]]] = {
    "PutParameter": change.put_parameter,
    "DeleteParameter": change.delete_parameter,
    "DeleteParameters": change.delete_parameters,
    "GetParameter": read.get_parameter,
    "GetParameters": read.get_parameters,
    "GetParametersByPath": read.get_parameters_by_path,
    "GetParameterHistory": read.get_parameter_history,
    "DescribeParameters": read.describe_parameters,
    "LabelParameterVersion": labels.label_parameter_version,
    "UnlabelParameterVersion": labels.unlabel_parameter_version,
    "AddTagsToResource": labels.add_tags,
    "RemoveTagsFromResource": labels.remove_tags,
    "ListTagsForResource": labels.list_tags,
}


def serve(region: Region, operation: str, body: bytes, request_id: str) -> Answer:
    return jsonwire.serve("ssm", OPERATIONS, region, operation, body, request_id)
