"""Questions, for who sits at a terminal; nobody else is ever asked."""

import sys

from builder.classic.command import Options
from builder.cli import output
from builder.errors import RecipeError


def can_ask(options: Options) -> bool:
    """Whether somebody is there to answer, and wants to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not options.batch


def agreed(question: str, options: Options, *, otherwise: str) -> None:
    """Go on when the answer is yes, or --yes was given; else RecipeError, with `otherwise` for who cannot be asked."""
    if options.yes:
        return
    if not can_ask(options):
        raise RecipeError(otherwise, hint="say -y to go on without being asked")
    if _answer(f"{question} [y/n] ").lower() not in ("y", "yes"):
        raise RecipeError("nothing was done", hint="say -y to go on without being asked")


def chosen(question: str, default: str, choices: tuple[str, ...], options: Options) -> str:
    """One of the choices, asked for until it is one; the default when nobody can be asked."""
    if not can_ask(options):
        return default
    while True:
        answer = _answer(f"{question} [{default}]: ") or default
        if answer in choices:
            return answer
        output.say(f'"{answer}" is none of {", ".join(choices)}')


def _answer(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:  # the terminal's end of file: no answer is no
        raise RecipeError("no answer", hint="say --batch, or give the option that answers")
    return line.strip()
