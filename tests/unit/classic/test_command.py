"""From words to options: what every classic command has in common."""

import pytest

from builder import __version__
from builder.classic.command import Command, execute, help_text, manual_text, obsolete, parse
from builder.classic.options import COMMON, OLD_S3, YES, Option, listed, whole
from builder.errors import BuilderError, RecipeError

NOTHING: dict[str, str] = {}


def tried(**more: object) -> Command:
    given: list[object] = []
    settings = {
        "name": "ec2-try",
        "summary": "Try.",
        "options": (
            Option(names=("THING",), value="THING", help="What is tried."),
            Option(names=("-b", "--bucket"), value="BUCKET", help="Bucket.", required=True),
            Option(names=("-k", "--privatekey"), value="PATH", help="Key.", variables=("OLD_KEY", "EC2_PRIVATE_KEY")),
            Option(names=("--part",), value="N", help="Part: 100% of it.", read=whole, default=0),
            Option(names=("--codes",), value="A,B", help="Codes.", read=listed, repeated=True, default=()),
            Option(names=("--acl",), value="ACL", help="Access.", choices=("one", "two")),
            Option(names=("--inherit",), help="Inherit.", no=True),
            *OLD_S3,
            YES,
            *COMMON,
        ),
        "run": given.append,
        "examples": "ec2-try -b x",
        "manual": "details:\n  More.",
    }
    return Command(**{**settings, **more})  # type: ignore[arg-type]


def test_options_and_their_defaults() -> None:
    options = vars(parse(tried(), ["-b", "x"], NOTHING))
    assert {name: options[name] for name in ("thing", "bucket", "privatekey", "part", "codes", "acl", "inherit")} == {
        "thing": None,
        "bucket": "x",
        "privatekey": None,
        "part": 0,
        "codes": (),
        "acl": None,
        "inherit": None,
    }
    assert (options["yes"], options["batch"], options["debug"], options["retry"]) == (False, False, False, False)


def test_what_is_given_is_read() -> None:
    words = ["t", "--bucket=x", "--part", "04", "--codes", "a,b", "--codes", "c", "--acl", "two", "--no-inherit", "-y"]
    options = parse(tried(), words, NOTHING)
    assert (options.thing, options.bucket, options.part, options.codes) == ("t", "x", 4, (("a", "b"), ("c",)))
    assert (options.acl, options.inherit, options.yes) == ("two", False, True)


@pytest.mark.parametrize("words", [["-b", ""], ["-b", "x", "-k", ""], ["-b", "x", "--codes", "a", "--codes", ""]])
def test_an_empty_value_is_not_taken_for_none(words: list[str]) -> None:
    """`ec2-unbundle -c "$CERT"` where CERT is not set must not go on without looking at the signature."""
    with pytest.raises(RecipeError, match="is empty"):
        parse(tried(), words, NOTHING)


def test_a_long_option_can_be_cut_short() -> None:
    """As with the originals, while it is clear which one is meant."""
    assert parse(tried(), ["--buck", "x"], NOTHING).bucket == "x"


def test_variables_stand_in_for_options_in_their_order() -> None:
    environment = {"EC2_PRIVATE_KEY": "second", "OLD_KEY": "first"}
    assert parse(tried(), ["-b", "x"], environment).privatekey == "first"
    assert parse(tried(), ["-b", "x"], {"EC2_PRIVATE_KEY": "second", "OLD_KEY": ""}).privatekey == "second"
    assert parse(tried(), ["-b", "x", "-k", "given"], environment).privatekey == "given"


