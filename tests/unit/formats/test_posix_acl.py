"""Access lists: what tar writes of them is what Linux keeps."""

import os
import subprocess
from pathlib import Path

import pytest

from builder.formats.posix_acl import attribute

MINIMAL = "user::rw-\ngroup::r--\nother::---"


def test_the_kernel_reads_it_and_tells_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    text = "user::rw-,user:1000:r-x,user:0:rwx,group::r--,group:42:-wx,mask::rwx,other::---"
    value = attribute(text)
    try:
        os.setxattr(path, "system.posix_acl_access", value)
    except OSError as error:
        pytest.skip(f"no access lists on this file system: {error.strerror}")
    assert os.getxattr(path, "system.posix_acl_access") == value
    if os.path.exists("/usr/bin/getfacl"):  # noqa: PTH110
        said = subprocess.run(["getfacl", "-nc", path], capture_output=True, text=True, check=True).stdout
        assert set(said.split()) >= {"user:1000:r-x", "group:42:-wx", "mask::rwx"}


@pytest.mark.parametrize(
    "same",
    [
        "user::rw-,group::r--,other::---",
        "user::rw-\t#effective:rw-\ngroup::r--\nother::---\n\n",
        "other::---\nuser::rw-\ngroup::r--",
    ],
)
def test_forms(same: str) -> None:
    assert attribute(same) == attribute(MINIMAL)


def test_numbers_and_root() -> None:
    assert attribute(f"{MINIMAL}\nuser:root:rwx\nmask::rwx") == attribute(f"{MINIMAL}\nuser:0:rwx\nmask::rwx")
    assert attribute(f"{MINIMAL}\nuser:joe:rwx:1000\nmask::rwx") == attribute(f"{MINIMAL}\nuser:1000:rwx\nmask::rwx")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "without its user, group or other"),
        (f"{MINIMAL}\nuser:joe:rwx", '"joe" is a name'),
        (f"{MINIMAL}\nmask:joe:rwx", "mask has no name"),
        (f"{MINIMAL}\nuser:5000000000:rwx", "kept by number"),
        ("user::rwz", "no entry of an access list"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attribute(text)
