"""The command ami-factory: its verbs, and the one place where errors become exit codes."""

import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import click
import typer

from builder import __version__
from builder.cli import build, explain, look, output, recipe, region, store
from builder.errors import BuilderError, Exit

app = typer.Typer(
    name="ami-factory",
    help="A recipe goes in; a registered, verified Amazon Machine Image comes out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(build.check)
app.command()(build.lock)
app.command()(build.plan)
app.command()(build.build)
app.command()(explain.explain)
app.command()(explain.provenance)
app.command()(look.shell)
app.command()(look.logs)
app.command()(look.doctor)
app.add_typer(recipe.app, name="recipe")
app.add_typer(store.app, name="store")
app.add_typer(region.app, name="region")


@app.callback(invoke_without_command=False)
def _common(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        output.result(f"ami-factory {__version__}")
        raise typer.Exit


def main() -> None:
    """Run a verb. Every error that a user can meet ends here, as a message and an exit code."""
    sys.exit(_run())


def _run() -> int:
    # What a terminal, a service manager or a lost connection sends ends a build as Ctrl-C does: at once, and clean.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        outcome = app(standalone_mode=False)
        return int(outcome) if isinstance(outcome, int) else 0
    except BuilderError as error:
        if error.exit is Exit.INTERRUPTED:
            return _interrupted()
        output.show_error(error)
        return int(error.exit)
    except (KeyboardInterrupt, click.Abort):
        return _interrupted()
    except click.exceptions.NoArgsIsHelpError as error:
        output.say(error.format_message())
        return int(Exit.USAGE)
    except click.ClickException as error:
        output.show_error(BuilderError(error.format_message(), hint="see: ami-factory --help"))
        return int(Exit.USAGE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader went away: nothing to say to it any more
        return int(Exit.DONE)
    except Exception as error:
        return _bug(error)


def _interrupted() -> int:
    output.say("interrupted; what was finished is kept, and the next build goes on from there")
    return int(Exit.INTERRUPTED)


def _bug(error: Exception) -> int:
    """One line for the user, the traceback in a file that the line names."""
    name = f"ami-factory-bug-{time.strftime('%Y%m%d-%H%M%S')}-"
    with tempfile.NamedTemporaryFile("w", prefix=name, suffix=".log", delete=False, encoding="utf-8") as log:
        traceback.print_exc(file=log)
    output.show_error(
        BuilderError(
            f"unexpected {type(error).__name__}: {error}",
            hint=f"this is a bug of ours; {Path(log.name)} has the details",
        )
    )
    return int(Exit.BUILD)


if __name__ == "__main__":
    main()
