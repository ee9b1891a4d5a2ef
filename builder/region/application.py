"""From an HTTP request to the service that it is for, and every refusal to an answer in that service's form."""

import json
import re
import sqlite3
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from builder.catalog.regions import AMAZON, AMAZON_ACCOUNT
from builder.region import faults, jsonwire, protocol
from builder.region.ebs.service import serve as serve_ebs
from builder.region.ec2 import region as ec2
from builder.region.ec2.region import Region
from builder.region.ec2.service import serve as serve_query
from builder.region.errors import ServiceError
from builder.region.http import Answer, Body
from builder.region.kms import serve as serve_kms
from builder.region.quotas import serve as serve_quotas
from builder.region.s3.service import operation_of as s3_operation_of
from builder.region.s3.service import serve as serve_s3
from builder.region.ssm.service import serve as serve_ssm

# `Credential=KEY/20261122/us-east-1/s3/aws4_request` of Signature Version 4, in the header or (presigned) the query.
SCOPE = re.compile(r"(?:^|Credential=)[^/,\s]+/\d{8}/([^/,\s]+)/([a-z0-9-]+)/aws4_request")
KEY = re.compile(r"(?:^|Credential=)([^/,\s]+)/")
ACCOUNT = re.compile(r"\d{12}")
# Those of JSON 1.1, by the name that requests are signed for.
JSON = {"ssm": serve_ssm, "servicequotas": serve_quotas, "kms": serve_kms}
SERVED = ("s3", "ec2", "sts", "iam", "ebs", *JSON)
CONTROL = "/_region/faults"
# Of no bytes, in the form that the EBS direct API has it.
OTHER_CHECKSUM = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
# Actions that Signature Version 2 clients send have no scope; the version tells EC2 from STS.
VERSIONS = {"2011-06-15": "sts", "2010-05-08": "iam"}
LARGEST_FORM = 4 << 20
# 100.64.2.N is where its instances find it (machine/network.py: service_address).
_OWN_HOST = re.compile(r"(127(\.\d{1,3}){3}|100\.64\.2\.\d{1,3}|\[::1\]|(.+\.)?localhost)(:\d+)?")
XML = "text/xml;charset=UTF-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all services look at."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def credential(self) -> str:
        """The scope or key that the request is signed with; empty for an anonymous one. Signatures are not checked:
        whoever reaches the loopback device as this user is the owner."""
        header = self.headers.get("Authorization", "")
        if header:
            return header
        signed = re.search(r"(?:^|&)(?:X-Amz-Credential|AWSAccessKeyId)=([^&]+)", self.query)
        return unquote(signed[1]) if signed else ""


