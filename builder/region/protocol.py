"""AWS's wire protocols, in both directions, from botocore's own service models.

moto's protocol halves do the work (request parsers and response serialisers that follow the model); nothing of moto's
back ends is used, because nothing of theirs would survive a restart or refuse a wrong bundle.
"""

import functools
import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.loaders import Loader
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import EC2QueryParser, QueryParser, RequestParserError, RestXMLParser
from moto.core.serialize import (
    EC2Serializer,
    JSONSerializer,
    QuerySerializer,
    RestJSONSerializer,
    S3Serializer,
    SerializationContext,
)

from builder.region.errors import ServiceError

PARSERS = {"ec2": EC2QueryParser, "sts": QueryParser, "iam": QueryParser, "s3": RestXMLParser}
SERIALIZERS = {
    "ec2": EC2Serializer,
    "sts": QuerySerializer,
    "iam": QuerySerializer,
    "s3": S3Serializer,
    "ebs": RestJSONSerializer,
    "ssm": JSONSerializer,
    "servicequotas": JSONSerializer,
    "kms": JSONSerializer,
}
# Where botocore has its models under another name than the one that requests are signed for.
MODELS = {"servicequotas": "service-quotas"}
NAMESPACES = {
    "ec2": "http://ec2.amazonaws.com/doc/2016-11-15/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
}


class Parameters(dict[str, str]):
    """Query or form parameters. Remembers what was looked at: the rest is unknown to the model."""

    def __init__(self, encoded: str) -> None:
        self.seen: set[str] = set()
        self.repeated: list[tuple[str, str]] = parse_qsl(encoded, keep_blank_values=True, max_num_fields=20_000)
        super().__init__(self.repeated)

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add(key)
        return super().get(key, default)

    def getlist(self, key: str) -> list[str]:
        self.seen.add(key)
        return [value for name, value in self.repeated if name == key]

    def to_dict(self, flat: bool = True) -> dict[str, list[str]]:
        del flat  # moto asks for the unflattened form only, for members that are maps
        return {name: self.getlist(name) for name in self}


@functools.cache
def service(name: str) -> ServiceModel:
    """The model of a service: 0.06 s for EC2 the first time."""
    return ServiceModel(Loader().load_service_model(MODELS.get(name, name), "service-2"), name)


def new_request_id() -> str:
    number = secrets.token_hex(16)
    return "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))


def parse_query(name: str, action: str, parameters: Parameters) -> dict[str, Any]:
    """The input of an EC2 or STS operation, as boto3 would spell it. Unknown and malformed parameters are refused."""
    model = service(name).operation_model(action)
    parameters.seen.update(("Action", "Version"))
    try:
        parsed: dict[str, Any] = PARSERS[name](model).parse(_request(values=parameters))
    except (ValueError, TypeError) as error:
        raise ServiceError("InvalidParameterValue", f"A parameter is not of its type: {error}") from error
    signature = {"AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp", "Expires"}
    unknown = sorted(
        each
        for each in set(parameters) - parameters.seen - signature
        if parameters[each] and not each.startswith("X-Amz-")
    )
    if unknown:
        raise ServiceError("UnknownParameter", f"The parameter {unknown[0]} is not recognized")
    _require(model, parsed, "MissingParameter", "The request must contain the parameter {}")
    _check_enums(model, parsed)
    return parsed


