"""AWS's JSON protocols: requests taken apart and held against botocore's models, refusals as the services write them.

REST-JSON (the EBS direct API) has the operation in method and path; JSON 1.1 in the header X-Amz-Target.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from botocore.validate import ParamValidator
from moto.core.model import Shape
from moto.core.parse import JSONParser, RestJSONParser

from builder.region import protocol
from builder.region.errors import ServiceError
from builder.region.http import Answer

_INTERNAL = {
    "ebs": "InternalServerException",
    "ssm": "InternalServerError",
    "servicequotas": "ServiceException",
    "kms": "KMSInternalException",
}


@functools.cache
def _routes(name: str) -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """Operation, method and path, whose named places are the members that lie in it."""
    model = protocol.service(name)
    return tuple(
        (each, trait.method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", trait.path)))
        for each in model.operation_names
        if (trait := model.operation_model(each).http_trait)
    )


def rest_operation(name: str, method: str, path: str) -> tuple[str, dict[str, str]]:
    """The operation that a request stands for, and what lies in its path."""
    for operation, its_method, pattern in _routes(name):
        if method == its_method and (match := pattern.fullmatch(path)):
            return operation, {place: unquote(value) for place, value in match.groupdict().items()}
    raise ServiceError("UnknownOperationException", f"{name} has no operation for {method} {path}")


def parse_rest(
    name: str,
    operation: str,
    *,
    path: Mapping[str, str],
    query: str,
    headers: Mapping[str, str],
    body: bytes,
) -> dict[str, Any]:
    """The input of an operation, as boto3 would spell it; a streamed body is not part of it."""
    model = protocol.service(name).operation_model(operation)
    asked = {"values": protocol.Parameters(query), "headers": headers, "body": body, "url_params": path}
    try:
        parsed: dict[str, Any] = RestJSONParser(model).parse(asked)
    except (ValueError, TypeError, AttributeError) as error:
        raise _invalid(name, f"A parameter is not of its type: {error}") from error
    streamed = model.input_shape.serialization.get("payload") if model.input_shape else None
    check(name, model.input_shape, {streamed: b"", **parsed} if streamed else parsed)
    return parsed


def parse_json(name: str, operation: str, body: bytes) -> dict[str, Any]:
    """The input of an operation of JSON 1.1."""
    model = protocol.service(name).operation_model(operation)
    try:
        if not isinstance(json.loads(body or b"{}"), dict):
            raise ValueError("it is not an object")
        parsed: dict[str, Any] = JSONParser(model).parse({"values": {}, "headers": {}, "body": body, "url_params": {}})
    except (ValueError, TypeError, AttributeError) as error:
        raise ServiceError("SerializationException", f"The body cannot be read: {error}") from error
    if model.input_shape is not None:
        check(name, model.input_shape, parsed)
    return parsed


def serve(
    name: str,
    operations: Mapping[str, Callable[[Any, Mapping[str, Any]], dict[str, Any]]],
    region: object,
    operation: str,
    body: bytes,
    request_id: str,
) -> Answer:
    """Answer a call of JSON 1.1."""
    if operation not in protocol.service(name).operation_names:
        raise ServiceError("UnknownOperationException", f"{name} has no operation {operation}")
    if operation not in operations:
        raise ServiceError("UnsupportedOperation", f"The local region does not offer {operation}")
    return answer(name, operation, operations[operation](region, parse_json(name, operation, body)), request_id)


def check(name: str, shape: Shape, value: Mapping[str, Any]) -> None:
    """Types, required members, lengths, patterns and closed sets of words, as the model has them."""
    report = ParamValidator().validate(value, shape)
    if report.has_errors():
        raise _invalid(name, report.generate_report().splitlines()[0])
    _constrain(name, shape, value, "")


def _constrain(name: str, shape: Shape, value: Any, place: str) -> None:
    """What botocore leaves to the service to check."""
    if shape.type_name == "structure":
        for member, its in value.items():
            if its is not None and member in shape.members:
                _constrain(name, shape.members[member], its, member)
    elif shape.type_name == "list":
        _bound(name, shape, len(value), f"the number of {place}")
        for each in value:
            _constrain(name, shape.member, each, place)
    elif shape.type_name == "string":
        _bound(name, shape, len(value), f"the length of {place}")
        if shape.enum and value not in shape.enum:
            raise _invalid(name, f"Value '{value}' at '{place}' must be one of {', '.join(shape.enum)}")
        pattern = _pattern(shape.metadata.get("pattern", ""))
        if pattern is not None and pattern.fullmatch(value) is None:
            raise _invalid(name, f"Value '{value}' at '{place}' must satisfy the pattern {pattern.pattern}")
    elif shape.type_name in ("integer", "long"):
        _bound(name, shape, value, place)


@functools.cache
def _pattern(text: str) -> re.Pattern[str] | None:
    """None where there is none, and for the few that are Java's alone, such as \\p{L}."""
    try:
        return re.compile(text) if text else None
    except re.error:
        return None


def _bound(name: str, shape: Shape, number: int, what: str) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if (least is not None and number < least) or (most is not None and number > most):
        raise _invalid(name, f"{number} is not between {least or 0} and {most}, as {what} must be")


def _invalid(name: str, message: str) -> ServiceError:
    fields = {"Reason": "INVALID_PARAMETER_VALUE"} if name == "ebs" else {}
    return ServiceError("ValidationException", message, fields)


def answer(name: str, operation: str, result: Mapping[str, Any], request_id: str) -> Answer:
    status, headers, body = protocol.serialize(name, operation, result, request_id)
    return Answer(status=status, headers={**headers, "x-amzn-RequestId": request_id}, body=body)


def refusal(name: str, error: ServiceError, request_id: str) -> Answer:
    """An error: its code in a header and in the body, its message, and what more its shape has."""
    code = _INTERNAL.get(name, error.code) if error.code == "InternalError" else error.code
    rest = name == "ebs"
    told = {"__type": code, "Message" if rest else "message": error.message, **error.fields}
    kind = "application/json" if rest else "application/x-amz-json-1.1"
    headers = {"Content-Type": kind, "x-amzn-ErrorType": code, "x-amzn-RequestId": request_id}
    body = json.dumps(told).encode()
    return Answer(status=error.status, headers=headers, body=body)
