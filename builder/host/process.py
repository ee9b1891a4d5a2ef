"""The one runner of programs. Nothing else in the project starts a process."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from builder.errors import BuilderError, HostError
from builder.host import packages

# What programs see of the caller's environment, unless they are given their own.
KEPT = ("PATH", "HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
PATH = packages.PATH


_log: TextIO | None = None


def log_to(stream: TextIO) -> None:
    """From now on commands and what they say go to `stream`: a worker calls this with the step's log."""
    global _log
    _log = stream


def _note(text: str) -> None:
    """Write to the log. A log that cannot be written (a full disk) must not be what a step fails of."""
    if _log:
        with suppress(OSError):
            _log.write(text)
            _log.flush()


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small, fixed environment: C.UTF-8, UTC, the kept variables, then `extra`."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    kept["PATH"] = packages.search_path()
    return {"LC_ALL": "C.UTF-8", "TZ": "UTC", **kept, **(extra or {})}


def require(tool: str, package: str) -> str:
    """The path of a program; HostError naming the Debian package when it is missing."""
    found = shutil.which(tool, path=environment()["PATH"])
    if found is None:
        raise HostError(f"{tool} is not installed", hint=f"run: apt-get install {package}")
    return found


def _missing(program: str) -> HostError:
    named = [each.name for each in packages.required_packages() if each.sign == program]
    wanted = f"run: apt-get install {named[0]}" if named else "run: ami-factory doctor (it says what is missing)"
    return HostError(f"{program} is not installed", hint=wanted)


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    capture: bool = False,
    check: bool = True,
    clean: bool = False,
    inherit: Sequence[int] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run one program to its end.

    Its output goes to the log (see `log_to`; nowhere without one), unless `capture` asks for it back. The command
    is echoed there first, ready to paste. `env` is added to `environment()`, or is all there is when `clean`.
    `inherit` are open descriptors that it gets.
    A failure raises BuilderError with the command and, when captured, the end of its stderr; a missing program
    raises HostError.
    """
    argv = [str(part) for part in command]
    _note(f"+ {shlex.join(argv)}\n")
    drain = _log if _log else subprocess.DEVNULL
    try:
        done = subprocess.run(
            argv,
            env=dict(env or {}) if clean else environment(env),
            cwd=cwd,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE if capture else drain,
            stderr=subprocess.PIPE if capture else drain,
            check=False,
            pass_fds=tuple(inherit),
        )
    except FileNotFoundError as error:
        if cwd and not cwd.is_dir():
            raise
        raise _missing(argv[0]) from error
    if capture and done.stderr:
        _note(done.stderr.decode(errors="replace"))
    if check and done.returncode != 0:
        tail = done.stderr.decode(errors="replace").strip()[-2000:] if capture else ""
        raise BuilderError(f"{Path(argv[0]).name} failed with exit code {done.returncode}", detail=tail)
    return done


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    inherit: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a worker in a session of its own: pipes for stdin and stdout, stderr appended to `log`.

    The caller's whole environment is passed on (credentials, proxies), and the open descriptors `inherit`; the caller
    waits for it or kills it.
    """
    argv = [str(part) for part in command]
    with log.open("ab") as stderr:
        try:
            return subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                pass_fds=tuple(inherit),
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise _missing(argv[0]) from error


def attached(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> int:
    """Run an interactive program on the caller's own terminal, with `env` or the caller's; its exit code.

    Ctrl-C is the program's meanwhile, as in system(3): the caller waits for it to end.
    """
    # A handler, not SIG_IGN: that would be inherited, where a handler is reset.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run([str(part) for part in command], env=env, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)
