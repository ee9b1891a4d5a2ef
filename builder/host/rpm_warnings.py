"""What rpm says and then goes on from, as errors: a warning of rpm's is a package that is not as it was made.

rpm 4.18 prints `warning: group shadow does not exist - using root`, drops setuid and setgid, and exits 0.
"""

import re

from builder.errors import BuilderError

_WARNING = re.compile(r"^(?:\[[^]]*\] )?(?:warning|error): .*$", re.MULTILINE)
# NOKEY: rpm has no keyring in a new tree, dnf has checked by then. Absolute links are Debian's own (/lib, /dev/null).
_HARMLESS = re.compile(r"NOKEY$|^warning: (?:Generating \d+ missing index|Converting database|absolute symlink: )")


def find_warnings(log_text: str) -> tuple[str, ...]:
    """The lines in which rpm or rpmbuild warns, in order, each once."""
    return tuple(dict.fromkeys(line for line in _WARNING.findall(log_text) if not _HARMLESS.search(line)))


def check_warnings(log_text: str) -> None:
    """BuilderError if rpm warned of anything in `log_text`, the output of dnf, rpm or rpmbuild."""
    found = find_warnings(log_text)
    if found:
        raise BuilderError(
            f"rpm warned: {found[0].partition(': ')[2]}",
            detail="\n".join(found[:20]),
            hint="a package needs what is not there when it is installed: require the package that brings it first",
        )
