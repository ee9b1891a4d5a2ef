"""The one runner of programs. Nothing else in the project starts a process."""

import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol, TextIO

from builder.errors import BuilderError, HostError
from builder.host import packages

# What programs see of the caller's environment, unless they are given their own.
KEPT = ("PATH", "HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
PATH = packages.PATH
_CHUNK = 1 << 16


class Handed(str):
    """A part of a command line that stands for an open descriptor: the program finds its number there, and `content`
    behind it. As a text, and so in the log, it is a name for it."""

    __slots__ = ("content",)
    content: bytes

    def __new__(cls, name: str, content: bytes) -> "Handed":
        made = super().__new__(cls, name)
        made.content = content
        return made


class Watch(Protocol):
    """Looks after a program as long as it runs."""

    @property
    def every(self) -> float:
        """Seconds from one look to the next."""
        ...

    @property
    def most(self) -> int:
        """Bytes of what it says that are kept."""
        ...

    def look(self, said: int, *, ended: bool) -> None:
        """BuilderError: the program is killed, and that is what went wrong. `said`: bytes up to now."""
        ...


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


def _note_bytes(data: bytes) -> None:
    """What a program said, as it is; by whatever way the log takes it."""
    if _log:
        with suppress(OSError):
            _log.flush()
            _log.buffer.write(data)
            _log.buffer.flush()


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
    watch: Watch | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run one program to its end.

    Its output goes to the log (see `log_to`; nowhere without one), unless `capture` asks for it back. The command
    is echoed there first, ready to paste. `env` is added to `environment()`, or is all there is when `clean`.
    `inherit` are open descriptors that it gets. With a `watch` it gets pipes to us in place of the log itself.
    A failure raises BuilderError with the command and, when captured, the end of its stderr; a missing program
    raises HostError.
    """
    _note(f"+ {shlex.join(map(str, command))}\n")
    drain = _log if _log else subprocess.DEVNULL
    surroundings = dict(env or {}) if clean else environment(env)
    try:
        with _handed(command) as (argv, handed):
            given = (*inherit, *handed)
            if watch:
                done = _run_watched(argv, surroundings, cwd, given, watch, capture=capture)
            else:
                done = subprocess.run(
                    argv,
                    env=surroundings,
                    cwd=cwd,
                    input=stdin,
                    stdin=subprocess.DEVNULL if stdin is None else None,
                    stdout=subprocess.PIPE if capture else drain,
                    stderr=subprocess.PIPE if capture else drain,
                    check=False,
                    pass_fds=given,
                )
    except FileNotFoundError as error:
        if cwd and not cwd.is_dir():
            raise
        raise _missing(str(command[0])) from error
    if capture and done.stderr:
        _note(done.stderr.decode(errors="replace"))
    if check and done.returncode != 0:
        tail = done.stderr.decode(errors="replace").strip()[-2000:] if capture else ""
        raise BuilderError(f"{Path(command[0]).name} failed with exit code {done.returncode}", detail=tail)
    return done


@contextmanager
def _handed(command: Sequence[str | Path]) -> Iterator[tuple[list[str], list[int]]]:
    """The command line with the numbers of what is handed over, and these."""
    argv: list[str] = []
    numbers: list[int] = []
    try:
        for part in command:
            if isinstance(part, Handed):
                numbers.append(os.memfd_create(str(part)))
                with os.fdopen(os.dup(numbers[-1]), "wb") as file:
                    file.write(part.content)
                os.lseek(numbers[-1], 0, os.SEEK_SET)
                argv.append(str(numbers[-1]))
            else:
                argv.append(str(part))
        yield argv, numbers
    finally:
        for each in numbers:
            os.close(each)


def _run_watched(
    argv: list[str], env: dict[str, str], cwd: Path | None, inherit: Sequence[int], watch: Watch, *, capture: bool
) -> subprocess.CompletedProcess[bytes]:
    """Run it with pipes in place of the log: what holds the log itself can empty it, or fill the disk with it."""
    program = subprocess.Popen(
        argv,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if capture else subprocess.STDOUT,
        pass_fds=tuple(inherit),
    )
    with program:
        hears = [_Listener(pipe, watch.most, keep=capture) for pipe in (program.stdout, program.stderr) if pipe]
        try:
            code = None
            while code is None:
                with suppress(subprocess.TimeoutExpired):
                    code = program.wait(watch.every)
                watch.look(sum(each.heard for each in hears), ended=False)
            for each in hears:
                each.join()
            watch.look(sum(each.heard for each in hears), ended=True)
        finally:
            program.kill()
            program.wait()
            for each in hears:
                each.join()
    said = [bytes(each.kept) for each in hears] if capture else [None, None]
    return subprocess.CompletedProcess(argv, code, *said)


class _Listener(threading.Thread):
    """Reads a pipe to its end; up to `most` bytes of it go to the log, or are kept."""

    def __init__(self, pipe: IO[bytes], most: int, *, keep: bool) -> None:
        super().__init__(daemon=True)
        self.heard = 0
        self.kept = bytearray()
        self._pipe, self._most, self._keep = pipe, most, keep
        self.start()

    def run(self) -> None:
        while chunk := os.read(self._pipe.fileno(), _CHUNK):
            room = max(0, self._most - self.heard)
            self.heard += len(chunk)
            if self._keep:
                self.kept += chunk[:room]
            elif room:
                _note_bytes(chunk[:room])


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
        with _handed(command) as (argv, numbers):
            return subprocess.run(argv, env=env, check=False, pass_fds=numbers).returncode
    finally:
        signal.signal(signal.SIGINT, before)
