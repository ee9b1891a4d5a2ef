import pytest

from builder.catalog.regions import LOCAL_REGIONS, Region, names, region
from builder.errors import RecipeError


def test_regions() -> None:
    assert region("local") == Region(name="local", partition="aws")
    assert region("us-east-1") == Region(name="us-east-1", partition="aws")
    assert region("us-gov-west-1") == Region(name="us-gov-west-1", partition="aws-us-gov")
    assert region("cn-north-1") == Region(name="cn-north-1", partition="aws-cn")
    assert region("eu-south-2") == Region(name="eu-south-2", partition="aws")
    assert region("us-gov-east-1") == Region(name="us-gov-east-1", partition="aws-us-gov")
    assert [each for each in names() if region(each).is_local] == ["local"]
    assert all(region(each).is_local for each in LOCAL_REGIONS)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("us-east1", '"us-east1" is not a region; did you mean "us-east-1"?'),
        ("Local", '"Local" is not a region; did you mean "local"?'),
        ("\n", '"?" is not a region'),
    ],
)
def test_unknown(name: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        region(name)
    assert caught.value.brief == said
