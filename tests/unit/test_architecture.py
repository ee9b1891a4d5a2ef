"""Holds the arrows of docs/ARCHITECTURE.md: read from the source, imports for types only included."""

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]

# A room may import these rooms and itself; "errors" and "canonical" are at the bottom and open to all. Of stages/,
# what is pure data stands lower than the rest: the contract (contract, registry, values), and each stage's spec.
FLOOR = frozenset({"errors", "canonical"})
LOW = frozenset({"host", "formats", "catalog"})
DATA = frozenset({"contract", "specs"})
ENGINE = LOW | DATA | {"store", "plan"}
MAY: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "canonical": frozenset(),
    "formats": frozenset(),
    "contract": frozenset(),
    "specs": frozenset({"contract"}),
    "catalog": frozenset({"formats"}),
    "host": frozenset({"formats"}),
    "store": LOW,
    "machine": LOW,
    "cloud": LOW | {"contract"},
    "bundles": LOW | {"contract", "cloud"},
    "images": LOW | DATA | {"cloud"},
    "compare": LOW,
    "provenance": LOW | {"store", "compare"},
    "recipe": frozenset({"catalog", "formats", "specs"}),
    "stages": LOW | DATA | {"store", "machine", "cloud", "bundles", "images"},
    "worker": LOW | DATA,
    "shell": ENGINE,
    "lock": frozenset({"catalog", "recipe"}) | DATA,
    "plan": frozenset({"catalog", "formats", "recipe", "lock"}) | DATA,
    "resolve": ENGINE | {"recipe", "lock"},
    "observe": ENGINE | {"cloud", "images"},
    "history": ENGINE,
    "execute": ENGINE | {"worker"},
    "preflight": LOW | DATA | {"plan", "cloud"},
    "identity": LOW,
    "doctor": LOW | {"store", "cloud", "region"},
    "region": LOW | DATA | {"store", "machine", "bundles"},
    "prepared": LOW | DATA | {"plan", "recipe", "lock", "stages"},
    "factory": ENGINE
    | {
        "prepared",
        "stages",
        "recipe",
        "lock",
        "resolve",
        "observe",
        "history",
        "execute",
        "identity",
        "cloud",
        "preflight",
        "bundles",
        "images",
        "region",
    },
    # The classic commands: a command line of its own, beside cli.
    "classic": LOW | {"contract", "cloud", "bundles", "identity", "region", "factory", "cli"},
    "fleet": ENGINE | {"stages", "recipe", "lock", "observe", "prepared", "factory"},
}
# These start programs: the runner, and the region's launcher, which forks its daemon.
STARTERS = {"builder/host/process.py", "builder/region/daemon.py"}
# These are programs that another process of ours runs.
PROGRAMS = (
    "builder/worker.py",
    "builder/shell.py",
    "builder/compare/ext_program.py",
    "builder/region/",
    "builder/machine/watch.py",
    "builder/machine/relay.py",
)
STARTING = re.compile(
    r"(subprocess\.(run|Popen|call|check_\w+|get\w+)"
    r"|multiprocessing(\..*)?|pty(\..*)?|asyncio\.create_subprocess_\w+"
    r"|os\.(system|popen|fork\w*|exec\w+|spawn\w+|posix_spawn\w*))"
)


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of builder/ by its path from the root."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(), filename=str(path))
        for path in sorted((ROOT / "builder").rglob("*.py"))
    }


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def imports(path: str) -> frozenset[str]:
    """What a module imports, anywhere in it, as dotted names: `from a import b` is a.b."""
    found: set[str] = set()
    for node in ast.walk(modules()[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def own_imports(path: str) -> Iterator[str]:
    """The paths of our own modules that a module imports."""
    known = {dotted(each): each for each in modules()}
    for name in imports(path):
        for candidate in (name, name.rpartition(".")[0]):
            if candidate in known and candidate != "builder":
                yield known[candidate]
                break


def room(path: str) -> str:
    if re.fullmatch(r"builder/stages/(contract|registry|values)\.py", path):
        return "contract"
    if re.fullmatch(r"builder/stages/(\w+/spec|register/rules)\.py", path):
        return "specs"
    return path.removesuffix(".py").split("/")[1]


def called(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Names that are called, as they are written: `os.fork`, `print`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def test_every_room_has_its_arrows() -> None:
    assert {room(path) for path in modules()} - {"__init__", "cli"} - MAY.keys() == set()


def upward() -> list[str]:
    return [
        f"{path} imports {other}"
        for path in modules()
        if room(path) not in ("cli", "__init__")
        for other in own_imports(path)
        if room(other) not in MAY.get(room(path), frozenset()) | FLOOR | {room(path)}
    ]


def test_imports_go_down_only() -> None:
    assert upward() == []


def stage_of(path: str) -> str:
    """The folder of a stage that a module is in; "" for what is outside, or lies in stages/ itself for all of them."""
    parts = path.split("/")
    return parts[2] if parts[1] == "stages" and len(parts) > 3 else ""


def test_stages_never_import_one_another() -> None:
    wrong = [
        f"{path} imports {other}"
        for path in modules()
        if path.startswith("builder/stages/")
        for other in own_imports(path)
        if stage_of(other) not in ("", stage_of(path))
    ]
    assert wrong == []


def test_specs_are_pure() -> None:
    """A spec is data: it may know the standard library, and what specs share."""
    allowed = re.compile(r"(builder\.(stages\.(values|contract)|canonical|errors)|dataclasses|typing|enum)(\.|$)")
    wrong = [
        f"{path} imports {name}"
        for path in modules()
        if path.endswith("/spec.py")
        for name in imports(path)
        if not allowed.match(name)
    ]
    assert wrong == []


def test_no_import_cycles() -> None:
    arrows = {path: set(own_imports(path)) - {path} for path in modules()}
    # Peel off modules that import nothing that is left; a cycle, and what leads into one, stays.
    left = dict(arrows)
    while peeled := [path for path, targets in left.items() if not targets & left.keys()]:
        for path in peeled:
            del left[path]
    assert sorted(left) == []


def test_only_the_runner_starts_programs() -> None:
    found = {
        path
        for path, tree in modules().items()
        if any(STARTING.fullmatch(name) for name in imports(path))
        or any(STARTING.fullmatch(name) for name, _ in called(tree))
    }
    assert found - STARTERS == set()


@pytest.mark.parametrize(
    ("package", "where"),
    [
        ("boto3", ("builder/cloud/",)),
        ("botocore", ("builder/cloud/", "builder/region/")),  # the region answers by botocore's own model
        ("moto", ("builder/region/",)),
        ("guestfs", ("builder/host/",)),
    ],
)
def test_one_room_for_each_outside_world(package: str, where: tuple[str, ...]) -> None:
    wrong = [
        path
        for path in modules()
        if any(name.split(".")[0] == package for name in imports(path)) and not path.startswith(where)
    ]
    assert wrong == []


def test_nothing_prints_to_stdout_but_the_command_line() -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in modules().items()
        if room(path) != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "print"
        and not any(word.arg == "file" and ast.unparse(word.value) != "sys.stdout" for word in node.keywords)
    ]
    assert wrong == []


def test_exits_are_left_to_the_one_boundary() -> None:
    wrong = [
        f"{path}:{line}"
        for path, tree in modules().items()
        if room(path) != "cli" and not path.startswith(PROGRAMS)
        for name, line in called(tree)
        if name in ("sys.exit", "exit", "quit", "os._exit")
    ]
    assert wrong == []


def test_no_secret_in_a_spec() -> None:
    """A spec is logged, stored and printed: it holds fingerprints, and secrets are resolved in `run`."""
    secret = re.compile(r"secret|passw|passphrase|private|token|credential|access_key", re.IGNORECASE)
    wrong = [
        f"{path}:{node.lineno}: {node.target.id}"
        for path, tree in modules().items()
        if path.endswith("/spec.py") or path == "builder/stages/values.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and secret.search(node.target.id)
    ]
    assert wrong == []


def archive_hosts() -> set[str]:
    """The hosts that this machine takes Debian and Python packages from, as its own configuration says."""
    hosts = set()
    for path in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        if path.is_file():
            hosts |= set(re.findall(r"\bhttps?://([^/\s]+)", path.read_text(errors="replace")))
    settings = subprocess.run(
        [ROOT / ".venv/bin/python", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    hosts |= set(re.findall(r"\bhttps?://([^/\s'\"]+)", settings))
    hosts |= {
        urlsplit(os.environ[name]).netloc for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL") if name in os.environ
    }
    from pip._internal.models.index import PyPI  # what pip asks when nobody tells it whom

    hosts |= {PyPI.netloc, PyPI.file_storage_domain}
    return {host.rpartition("@")[2].partition(":")[0] for host in hosts} - {"", "localhost", "127.0.0.1"}


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_where_packages_come_from() -> None:
    """The host's own configuration says that; a lock or a script with an address in it fails everywhere else."""
    hosts = sorted(archive_hosts())
    assert hosts, "no archive found on this machine"
    pattern = re.compile(("|".join(re.escape(host) for host in hosts)).encode())
    wrong = [str(path.relative_to(ROOT)) for path in tracked_files() if pattern.search(path.read_bytes())]
    assert wrong == []


@pytest.mark.parametrize(
    "breach",
    [
        pytest.param("from builder.execute import LocalExecutor", id="up"),
        pytest.param("def f():\n    from builder.cli import main", id="up-in-a-function"),
        pytest.param(
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import builder.plan.step", id="up-for-types"
        ),
    ],
)
def test_a_planted_breach_is_seen(breach: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = {**modules(), "builder/formats/planted.py": ast.parse(breach)}
    planted.setdefault("builder/cli/main.py", ast.parse(""))
    imports.cache_clear()
    monkeypatch.setattr(f"{__name__}.modules", lambda: planted)
    try:
        assert any(each.startswith("builder/formats/planted.py imports builder/") for each in upward())
    finally:
        imports.cache_clear()
