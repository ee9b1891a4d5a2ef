"""The command lines of the sandbox: what is not named there is not seen inside."""

from pathlib import Path

import pytest

from builder.host import limits, process, sandbox
from builder.host.sandbox import CAPABILITIES, Bind, confined_command, mount_points, sandbox_command

WALLS = [
    "--seccomp", "filter", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "ami-factory",
    "--unshare-cgroup-try", "--unshare-net", "--die-with-parent", "--cap-drop", "ALL",
    *(part for name in CAPABILITIES for part in ("--cap-add", name)),
]  # fmt: skip
OWN = [
    "--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev",
    "--perms", "0755", "--size", "100", "--tmpfs", "/run", "--perms", "1777", "--size", "100", "--tmpfs", "/dev/shm",
    "--perms", "1777", "--size", "400", "--tmpfs", "/tmp", "--remount-ro", "/dev",
]  # fmt: skip
BINDS = (
    Bind(source=Path("/a b"), destination="/in"),
    Bind(source=Path("/w"), destination="/out", writable=True),
)


@pytest.fixture(autouse=True)
def _bwrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_current", limits.Limits(memory=800))
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
    hidden = list(sandbox._hidden(Path("/etc")))
    seen = command[1 : start - len(hidden)]
    assert command[start - len(hidden) : start] == hidden
    assert seen[:3] == ["--ro-bind", "/usr", "/usr"]
    assert {seen[at] for at in range(0, len(seen), 3)} <= {"--ro-bind", "--symlink"}
    assert not {"/home", "/root", "/var", "/"} & {seen[at + 2] for at in range(0, len(seen), 3)}


def test_what_can_be_undone_from_inside_is_not_allowed() -> None:
    assert not {"CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_SYS_MODULE", "CAP_SYS_PTRACE", "CAP_NET_ADMIN"} & set(CAPABILITIES)


def test_mount_points_are_not_looked_for_behind_a_link_that_leads_out(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "etc").mkdir(parents=True)
    outside.mkdir()
    (outside / "empty").touch()
    before = outside.stat().st_mtime_ns
    with mount_points(tree, [Bind(source=Path("/dev/null"), destination="/etc/empty")]):
        (tree / "etc").rename(tree / "elsewhere")
        (tree / "etc").symlink_to(outside)
    assert [each.name for each in outside.iterdir()] == ["empty"]
    assert outside.stat().st_mtime_ns == before


def test_mount_points_that_were_made_go_and_times_stay(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    before = (tmp_path / "etc").stat().st_mtime_ns
    with mount_points(tmp_path, [Bind(source=Path("/dev/null"), destination="/etc/a/b")]):
        (tmp_path / "etc" / "a").mkdir()
        (tmp_path / "etc" / "a" / "b").touch()
    assert list((tmp_path / "etc").iterdir()) == []
    assert (tmp_path / "etc").stat().st_mtime_ns == before


def test_what_not_everybody_may_read_is_hidden(tmp_path: Path) -> None:
    for name, mode in (("shadow", 0o640), ("passwd", 0o644)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    for name, mode in (("private", 0o710), ("ssh", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").touch(mode=0o600)
        (tmp_path / name).chmod(mode)
    (tmp_path / "link").symlink_to("shadow")
    assert list(sandbox._hidden(tmp_path)) == [
        "--tmpfs", f"{tmp_path}/private",
        "--ro-bind", "/dev/null", f"{tmp_path}/shadow",
        "--ro-bind", "/dev/null", f"{tmp_path}/ssh/key",
    ]  # fmt: skip
