"""The pages for people: their links lead somewhere, and their commands exist with the options they are given."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "tests/README.md", *(ROOT / "recipes").glob("*.md")]
)


def commands(page: Path) -> Iterator[str]:
    """The lines of a page's `sh` blocks, without comments."""
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith("#"):
                yield line.strip()


ALL_COMMANDS = [pytest.param(line, id=f"{page.name}: {line}") for page in PAGES for line in commands(page)]


@cache
def help_of(*verb: str) -> str:
    command = [ROOT / ".venv/bin/ami-factory", *verb, "--help"]
    # Wide: an option must not be cut in two at the end of a line.
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"COLUMNS": "300", "NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def manual_of(command: str) -> str:
    done = subprocess.run(
        [ROOT / ".venv/bin" / command, "--manual"], capture_output=True, text=True, check=False, env={"COLUMNS": "300"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def verb_of(words: list[str]) -> tuple[str, ...]:
    """The verb, and its second word where the verb is a group (`region start`)."""
    group = len(words) > 1 and "COMMAND [ARGS]" in help_of(words[0])
    return (words[0], words[1]) if group else (words[0],)


@pytest.mark.parametrize("line", ALL_COMMANDS)
def test_every_command_of_a_page_exists(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        dry = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert dry.returncode == 0, dry.stderr
    elif words[0].endswith("ami-factory"):
        verb = verb_of(words[1:])
        known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_of(*verb)))
        used = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert used <= known
        recipes = [word for word in words if word.endswith(".toml")]
        assert [each for each in recipes if not (ROOT / each).exists()] == []
    elif words[0] == "eval":  # what a shell is told by a command of ours
        test_every_command_of_a_page_exists(words[1].removeprefix("$(").removesuffix(")"))
    elif words[0].startswith("ec2-"):
        used = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert used <= set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", manual_of(words[0])))
    elif words[0] not in ("mkdir", "ssh"):
        pytest.fail(f"what runs {words[0]!r}? A page shows commands of make, of ami-factory, and the classic ones")


def test_readme_names_every_verb() -> None:
    commands_of = help_of().partition("Commands:")[2]
    verbs = set(re.findall(r"^  ([a-z]+) ", commands_of, re.MULTILINE))
    named = set(re.findall(r"`([a-z]+)`", (ROOT / "README.md").read_text().partition("| verb |")[2].partition("##")[0]))
    assert named == verbs


def test_make_help_names_every_target() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared
    assert set(re.findall(r"^  ([a-z-]+) ", said, re.MULTILINE)) == set(declared[1].split())


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        if "://" in name:
            continue
        other = (page.parent / name) if name else page
        if not other.exists() or (anchor and anchor not in anchors(other)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The names that headings can be linked by: lower case, spaces as dashes, other marks gone."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
