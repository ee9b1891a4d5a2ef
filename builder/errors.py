"""The one kind of error that a user is meant to see, and the exit codes."""

import errno
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    BUILD = 1  # a step failed
    USAGE = 2  # the recipe, the lock or the command line is wrong
    HOST = 3  # this machine lacks a tool, a right or space
    REGION = 4  # the region refused or cannot be reached
    UNCHANGED = 10  # a fleet: nothing had changed, so nothing was built
    PARTLY = 11  # a fleet: some recipes were built or unchanged, others failed
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


_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EIO)
NO_SPACE = "No space left on device"
"""What a program says that meets a full disk: strerror(ENOSPC), which C.UTF-8 does not translate."""
SPACE_HINT = "free some space (ami-factory store gc), or use another place: --store, or -d of the ec2-* commands"


def of_the_disk(error: OSError) -> HostError | None:
    """What a full or read-only disk answered, as the one error that a user meets; None for any other failure."""
    if error.errno not in (*_FULL, *_CLOSED):
        return None
    hint = (
        SPACE_HINT
        if error.errno in _FULL
        else "see who may write there, or use another place: --store, or -d of the ec2-* commands"
    )
    return HostError(f"{error.filename or 'the disk'}: {error.strerror}", hint=hint)
