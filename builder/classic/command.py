"""From the words of a command line to options, and back to help and manual; what every classic command begins with."""

import argparse
import difflib
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from builder import __version__
from builder.classic.options import Option, headings
from builder.cli import boundary, output
from builder.errors import BuilderError, RecipeError

Options = argparse.Namespace
"""The parsed options: one attribute for each `Option.name`."""

MANIFEST_VERSION = "20071010"
_VALUE = re.compile(r"(?<=^ambiguous option: )(--[\w-]+)=.*(?= could match )", re.DOTALL)
_ICMP = re.compile(r"-\d+:-?\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A classic command."""

    name: str
    summary: str
    """One sentence: what it does."""
    options: tuple[Option, ...]
    run: Callable[[Options], None]
    """Does it; its result goes to stdout. Every error is a BuilderError."""
    examples: str
    manual: str = ""
    """What the manual says beyond the help: what differs from the original, what is asked, what is left on failure."""
    interrupted: str = "nothing half-done is left: run it again"


class _Answered(Exception):
    """Help, manual or version was asked for, and this is it."""


def enter(command: Command) -> None:
    """Run a command with the words of the process, and exit."""
    boundary.enter(lambda: execute(command, sys.argv[1:], os.environ), interrupted=command.interrupted)


def execute(command: Command, words: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit code of a command that was not refused."""
    try:
        options = parse(command, words, environment)
    except _Answered as answer:
        output.result(str(answer))
        return 0
    for note in obsolete(command, options):
        output.say(note)
    try:
        command.run(options)
    except BuilderError:
        if options.debug:
            _tell_origin()
        raise
    return 0


def parse(command: Command, words: Sequence[str], environment: Mapping[str, str]) -> Options:
    """The options; RecipeError for the first thing that is wrong with them, or for all that is missing."""
    options = _parser(command).parse_intermixed_args(_joined(words))
    for option in command.options:
        given = getattr(options, option.name)
        if given is None or given == []:
            given = next((environment[name] for name in option.variables if environment.get(name)), None)
            if given is None:
                setattr(options, option.name, option.default)
                continue
        elif "" in (given if isinstance(given, list) else [given]):
            # "$CERT" of a shell that has no CERT: not given is not what was meant, least of all of a certificate.
            raise RecipeError(f"{command.name}: {_called(option)} is empty", hint=_help_hint(command.name))
        setattr(options, option.name, _read(option, given))
    missing = [each for each in command.options if each.required and getattr(options, each.name) in (None, ())]
    if missing:
        raise RecipeError(
            f"{command.name}: missing: {'; '.join(map(_called, missing))}",
            hint=_help_hint(command.name),
        )
    return options


def obsolete(command: Command, options: Options) -> list[str]:
    """What to say of options that were given and mean nothing any more."""
    return [
        f"note: {each.names[0]} has no meaning any more: {each.obsolete}"
        for each in command.options
        if each.obsolete and getattr(options, each.name) not in (None, False)
    ]


def help_text(command: Command) -> str:
    """What --help prints."""
    return _parser(command).format_help().rstrip()


def manual_text(command: Command) -> str:
    """What --manual prints: the help with every option, the variables, and what is particular to this command."""
    parts = [
        _parser(command, everything=True).format_help().rstrip(),
        f"environment:\n{_variables(command)}" if _variables(command) else "",
        command.manual.strip("\n"),
        _EXITS,
    ]
    return "\n\n".join(part for part in parts if part)


_EXITS = """\
exit codes:
  0 done, 1 failed, 2 wrong options, 3 this machine lacks something, 4 the region refused, 130 interrupted"""


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are ours."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            raise self._unknown(unknown.split()[0])
        said = _VALUE.sub(r"\1", message.removeprefix("argument "))
        raise RecipeError(f"{self.prog}: {said}", hint=_help_hint(self.prog))

    def _unknown(self, word: str) -> RecipeError:
        if not word.startswith("-"):
            return RecipeError(f'{self.prog}: what is "{word}" for?', hint=_help_hint(self.prog))
        word = word.partition("=")[0]  # what follows may be a secret
        known = [name for action in self._actions for name in action.option_strings]
        near = difflib.get_close_matches(word, known, n=1)
        hint = f"did you mean {near[0]}? {_help_hint(self.prog)}" if near else _help_hint(self.prog)
        return RecipeError(f"{self.prog}: no such option: {word}", hint=hint)


class _Layout(argparse.RawDescriptionHelpFormatter):
    """An option's names, and what its value is called once; no name is cut in two."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return str(action.metavar)
        value = f" {action.metavar}" if action.metavar else ""
        return ", ".join(action.option_strings) + value

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


class _Answer(argparse.Action):
    """Ends parsing with a text, whatever else is wrong with the line."""

    def __init__(self, option_strings: Sequence[str], dest: str, text: Callable[[], str], help: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)
        self._text = text

    def __call__(self, *_: object, **__: object) -> None:
        raise _Answered(self._text())


def _parser(command: Command, *, everything: bool = False) -> _Parser:
    parser = _Parser(
        prog=command.name,
        description=command.summary,
        epilog=f"examples:\n{textwrap.indent(command.examples.strip(chr(10)), '  ')}",
        usage=_usage(command),
        formatter_class=lambda prog: _Layout(prog, max_help_position=32, width=_width()),
        add_help=False,
    )
    groups = {heading: parser.add_argument_group(heading) for heading in headings(command.options)}
    answers = {
        "help": lambda: help_text(command),
        "manual": lambda: manual_text(command),
        "version": lambda: f"{command.name} {__version__} (ami-factory)",
    }
    for option in command.options:
        shown = option.help + (f" [${option.variables[0]}]" if option.variables else "")
        text = argparse.SUPPRESS if option.hidden and not everything else shown.replace("%", "%%")
        named: dict[str, Any] = {"help": text}
        if option.names[0].startswith("-"):
            named |= {"dest": option.name, "default": None}
        if option.name in answers:
            named |= {"action": _Answer, "text": answers[option.name]}
        elif not option.names[0].startswith("-"):
            named |= {"nargs": "*" if option.repeated else "?", "metavar": option.value}
        elif option.no:
            named |= {"action": argparse.BooleanOptionalAction}
        elif not option.value:
            named |= {"action": "store_true", "default": False}
        else:
            named |= {"metavar": option.value, "action": "append" if option.repeated else "store"}
        names = option.names if option.names[0].startswith("-") else (option.name,)
        groups[option.heading].add_argument(*names, **named)
    return parser


def _usage(command: Command) -> str:
    """What cannot be left out; the rest is in the list of options."""
    needed = [
        f"{each.names[0]} {each.value}" for each in command.options if each.required and each.names[0].startswith("-")
    ]
    plain = [
        f"{each.value}{'...' if each.repeated else ''}" for each in command.options if not each.names[0].startswith("-")
    ]
    return " ".join([command.name, *needed, "[OPTIONS]", *plain])


def _called(option: Option) -> str:
    """What a missing option is called: its names and its value, or the plain argument."""
    return f"{option.words} {option.value}".strip() if option.names[0].startswith("-") else option.value


def _joined(words: Sequence[str]) -> list[str]:
    """The words, with `-t -1:-1` as `-t-1:-1`: an ICMP type begins like an option, and would be taken for one."""
    joined: list[str] = []
    for word in words:
        if _ICMP.fullmatch(word) and joined and joined[-1].startswith("-") and "=" not in joined[-1]:
            joined[-1] += f"={word}" if joined[-1].startswith("--") else word
        else:
            joined.append(word)
    return joined


def _read(option: Option, given: Any) -> Any:
    """The value of the text, or of each of the texts."""
    if isinstance(given, list):
        return tuple(_read(option, each) for each in given)
    if not isinstance(given, str):
        return given
    if option.choices and given not in option.choices:
        raise RecipeError(f'{option.words}: "{given}" is none of {", ".join(option.choices)}')
    if option.read is None:
        return given
    try:
        return option.read(given)
    except BuilderError as error:
        raise RecipeError(f"{option.words}: {error.brief}", detail=error.detail, hint=error.hint) from None


def _variables(command: Command) -> str:
    rows = [(name, f"stands in for {each.names[0]}") for each in command.options for name in each.variables]
    named = {each.name for each in command.options}
    if "region" in named:
        rows += [("S3_URL, EC2_URL", "the address to talk to, where no option says which")]
        rows += [("AMI_FACTORY_REGION", "the region, where they are not set either; else it is the local one")]
    if "access_key" in named:
        rows += [("AWS_PROFILE, ...", "without an access key: what every tool of AWS reads")]
    return output.table(rows, indent="  ")


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 100)


def _help_hint(name: str) -> str:
    return f"see: {name} --help"


def _tell_origin() -> None:
    """For --debug: the way that an error came. Our errors hold no secrets, and no values of variables are shown."""
    import traceback

    for line in traceback.format_exc().splitlines():
        output.say(f"debug: {line}")
