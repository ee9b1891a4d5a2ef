"""The command lines of the sandbox: what is not named there is not seen inside."""

from pathlib import Path

import pytest

from builder.host import process
from builder.host.sandbox import CAPABILITIES, Bind, confined_command, sandbox_command

WALLS = [
    "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "ami-factory", "--unshare-cgroup-try",
    "--unshare-net", "--die-with-parent", "--cap-drop", "ALL",
    *(part for name in CAPABILITIES for part in ("--cap-add", name)),
]  # fmt: skip
OWN = [
    "--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev",
    "--tmpfs", "/run", "--perms", "1777", "--tmpfs", "/tmp",
]  # fmt: skip
BINDS = (
    Bind(source=Path("/a b"), destination="/in"),
    Bind(source=Path("/w"), destination="/out", writable=True),
)


@pytest.fixture(autouse=True)
def _bwrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "require", lambda tool, package: f"/bin/{tool}")


def test_a_program_of_the_tree() -> None:
    assert sandbox_command(Path("/tree"), ["/bin/sh", "-c", "ls"], binds=BINDS) == [
        "/bin/bwrap", "--bind", "/tree", "/", *OWN, "--ro-bind", "/a b", "/in", "--bind", "/w", "/out",
        "--new-session", *WALLS, "--chdir", "/", "--", "/bin/sh", "-c", "ls",
    ]  # fmt: skip


def test_network_and_terminal_only_when_asked() -> None:
    usual = sandbox_command(Path("/tree"), ["sh"])
    asked = sandbox_command(Path("/tree"), ["sh"], network=True, interactive=True)
    assert [part for part in usual if part not in ("--unshare-net", "--new-session")] == asked


def test_a_program_of_this_machine() -> None:
    command = confined_command(["dnf"], binds=BINDS, devices=["/out/dev"])
    start = command.index("--proc")
    assert command[start:] == [
        *OWN, "--ro-bind", "/a b", "/in", "--bind", "/w", "/out", "--dev", "/out/dev",
        *WALLS, "--chdir", "/", "--", "dnf",
    ]  # fmt: skip
    seen = command[1:start]
    assert seen[:3] == ["--ro-bind", "/usr", "/usr"]
    assert {seen[at] for at in range(0, len(seen), 3)} <= {"--ro-bind", "--symlink"}
    assert not {"/home", "/root", "/var", "/"} & {seen[at + 2] for at in range(0, len(seen), 3)}


def test_what_can_be_undone_from_inside_is_not_allowed() -> None:
    assert not {"CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_SYS_MODULE", "CAP_SYS_PTRACE", "CAP_NET_ADMIN"} & set(CAPABILITIES)
