"""The stage's own data: read whole, explained, consistent with itself, and part of the spec."""

import shutil
import tomllib
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.stages.repository.definition import DATA, Link, definition_digest, load_definition


def test_data() -> None:
    definition = load_definition()
    assert (definition.base, definition.accounts) == ("quickstart-base", "quickstart-accounts")
    assert {"/usr", "/usr/bin", "/proc", "/bin", "/var/run"} <= definition.skeleton
    assert Link(package="quickstart-base", path="/bin", target="usr/bin") in definition.base_links
    assert not definition.skeleton & {each.path for each in definition.files}


def test_directories_come_with_their_parents() -> None:
    paths = {each.path for each in load_definition().directories} | {"/"}
    assert {path for path in paths if str(Path(path).parent) not in paths} == set()


def test_groups_of_users_are_known() -> None:
    definition = load_definition()
    ours = {each.gid for each in definition.groups} | {65534}
    assert {each.gid for each in definition.users} <= ours


def test_modes_are_readable_unless_meant() -> None:
    closed = {each.path for each in load_definition().files if not each.mode & 0o004}
    assert closed == {"/etc/security/opasswd", "/var/log/btmp"}


def test_digest_is_of_the_data_and_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(DATA.parent, tmp_path / "repository")
    monkeypatch.setattr("builder.stages.repository.definition.DATA", tmp_path / "repository" / DATA.name)
    digests = {definition_digest.__wrapped__()}
    for name in (DATA.name, "convert.py"):
        with (tmp_path / "repository" / name).open("a") as file:
            file.write("# more\n")
        digests.add(definition_digest.__wrapped__())
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("format = 2\n", "format is not 1", id="other format"),
        pytest.param('[[group]]\nname = "a"\ngid = 1\n', r"\[\[group\]\] does not say why", id="unexplained"),
        pytest.param("[[unheard]]\n", "'unheard' is not known", id="unknown"),
    ],
)
def test_bad_data(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    head = 'format = 1\nbase = "b"\naccounts = "a"\nrelease = "1"\n'
    path.write_text(text if text.startswith("format") else head + text)
    tomllib.loads(path.read_text())
    with pytest.raises(BuilderError, match=message):
        load_definition(path)
