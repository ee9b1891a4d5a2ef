"""The DescribeImages calls that an ec2-describe-images line makes."""

from typing import Any

import pytest

from builder.classic.command import parse
from builder.classic.images import DEREGISTER, DESCRIBE, requests
from builder.errors import RecipeError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param([], [{"Owners": ["self"]}, {"ExecutableUsers": ["self"]}], id="yours"),
        pytest.param(["-a"], [{}], id="all"),
        pytest.param(["-o", "self", "-o", "amazon"], [{"Owners": ["self", "amazon"]}], id="the article's line"),
        pytest.param(["-a", "-o", "amazon"], [{"Owners": ["amazon"]}], id="all of an owner"),
        pytest.param(["-x", "all", "ami-1", "ami-2"], [{"ImageIds": ["ami-1", "ami-2"], "ExecutableUsers": ["all"]}]),
        pytest.param(["ami-1", "-o", "self", "ami-2"], [{"ImageIds": ["ami-1", "ami-2"], "Owners": ["self"]}]),
        pytest.param(
            ["-F", "state=available", "-F", "name=a=b", "--filter", "name=c"],
            [
                {"Filters": filters, mine: ["self"]}
                for mine in ("Owners", "ExecutableUsers")
                for filters in [[{"Name": "state", "Values": ["available"]}, {"Name": "name", "Values": ["a=b", "c"]}]]
            ],
            id="filters",
        ),
    ],
)
def test_requests(words: list[str], expected: list[dict[str, Any]]) -> None:
    assert list(requests(parse(DESCRIBE, words, {}))) == expected


def test_a_filter_that_is_none() -> None:
    with pytest.raises(RecipeError, match='-F, --filter: "name" is no filter'):
        parse(DESCRIBE, ["-F", "name"], {})


def test_an_image_to_deregister_must_be_named() -> None:
    with pytest.raises(RecipeError, match="ec2-deregister: missing: IMAGE"):
        parse(DEREGISTER, [], {})
