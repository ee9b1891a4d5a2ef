"""The sandbox with a real tree: this machine's own /usr, copied by bind into an empty root."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.host.sandbox import PATH, Bind, require_i386, run_in_tree

pytestmark = pytest.mark.host


def tree_in(place: str) -> tuple[Path, list[Bind]]:
    """A tree without any directory of its own but links; the programs are this machine's."""
    tree = Path(place, "tree")
    (tree / "etc").mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")
    return tree, [Bind(source=Path("/usr"), destination="/usr")]


def body_looks(place: str, script: str, network: bool = False) -> list[Any]:
    tree, binds = tree_in(place)
    os.environ["SECRET"] = "seen"
    done = run_in_tree(
        tree,
        ["/bin/sh", "-c", script],
        env={"SOURCE_DATE_EPOCH": "5"},
        binds=binds,
        network=network,
        capture=True,
        check=False,
    )
    left = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    return [done.returncode, done.stdout.decode(), left]


ENVIRONMENT_SEEN = f"HOME=/root\nLANG=C.UTF-8\nPATH={PATH}\nSOURCE_DATE_EPOCH=5\nTERM=dumb\nTZ=UTC\n"
LEFT = ["bin", "etc", "lib", "lib64", "sbin"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param("id -u; hostname", "0\nami-factory\n", id="root of a machine with one name"),
        pytest.param("env | sort | grep -v -e PWD -e _= -e SHLVL", ENVIRONMENT_SEEN, id="environment"),
        pytest.param("ls /", "bin\ndev\netc\nlib\nlib64\nproc\nrun\nsbin\ntmp\nusr\n", id="nothing of the host"),
        pytest.param(
            "ls /sys/class/net 2>/dev/null; cut -d: -f1 < /proc/net/dev | tail -n +3 | tr -d ' '",
            "lo\n",
            id="no network",
        ),
        pytest.param("chown 42:42 /tmp && stat -c %u:%g /tmp", "42:42\n", id="owners"),
        pytest.param("touch /usr/x 2>/dev/null || echo no", "no\n", id="binds are read-only"),
        pytest.param(
            "mount -t tmpfs none /tmp 2>/dev/null || echo no; mknod /tmp/x b 8 0 2>/dev/null || echo no",
            "no\nno\n",
            id="no mounts, no devices",
        ),
        pytest.param("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n", id="no new privileges"),
        pytest.param("test $(ls /proc | grep -c '^[0-9]') -lt 9 && echo few", "few\n", id="its own processes only"),
        pytest.param(
            "echo out > /dev/stdout; f=/proc/sys/vm/swappiness; read v < $f; test $v && echo $v > $f || echo no",
            "out\nno\n",
            id="settings of the kernel are read-only",
        ),
        pytest.param("touch /tmp/x /run/y /dev/shm/z", "", id="nothing stays of tmp and run"),
    ],
)
def test_what_a_script_sees(inside: Callable[..., Any], trees: Path, script: str, said: str) -> None:
    assert inside(body_looks, place=trees, script=script) == [0, said, LEFT]


def test_what_a_script_writes_stays(inside: Callable[..., Any], trees: Path) -> None:
    assert inside(body_looks, place=trees, script="echo hello > /etc/motd; exit 3") == [
        3, "", ["bin", "etc", "etc/motd", "lib", "lib64", "sbin"],
    ]  # fmt: skip


def test_network_when_asked(inside: Callable[..., Any], trees: Path) -> None:
    code, said, left = inside(body_looks, place=trees, script="cat /etc/resolv.conf", network=True)
    assert (code, said, left) == (0, Path("/etc/resolv.conf").read_text(), LEFT)


def body_resolv_link(place: str) -> list[Any]:
    tree, binds = tree_in(place)
    (tree / "etc" / "resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
    done = run_in_tree(tree, ["/bin/cat", "/etc/resolv.conf"], env={}, binds=binds, network=True, capture=True)
    return [done.stdout.decode(), sorted(path.name for path in (tree / "etc").iterdir())]


def test_network_where_resolv_conf_is_a_link(inside: Callable[..., Any], trees: Path) -> None:
    assert inside(body_resolv_link, place=trees) == [Path("/etc/resolv.conf").read_text(), ["resolv.conf"]]


def body_preloads(place: str) -> list[str]:
    tree, binds = tree_in(place)
    env = {"LD_PRELOAD": "/of/the recipe.so", "LD_LIBRARY_PATH": "a\nb"}
    command = ["/bin/sh", "-c", 'echo "$LD_LIBRARY_PATH"']
    done = run_in_tree(tree, command, env=env, binds=binds, capture=True)
    return [done.stdout.decode(), *done.stderr.decode().splitlines()]


def test_variables_of_the_loader_count_inside_only(inside: Callable[..., Any], trees: Path) -> None:
    said, *complaints = inside(body_preloads, place=trees)
    assert said == "a\nb\n"
    assert {each.split("'")[1] for each in complaints} == {"/of/the", "recipe.so"}
    assert len(complaints) == 2  # the shell's; bubblewrap would make them four


def body_fails(place: str) -> None:
    tree, binds = tree_in(place)
    run_in_tree(tree, ["/bin/sh", "-c", "echo to the log >&2; exit 7"], env={}, binds=binds, capture=True)


def test_a_failing_program(inside: Callable[..., Any], trees: Path) -> None:
    with pytest.raises(BuilderError, match="exit code 7"):
        inside(body_fails, place=trees)


def test_thirty_two_bits() -> None:
    require_i386()