@pytest.mark.parametrize(
    ("words", "brief"),
    [
        pytest.param([], "ec2-try: missing: -b, --bucket BUCKET", id="missing"),
        pytest.param(["-b"], "ec2-try: -b/--bucket: expected one argument", id="no value"),
        pytest.param(["-b", "x", "--bukcet"], "ec2-try: no such option: --bukcet", id="misspelt"),
        pytest.param(["-b", "x", "one", "two"], 'ec2-try: what is "two" for?', id="too many"),
        pytest.param(["-b", "x", "--acl", "3"], '--acl: "3" is none of one, two', id="no choice"),
        pytest.param(["-b", "x", "--part", "x"], '--part: "x" is not a whole number', id="no number"),
        pytest.param(["-b", "x", "--sigv", "3"], '--sigv: "3" is none of 2, 4', id="no signature version"),
    ],
)
def test_what_is_wrong_is_said_once(words: list[str], brief: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(tried(), words, NOTHING)
    assert caught.value.brief == brief


@pytest.mark.parametrize("option", ["--b", "--bukcet", "--nothing-like-it"])
def test_a_value_is_never_shown(option: str) -> None:
    """That of --secretkey=, which is none of ours, might be somebody's secret."""
    with pytest.raises(RecipeError) as caught:
        parse(tried(), [f"{option}=hidden", "-b", "x"], NOTHING)
    assert "hidden" not in caught.value.brief + caught.value.hint
    assert option in caught.value.brief


def test_the_nearest_option_is_named() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(tried(), ["-b", "x", "--bukcet=y"], NOTHING)
    assert caught.value.hint == "did you mean --bucket? see: ec2-try --help"


@pytest.mark.parametrize("words", [["--help"], ["-h", "--nonsense"], ["--version"], ["--manual"]])
def test_help_comes_before_what_is_wrong(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(tried(), words, NOTHING) == 0
    assert (capsys.readouterr().out != "", capsys.readouterr().err) == (True, "")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    execute(tried(), ["--version"], NOTHING)
    assert capsys.readouterr().out == f"ec2-try {__version__} (ami-factory)\n"


def test_help_and_manual() -> None:
    help, manual = help_text(tried()), manual_text(tried())
    assert help.splitlines()[0] == "usage: ec2-try -b BUCKET [OPTIONS] THING"
    assert ("--sigv" in help, "--sigv" in manual) == (False, True)
    assert "100% of it" in help
    assert "[$OLD_KEY]" in help
    assert "  OLD_KEY          stands in for -k\n  EC2_PRIVATE_KEY  stands in for -k" in manual
    assert all(text in manual for text in ("details:\n  More.", "exit codes:", "examples:\n  ec2-try -b x"))


def test_what_means_nothing_any_more_is_said_once() -> None:
    options = parse(tried(), ["-b", "x", "--sigv", "2", "--retry"], NOTHING)
    assert obsolete(tried(), options) == [
        "note: --sigv has no meaning any more: requests are always signed with version 4",
        "note: --retry has no meaning any more: a failed request is always tried again, after a wait",
    ]
    assert obsolete(tried(), parse(tried(), ["-b", "x"], NOTHING)) == []


def test_debug_tells_the_way_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_: object) -> None:
        raise BuilderError("no good")

    for words, told in ((["-b", "x"], False), (["-b", "x", "--debug"], True)):
        with pytest.raises(BuilderError, match="no good"):
            execute(tried(run=fails), words, NOTHING)
        assert ("in fails" in capsys.readouterr().err) is told


def test_plain_arguments_that_can_be_several() -> None:
    things = Option(names=("THING",), value="THING", help="Things.", repeated=True, required=True, default=())
    command = tried(options=(things, Option(names=("-n",), value="N", help="N.", read=whole), *COMMON))
    options = parse(command, ["a", "-n", "1", "b"], NOTHING)
    assert (options.thing, options.n) == (("a", "b"), 1)
    with pytest.raises(RecipeError, match="missing: THING"):
        parse(command, ["-n", "1"], NOTHING)
    assert help_text(command).startswith("usage: ec2-try [OPTIONS] THING...\n")


@pytest.mark.parametrize("words", [["-t", "-1:-1"], ["-t-1:-1"], ["--type", "-1:-1"], ["--type=-1:-1"]])
def test_a_value_that_begins_like_an_option(words: list[str]) -> None:
    command = tried(options=(Option(names=("-t", "--type"), value="TYPE:CODE", help="ICMP."), *COMMON))
    assert parse(command, words, NOTHING).type == "-1:-1"
