import pytest
from pydantic import ValidationError

from builder.recipe.aws import Register


def test_as_many_tags_as_ec2_leaves_room_for() -> None:
    tags = {f"tag{number}": "x" for number in range(46)}
    assert Register(tags=tags).tags == tags
    with pytest.raises(ValidationError, match="47 tags are more than the 46 that EC2 leaves room for"):
        Register(tags={**tags, "one": "more"})
