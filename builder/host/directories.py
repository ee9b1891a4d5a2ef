"""Where this user's own files are, by the XDG base directory specification."""

import os
from pathlib import Path


def _xdg(variable: str, fallback: str) -> Path:
    given = os.environ.get(variable, "")
    return (Path(given) if given.startswith("/") else Path.home() / fallback) / "ami-factory"


def cache_directory() -> Path:
    """$XDG_CACHE_HOME/ami-factory: everything in it can be made again."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def state_directory() -> Path:
    """$XDG_STATE_HOME/ami-factory: keys, certificates, the local region."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def region_directory() -> Path:
    """Where the local region lives."""
    return state_directory() / "region"
