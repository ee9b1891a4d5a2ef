"""The one place where errors become messages and exit codes, for `ami-factory` and the classic commands alike."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from builder.cli import output
from builder.errors import BuilderError, Exit, RecipeError, of_the_disk

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def enter(command: Callable[[], int], *, interrupted: str) -> None:
    """Run a command and exit with its code. Every error that a user can meet ends here, as a message and a code.

    `interrupted` is the hint for who pressed Ctrl-C: what became of the work so far.
    """
    _open_what_is_closed()
    output.survive_any_encoding()
    sys.exit(_run(command, interrupted))


def _open_what_is_closed() -> None:
    """A standard stream that whoever started us closed (`<&-`) is empty, or leads nowhere.

    Else its number goes to the next file that is opened, and what a program says may be written into an image.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - open to the end


def _interrupt(*_: object) -> None:
    """Ends the command once: a second Ctrl-C must not stop the clearing away, which takes no two seconds."""
    for number in _INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(command: Callable[[], int], interrupted: str) -> int:
    # What a terminal, a service manager or a lost connection sends ends a build as Ctrl-C does: at once, and clean.
    # A signal that is ignored stays ignored: nohup means it, and so does a script with a job in its background.
    for number in _INTERRUPTS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        return command()
    except BuilderError as error:
        return _interrupted(interrupted) if error.exit is Exit.INTERRUPTED else _failed(error)
    except KeyboardInterrupt:
        return _interrupted(interrupted)
    except OSError as error:
        return _failed(of_the_disk(error) or _of_a_name(error) or _bug(error))
    except Exception as error:
        return _failed(_bug(error))


def _failed(error: BuilderError) -> int:
    """The error for people on stderr; with --json, and nothing told on stdout so far, as a document there too."""
    output.show_error(error)
    if "--json" in sys.argv[1:]:  # the words themselves: a usage error comes before any option is parsed
        output.error_document(error)
    return int(error.exit)


def _interrupted(hint: str) -> int:
    return _failed(BuilderError("interrupted", hint=hint, exit=Exit.INTERRUPTED))


def _of_a_name(error: OSError) -> BuilderError | None:
    """For a path that no file system takes, wherever it was given."""
    if error.errno != errno.ENAMETOOLONG:
        return None
    return RecipeError(f"{str(error.filename or 'a path')[:60]}...: {error.strerror}", hint="check the path")


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
