"""Which operation a request stands for, and the forms of errors."""

from xml.etree import ElementTree

import pytest

from builder.region import protocol
from builder.region.errors import ServiceError


@pytest.mark.parametrize(
    ("method", "depth", "query", "headers", "operation"),
    [
        ("GET", 0, "x-id=ListBuckets", (), "ListBuckets"),
        ("PUT", 1, "", (), "CreateBucket"),
        ("HEAD", 1, "", (), "HeadBucket"),
        ("DELETE", 1, "", (), "DeleteBucket"),
        ("GET", 1, "prefix=a", (), "ListObjects"),
        ("GET", 1, "list-type=2&prefix=a", (), "ListObjectsV2"),
        ("GET", 1, "location", (), "GetBucketLocation"),
        ("GET", 1, "uploads", (), "ListMultipartUploads"),
        ("GET", 1, "versions", (), "ListObjectVersions"),
        ("PUT", 1, "policy", (), "PutBucketPolicy"),
        ("PUT", 1, "ownershipControls", (), "PutBucketOwnershipControls"),
        ("POST", 1, "delete", (), "DeleteObjects"),
        ("PUT", 2, "x-id=PutObject", (), "PutObject"),
        ("PUT", 2, "", ("X-Amz-Copy-Source",), "CopyObject"),
        ("PUT", 2, "partNumber=1&uploadId=u", (), "UploadPart"),
        ("PUT", 2, "partNumber=1&uploadId=u", ("x-amz-copy-source",), "UploadPartCopy"),
        ("PUT", 2, "acl", (), "PutObjectAcl"),
        ("GET", 2, "", (), "GetObject"),
        ("GET", 2, "acl", (), "GetObjectAcl"),
        ("GET", 2, "attributes", ("x-amz-object-attributes",), "GetObjectAttributes"),
        ("GET", 2, "uploadId=u", (), "ListParts"),
        ("POST", 2, "uploads", (), "CreateMultipartUpload"),
        ("POST", 2, "uploadId=u", (), "CompleteMultipartUpload"),
        ("DELETE", 2, "", (), "DeleteObject"),
        ("DELETE", 2, "uploadId=u", (), "AbortMultipartUpload"),
        ("DELETE", 2, "tagging", (), "DeleteObjectTagging"),
    ],
)
def test_operations(method: str, depth: int, query: str, headers: tuple[str, ...], operation: str) -> None:
    assert protocol.s3_operation(method, depth, protocol.Parameters(query), headers) == operation


@pytest.mark.parametrize(("method", "depth", "query"), [("PATCH", 2, ""), ("POST", 2, ""), ("DELETE", 0, "")])
def test_no_operation(method: str, depth: int, query: str) -> None:
    with pytest.raises(ServiceError, match="MethodNotAllowed"):
        protocol.s3_operation(method, depth, protocol.Parameters(query), ())


@pytest.mark.parametrize(
    ("service", "path"),
    [("s3", "."), ("ec2", "Errors/Error"), ("sts", "{https://sts.amazonaws.com/doc/2011-06-15/}Error")],
)
def test_errors(service: str, path: str) -> None:
    text = protocol.serialize_error(service, ServiceError("Code", "<a> & b"), "id")
    found = ElementTree.fromstring(text).find(path)
    assert found is not None
    values = {each.tag.rpartition("}")[2]: each.text for each in found}
    assert (values["Code"], values["Message"]) == ("Code", "<a> & b")


def test_an_answer_that_the_model_does_not_have_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError, match="DescribeImages has no Pictures"):
        protocol.serialize("ec2", "DescribeImages", {"Pictures": []}, "id")


def test_parameters() -> None:
    form = "Action=DescribeImages&Owner.1=self&Filter.1.Name=name&Filter.1.Value.1=a&Filter.1.Value.2=b&MaxResults=5"
    assert protocol.parse_query("ec2", "DescribeImages", protocol.Parameters(form)) == {
        "Owners": ["self"],
        "Filters": [{"Name": "name", "Values": ["a", "b"]}],
        "MaxResults": 5,
    }
