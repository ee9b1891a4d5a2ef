"""What every test can count on: nothing of the user's own is read or written, and tools are really there."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.tools import missing

# What a developer's shell may hold, and a test must not depend on.
AMBIENT = ("AWS_", "XDG_", "AMI_FACTORY_", "EC2_", "S3_", "SOURCE_DATE_EPOCH", "NO_COLOR", "FORCE_COLOR", "COLUMNS")


# A shell ignores Ctrl-C for what it runs in its background, and children inherit that: tests send SIGINT to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write what is expected anew, from what is")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `host` needs the tools of the host: on a desk it is skipped without them, in CI it fails."""
    if item.get_closest_marker("host") and (lacking := missing()):
        message = f"this machine lacks {', '.join(lacking)}: run make setup"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)


@pytest.fixture(autouse=True)
def _nobody(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No account, no settings, no home of the caller's: a test that wants some makes its own."""
    for name in list(os.environ):
        if name.startswith(AMBIENT):
            monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--rewrite-golden"))


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all workers of one run share: what is fetched or made once is there for the others.

    Set AMI_FACTORY_TEST_CACHE to keep it from run to run.
    """
    kept = os.environ.get("AMI_FACTORY_TEST_CACHE")
    base = tmp_path_factory.getbasetemp()
    place = Path(kept) if kept else (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "downloads"
    place.mkdir(parents=True, exist_ok=True)
    return place
