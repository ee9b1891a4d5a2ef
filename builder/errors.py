"""The one kind of error that a user is meant to see, and the exit codes."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    BUILD = 1  # a step failed
    USAGE = 2  # the recipe, the lock or the command line is wrong
    HOST = 3  # this machine lacks a tool, a right or space
    REGION = 4  # the region refused or cannot be reached
    INTERRUPTED = 130


class BuilderError(Exception):
    """What went wrong (`brief`), the evidence (`detail`), and what to do (`hint`).

    `brief` is one line that names the thing and the place (file:line or key path). `detail` may have
    many lines (the tail of a log, several findings). `hint` is one line that can be acted on.
    """

    exit: Exit = Exit.BUILD

    def __init__(self, brief: str, *, detail: str = "", hint: str = "", exit: Exit | None = None) -> None:
        super().__init__(brief)
        self.brief = brief
        self.detail = detail
        self.hint = hint
        if exit is not None:
            self.exit = exit


class RecipeError(BuilderError):
    """The recipe, its lock or the command line is wrong."""

    exit = Exit.USAGE


class HostError(BuilderError):
    """This machine lacks a tool, a right or space."""

    exit = Exit.HOST


class RegionError(BuilderError):
    """The region refused, or cannot be reached."""

    exit = Exit.REGION
