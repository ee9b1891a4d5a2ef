import pytest

from builder.cli.options import endpoint
from builder.errors import RecipeError


def test_an_endpoint_is_an_address() -> None:
    assert endpoint(None) is None
    assert endpoint("http://127.0.0.1:5000/") == "http://127.0.0.1:5000"
    assert endpoint("https://ec2.cloud.example/path") == "https://ec2.cloud.example/path"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "127.0.0.1:5000",
        "ftp://x",
        "http://",
        "http://a b",
        "http://x:99999",
        "http://[::1",
        "http://\u00e4",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(RecipeError, match="is not an address"):
        endpoint(text)


def test_no_password_gets_into_keys_and_messages() -> None:
    with pytest.raises(RecipeError) as caught:
        endpoint("http://user:word@127.0.0.1:1")
    assert "word" not in str(caught.value)
