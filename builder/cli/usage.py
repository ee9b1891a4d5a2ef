"""What is wrong with a command line, in our own words: the parser's errors as BuilderErrors."""

import difflib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from builder.errors import RecipeError

# The parser is click; typer carries its own copy of it since 0.26. The class that its errors share is in either case
# an ancestor of the one error that typer exports.
UsageError: type[Exception] = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")


class NoVerbIsHelp(TyperGroup):
    """A group that without a verb prints its help on stderr, and exits with 2."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            print(ctx.get_help(), file=sys.stderr)
            raise typer.Exit(2)
        return super().parse_args(ctx, args)


def told(error: Any) -> RecipeError:
    """A parser's error, with the nearest option when one was misspelt, and the help that tells more."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "ami-factory"
    hint = f"see: {path} --help"
    misspelt = getattr(error, "option_name", None)
    if context and misspelt and error.message.lower().startswith("no such option"):
        known = [name for each in context.command.get_params(context) for name in (*each.opts, *each.secondary_opts)]
        near = difflib.get_close_matches(misspelt, [name for name in known if name.startswith("-")], n=1)
        if near:
            hint = f"did you mean {near[0]}? {hint}"
        return RecipeError(f"no such option: {misspelt}", hint=hint)
    message = str(error.format_message()).rstrip(".")
    return RecipeError(message[:1].lower() + message[1:], hint=hint)
