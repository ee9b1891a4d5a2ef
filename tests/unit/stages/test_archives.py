"""Where .deb files come from."""

from pathlib import Path

import pytest

from builder.errors import HostError
from builder.host import apt
from builder.stages import archives
from builder.stages.contract import StageContext, Surroundings
from builder.stages.values import DebArchive

ONE = DebArchive(
    id="one", suites=("stable", "stable-updates"), components=("main", "contrib"), archive="One", keyring="one-keyring"
)
TWO = DebArchive(id="two", suites=("stable",), components=("main",), baseurl="https://two.example.com/x", keys=("d",))


def context(tmp_path: Path, **mirrors: str) -> StageContext:
    return StageContext(
        key="",
        inputs=(),
        output=tmp_path,
        scratch=tmp_path,
        surroundings=Surroundings(state=tmp_path, cache=tmp_path, trees=tmp_path, mirrors=mirrors),
        progress=lambda *_: None,
    )


def test_sources() -> None:
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n"
    places = {"one": "https://one.example.com/debian/", "two": TWO.baseurl}
    assert archives.format_sources((ONE, TWO), places, {"d": key}, "amd64") == (
        "Types: deb\nURIs: https://one.example.com/debian/\nSuites: stable stable-updates\n"
        "Components: main contrib\nArchitectures: amd64\nSigned-By: /usr/share/keyrings/one-keyring.gpg\n"
        "\n"
        "Types: deb\nURIs: https://two.example.com/x\nSuites: stable\nComponents: main\nArchitectures: amd64\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n"
    )


def test_a_mirror_comes_before_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def addresses(debian: str, state: Path, labels: list[str], note: object) -> dict[str, str]:
        asked.append((debian, labels))
        return {"One": "https://host.example.com/one/"}

    monkeypatch.setattr(apt, "addresses", addresses)
    assert archives._places((ONE, TWO), "i386", context(tmp_path)) == {
        "one": "https://host.example.com/one/",
        "two": "https://two.example.com/x",
    }
    assert asked == [("i386", ["One"])]
    mirrored = context(tmp_path, one="https://mirror/1", two="https://mirror/2")
    assert archives._places((ONE, TWO), "i386", mirrored) == {"one": "https://mirror/1", "two": "https://mirror/2"}
    assert len(asked) == 1


def test_a_keyring_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HostError) as error:
        archives._sources((ONE,), "amd64", context(tmp_path, one="https://mirror/1"))
    assert error.value.brief.startswith(
        "distribution.repositories one: this machine has no keyring /usr/share/keyrings"
    )
    assert error.value.hint.startswith("run: apt-get install one-keyring")


def test_other_sources_have_other_lists() -> None:
    names = {apt.Sources(text=text, excludes=excludes).name for text in ("a", "b") for excludes in ((), ("x",))}
    assert len(names) == 4
