"""The command ami-factory: its verbs, and the one place where errors become exit codes."""

import signal
import sys

import typer

from builder import __version__
from builder.cli import build, explain, look, output, recipe, region, store
from builder.cli.usage import NoVerbIsHelp, UsageError, told
from builder.errors import BuilderError, Exit, of_the_disk

app = typer.Typer(
    name="ami-factory",
    cls=NoVerbIsHelp,
    help="A recipe goes in; a registered, verified Amazon Machine Image comes out.",
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


def _print_version(wanted: bool) -> None:
    if wanted:
        output.result(f"ami-factory {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
) -> None:
    """What stands before the verb."""


_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupt(*_: object) -> None:
    """Ends the verb once: a second Ctrl-C must not stop the clearing away, which takes no two seconds."""
    for number in _INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Run a verb. Every error that a user can meet ends here, as a message and an exit code."""
    output.survive_any_encoding()
    sys.exit(_run())


def _run() -> int:
    # What a terminal, a service manager or a lost connection sends ends a build as Ctrl-C does: at once, and clean.
    # A signal that is ignored stays ignored: nohup means it, and so does a script with a job in its background.
    for number in _INTERRUPTS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        outcome = app(standalone_mode=False, prog_name="ami-factory")
        if outcome == Exit.INTERRUPTED:  # what Typer makes of a KeyboardInterrupt, without a word
            return _interrupted()
        return int(outcome) if isinstance(outcome, int) else 0
    except BuilderError as error:
        return _interrupted() if error.exit is Exit.INTERRUPTED else _failed(error)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except UsageError as error:
        return _failed(told(error))
    except OSError as error:
        return _failed(of_the_disk(error) or _bug(error))
    except Exception as error:
        return _failed(_bug(error))


def _failed(error: BuilderError) -> int:
    """The error for people on stderr; with --json, and nothing told on stdout so far, as a document there too."""
    output.show_error(error)
    if "--json" in sys.argv[1:]:  # the words themselves: a usage error comes before any option is parsed
        output.error_document(error)
    return int(error.exit)


def _interrupted() -> int:
    return _failed(
        BuilderError(
            "interrupted",
            hint="what was finished is kept, and the next build goes on from there",
            exit=Exit.INTERRUPTED,
        )
    )


def _bug(error: Exception) -> BuilderError:
    """One line for the user, the traceback in a file that the line names."""
    import tempfile
    import time
    import traceback

    name = f"ami-factory-bug-{time.strftime('%Y%m%d-%H%M%S')}-"
    with tempfile.NamedTemporaryFile("w", prefix=name, suffix=".log", delete=False, encoding="utf-8") as log:
        traceback.print_exc(file=log)
    return BuilderError(
        f"unexpected {type(error).__name__}: {error}", hint=f"this is a bug of ours; {log.name} has the details"
    )


if __name__ == "__main__":
    main()