class Application:
    """The region's services over one state. Thread-safe: the state is, and nothing else changes."""

    def __init__(self, region: Region) -> None:
        self.region = region

    def __call__(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> Answer:
        path, _, query = target.partition("?")
        request = Request(method=method, path=path, query=query, headers=headers)
        request_id = protocol.new_request_id()
        service = "s3"
        try:
            _refuse_web_pages(headers)
            if path == CONTROL:
                return self._control(method, body)
            form = self._form(request, body)
            service = self._service(request, form)
            region = self._as_seen_by(request, form)
            if not region.faults.armed:
                return self._serve(service, region, request, form, body, request_id)
            left = region.faults.before(service, self._operation(service, request, form), region.name)
            return _spoiled(self._serve(service, region, request, form, body, request_id), left)
        except ServiceError as error:
            return self._refusal(service, error, request, request_id)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            fault = "The local region has a fault: its log has the traceback"
            if isinstance(error, OSError | sqlite3.OperationalError):  # such as a disk that is full
                fault = f"The local region cannot go on: {error}"
            return self._refusal(service, ServiceError("InternalError", fault), request, request_id)

    def _serve(
        self, service: str, region: Region, request: Request, form: protocol.Parameters, body: Body, request_id: str
    ) -> Answer:
        if service == "s3":
            return self._serve_s3(request, body, request_id)
        if service == "ebs":
            return serve_ebs(region, request, body, request_id)
        if service in JSON:
            operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
            return JSON[service](region, operation, body.read_all(LARGEST_FORM), request_id)
        if not request.credential and "AWSAccessKeyId" not in form:
            raise ServiceError("AuthFailure", "AWS was not able to validate the provided access credentials")
        return serve_query(region, service, form, request_id)

    def _operation(self, service: str, request: Request, form: protocol.Parameters) -> str:
        """The name of the operation, for the rules of faults; empty when it has none."""
        try:
            if service == "s3":
                return s3_operation_of(request.method, request.path, request.query, request.headers)
            if service == "ebs":
                return jsonwire.rest_operation("ebs", request.method, request.path)[0]
        except ServiceError:
            return ""
        return form.get("Action", "") or request.headers.get("X-Amz-Target", "").rpartition(".")[2]

    def _control(self, method: str, body: Body) -> Answer:
        """What is to go wrong: GET tells it, PUT replaces it, DELETE ends it."""
        rules = self.region.faults
        try:
            if method == "PUT":
                rules.set(faults.parse(body.read_all(faults.LARGEST)))
            elif method == "DELETE":
                rules.set([])
            elif method != "GET":
                raise ServiceError("MethodNotAllowed", "GET, PUT or DELETE")
        except (ValueError, TypeError) as error:
            return _document({"message": f"{CONTROL}: {error}"}, status=400)
        return _document(rules.told())

    def _as_seen_by(self, request: Request, form: protocol.Parameters) -> Region:
        """Every caller is the region's one account, but who calls itself amazon: so its images get there. An access
        key of twelve digits is the account of that number: somebody to share with."""
        key = KEY.search(request.credential)
        name = key[1] if key else form.get("AWSAccessKeyId", "")
        scope = SCOPE.search(request.credential)
        region = self.region.named(scope[1]) if scope is not None else self.region
        if name == AMAZON:
            return region.as_seen_by(AMAZON_ACCOUNT)
        return region.as_seen_by(name) if ACCOUNT.fullmatch(name) else region

    def _form(self, request: Request, body: Body) -> protocol.Parameters:
        """The parameters of a query-protocol call, from its form or its query string; empty for any other."""
        kind = request.headers.get("Content-Type", "")
        if request.method == "POST" and kind.startswith("application/x-www-form-urlencoded") and request.path == "/":
            return protocol.Parameters(body.read_all(LARGEST_FORM).decode("utf-8", "replace"))
        found = protocol.Parameters(request.query if request.path == "/" else "")
        return found if "Action" in found else protocol.Parameters("")

    def _service(self, request: Request, form: protocol.Parameters) -> str:
        scope = SCOPE.search(request.credential)
        if scope is not None and scope[2] not in SERVED:
            raise _OtherService(scope[2])
        if scope is not None:
            return scope[2]
        if "X-Amz-Target" in request.headers:
            raise _OtherService(request.headers["X-Amz-Target"].partition(".")[0])
        return VERSIONS.get(form.get("Version", ""), "ec2") if "Action" in form else "s3"

    def _serve_s3(self, request: Request, body: Body, request_id: str) -> Answer:
        return serve_s3(
            state=self.region.state,
            region=ec2.NAME,
            method=request.method,
            path=request.path,
            parameters=protocol.Parameters(request.query),
            headers=request.headers,
            body=body,
            anonymous=not request.credential,
            request_id=request_id,
        )

    def _refusal(self, service: str, error: ServiceError, request: Request, request_id: str) -> Answer:
        if error.code == "NotModified":
            return Answer(status=304, headers={"x-amz-request-id": request_id})
        if service == "ebs" or service in JSON:
            return jsonwire.refusal(service, error, request_id)
        if isinstance(error, _OtherService) and "json" in request.headers.get("Content-Type", ""):
            text = json.dumps({"__type": error.code, "message": error.message}).encode()
            return Answer(status=error.status, headers={"Content-Type": "application/x-amz-json-1.0"}, body=text)
        form = "sts" if isinstance(error, _OtherService) else service
        body = protocol.serialize_error(form, error, request_id)
        headers = {"Content-Type": XML, "x-amz-request-id": request_id}
        if request.method == "HEAD":
            # A HEAD has no body: what clients see is the status alone.
            return Answer(status=error.status, headers=headers, length=0)
        return Answer(status=error.status, headers=headers, body=body)


def _document(told: object, status: int = 200) -> Answer:
    body = json.dumps(told, indent=1).encode() + b"\n"
    return Answer(status=status, headers={"Content-Type": "application/json"}, body=body)


def _spoiled(answer: Answer, faults_left: frozenset[str]) -> Answer:
    """What is left to do wrong when the request was served."""
    if "lost" in faults_left:
        for file, _, _ in answer.files:
            file.close()
        raise faults.Reset("on request")
    if "checksum" in faults_left:
        wrong = {name: OTHER_CHECKSUM for name in answer.headers if name.lower() == "x-amz-checksum"}
        return replace(answer, headers={**answer.headers, **wrong})
    return answer


def _refuse_web_pages(headers: Mapping[str, str]) -> None:
    """A page in this user's browser reaches the loopback device too: as itself, with an Origin, or under a name of its
    own that it has made to lead here."""
    host = headers.get("Host", "localhost").lower()
    if "Origin" in headers or _OWN_HOST.fullmatch(host) is None:
        raise ServiceError("AccessDenied", "The local region answers programs of this machine, not web pages")


class _OtherService(ServiceError):
    """A call to a service that the region does not have: refused, so that nothing looks kept that is not."""

    def __init__(self, service: str) -> None:
        super().__init__(
            "UnsupportedOperation", f"The local region does not offer {service}: it has s3, sts and EC2's image calls"
        )