def parse_s3(
    action: str, *, path: Mapping[str, str], parameters: Parameters, headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    """The input of an S3 operation; a streamed body is not part of it."""
    model = service("s3").operation_model(action)
    try:
        parsed: dict[str, Any] = RestXMLParser(model).parse(
            _request(values=parameters, headers=headers, body=body, url_params=path)
        )
    except RequestParserError as error:
        raise ServiceError(
            "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
        ) from error
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:  # the last: botocore, of a time
        raise ServiceError("InvalidArgument", f"A parameter is not of its type: {error}") from error
    _require(model, parsed, "InvalidRequest", "Missing required parameter: {}")
    return parsed


def _request(
    *,
    values: Parameters,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    url_params: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    return {"values": values, "headers": headers or {}, "body": body, "url_params": url_params or {}}


def _require(model: OperationModel, parsed: Mapping[str, Any], code: str, message: str) -> None:
    shape = model.input_shape
    for name in shape.required_members if shape is not None else ():
        if parsed.get(name) is None:
            raise ServiceError(code, message.format(name))


def _check_enums(model: OperationModel, parsed: Mapping[str, Any]) -> None:
    """A member that is one of a closed set of words is one of them."""
    for name, shape in model.input_shape.members.items() if model.input_shape is not None else ():
        words = getattr(shape, "enum", None)
        if words and name in parsed and parsed[name] not in words:
            raise ServiceError(
                "InvalidParameterValue", f"Value ({parsed[name]}) for parameter {name[0].lower()}{name[1:]} is invalid."
            )


def serialize(name: str, action: str, result: Mapping[str, Any], request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer. Members that the model does not have are a fault of ours."""
    model = service(name).operation_model(action)
    shape = model.output_shape
    strays = set(result) - set(shape.members if shape is not None else ())
    if strays:
        raise AssertionError(f"{action} has no {', '.join(sorted(strays))} in its output")
    answer = SERIALIZERS[name](model, context=SerializationContext(request_id)).serialize(result)
    body = answer["body"]
    return answer["status_code"], dict(answer["headers"]), body.encode() if isinstance(body, str) else body


def serialize_error(name: str, error: ServiceError, request_id: str) -> bytes:
    """The XML of an error, in the form of its service."""
    if name == "s3":
        fields = {**error.fields, "RequestId": request_id, "HostId": request_id}
        extra = "".join(f"<{tag}>{escape(value)}</{tag}>" for tag, value in fields.items())
        text = f"<Error>{_code(error)}{extra}</Error>"
    elif name == "ec2":
        text = f"<Response><Errors><Error>{_code(error)}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    else:
        text = (
            f'<ErrorResponse xmlns="{NAMESPACES[name]}"><Error><Type>Sender</Type>{_code(error)}</Error>'
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def _code(error: ServiceError) -> str:
    return f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"


@functools.cache
def _s3_routes() -> tuple[tuple[str, str, int, frozenset[tuple[str, str]], frozenset[str], frozenset[str]], ...]:
    """Operation, method, depth (0 service, 1 bucket, 2 key), query literals, required queries, required headers."""
    model = service("s3")
    routes = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        trait = operation.http_trait
        depth = trait.path.count("{")
        if name == "WriteGetObjectResponse" or operation.deprecated:
            continue
        shape = operation.input_shape
        routes.append(
            (
                name,
                trait.method,
                depth,
                frozenset(trait.query_args.items()),
                frozenset(shape.required_query_args if shape else ()),
                frozenset(header.lower() for header in (shape.required_headers if shape else ())),
            )
        )
    return tuple(routes)


@functools.cache
def _s3_subresources() -> frozenset[str]:
    return frozenset(literal for route in _s3_routes() for literal, _ in route[3]) - {"list-type"}


def s3_operation(method: str, depth: int, parameters: Parameters, headers: Iterable[str]) -> str:
    """The operation that a request stands for: the one with the most constraints that it meets."""
    given = {name.lower() for name in headers}
    best, weight = "", -1
    asked = _s3_subresources() & set(parameters)
    for name, its_method, its_depth, literals, queries, needed in _s3_routes():
        if (method, depth) != (its_method, its_depth) or not asked <= {literal for literal, _ in literals}:
            continue
        if any(parameters.get(literal) != value for literal, value in literals):
            continue
        if queries <= set(parameters) and needed <= given and (found := len(literals | queries | needed)) > weight:
            best, weight = name, found
    if not best:
        raise ServiceError("MethodNotAllowed", "The specified method is not allowed against this resource.")
    return best
