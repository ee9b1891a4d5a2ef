"""The command ami-factory: its verbs."""

import typer

from builder import __version__
from builder.cli import (
    boot,
    boundary,
    build,
    diff,
    explain,
    fleet,
    look,
    output,
    provenance,
    recipe,
    region,
    snapshot,
    ssh,
    store,
    verify,
)
from builder.cli.images import app as images
from builder.cli.usage import NoVerbIsHelp, UsageError, told
from builder.errors import Exit

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
app.command()(verify.verify)
app.command()(boot.boot)
app.command()(explain.explain)
app.command()(provenance.provenance)
app.command()(diff.diff)
app.command(context_settings={"allow_interspersed_args": False})(ssh.ssh)
app.command()(look.shell)
app.command()(look.logs)
app.command()(look.doctor)
app.add_typer(recipe.app, name="recipe")
app.add_typer(store.app, name="store")
app.add_typer(region.app, name="region")
app.add_typer(snapshot.app, name="snapshot")
app.add_typer(images.app, name="images")
app.add_typer(fleet.app, name="fleet")


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


def main() -> None:
    """Run a verb, and exit with its code."""
    boundary.enter(_verb, interrupted="what was finished is kept, and the next build goes on from there")


def _verb() -> int:
    """The verb's exit code. What the parser makes of a Ctrl-C, without a word, is a KeyboardInterrupt again."""
    try:
        outcome = app(standalone_mode=False, prog_name="ami-factory")
    except UsageError as error:
        raise told(error) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    if outcome == Exit.INTERRUPTED:
        raise KeyboardInterrupt
    return int(outcome) if isinstance(outcome, int) else 0


if __name__ == "__main__":
    main()
