"""A desk of one's own to run the real command on: a recipe with a lock that fits, private places, a store to fill.

The recipe is Fedora's, which needs nothing made on this machine to be planned. What is in the store was made by
nobody: it is there so that a build finds everything done.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from builder.factory import Factory, Options, Selection
from builder.lock import asks, load_lock, write_lock
from builder.plan.step import Plan, Step
from builder.store.contract import Record
from builder.store.local import LocalStore
from tests.support.linted import FILES, GOOD, text_of
from tests.support.plans import GOLDEN, ROOT, Silent

COMMAND = (sys.executable, "-m", "builder.cli.main")
RESULTS: Mapping[str, Mapping[str, Any]] = {
    "image": {"size": 2**30, "used": 2**28},
    "bundle": {"bundled_size": 2**27},
    "upload": {"bucket": "b", "prefix": "p", "manifest": "p/m", "location": "b/p/m", "sent": 1, "kept": 0},
    "register": {"image_id": "ami-0123456789abcdef0", "name": "n", "location": "b/p/m"},
}


def result_of(step: Step) -> dict[str, Any]:
    """What a finished step says; of several variants the first one's AMI is ami-0123456789abcdef0."""
    result = dict(RESULTS.get(step.stage, {}))
    if step.stage == "register" and not step.variants[0].endswith("m1.small"):
        result["image_id"] = f"ami-{step.key[:17]}"
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        return dict(json.loads(self.stdout))


@dataclass(slots=True, kw_only=True)
class Desk:
    """Where the commands run."""

    path: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.path / "home"),
            "TMPDIR": str(self.path / "tmp"),
            "XDG_CACHE_HOME": str(self.path / "cache"),
            "XDG_STATE_HOME": str(self.path / "state"),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "COLUMNS": "100",
            **self.variables,
        }

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.path / "cache" / "ami-factory" / "store")

    def start(self, *words: str, stdin: int = subprocess.DEVNULL, **more: str) -> "subprocess.Popen[str]":
        """Begin `ami-factory WORDS` at the desk."""
        return subprocess.Popen(
            ["env", "--default-signal=INT", *COMMAND, *words],
            cwd=self.path,
            env={**self.environment, **more},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def run(self, *words: str, **more: str) -> Done:
        """Run `ami-factory WORDS` to its end; `more` are environment variables."""
        with self.start(*words, **more) as process:
            stdout, stderr = process.communicate(timeout=60)
        return Done(code=process.returncode, stdout=stdout, stderr=stderr)

    def set_up(self) -> None:
        """The recipe, and a lock that fits it."""
        for name in ("home", "tmp", "web"):
            (self.path / name).mkdir()
        fedora = (ROOT / "recipes/fedora.toml").read_text().replace('name = "fedora"', 'name = "web"')
        fedora = fedora.replace('["m1.small"]', '["m1.small", "m1.large"]')
        (self.path / "web.toml").write_text(fedora)
        key = "RPM-GPG-KEY-fedora-43-primary"
        (self.path / "web" / key).write_bytes((ROOT / "recipes/fedora" / key).read_bytes())
        ready = self.factory().prepare(self.path / "web.toml")
        lock = load_lock(GOLDEN / "locks/fedora.lock")
        assert lock is not None
        write_lock(
            ready.lock_path, replace(lock, asks=asks(ready.loaded.recipe, ready.loaded.kernel, ready.sources.keys))
        )
        (self.path / "fleet.toml").write_text('name = "night"\n[[recipes]]\nrecipe = "web.toml"\n')
        self._lay_bundle()

    def _lay_bundle(self) -> None:
        """A bundle by somebody else: a manifest, and parts of the right lengths."""
        (self.path / "bundle").mkdir()
        (self.path / "bundle/web.manifest.xml").write_bytes(text_of(GOOD))
        for name, file in FILES.items():
            with (self.path / "bundle" / name).open("wb") as part:
                part.truncate(file.size)

    def factory(self) -> Factory:
        return Factory(options=Options(store=self.store.root), listener=Silent(), say=lambda _: None)

    def plan(self) -> Plan:
        """What the command plans, made here: it reads the same identities."""
        with mock.patch.dict(os.environ, self.environment, clear=True):
            factory = self.factory()
            return factory.plan(factory.prepare(self.path / "web.toml"), Selection())

    def fill(self, plan: Plan) -> None:
        """Put an object for every step into the store, and remember it as the last build."""
        self.store.prepare()
        for number, step in enumerate(plan.steps):
            self.keep(step, created=1_750_000_000 + number)
        with mock.patch.dict(os.environ, self.environment, clear=True):
            from builder.history import History

            History(self.store.root / "history").save(plan, {each.key for each in plan.steps})

    def keep(self, step: Step, *, created: int) -> None:
        with self.store.workspace(step.key) as room:
            (room.output / "made").write_text(step.label)
            record = Record(
                key=step.key,
                stage=step.stage,
                version=step.version,
                spec=dict(step.spec),
                inputs=dict(step.inputs),
                result=result_of(step),
                created=created,
                milliseconds=1500,
            )
            self.store.put(record, room.output)
        self.store.log_path(step.key).write_text(f"+ make {step.label}\nmade\n")

    def told(self, done: Done, plan: Plan, *words: str) -> str:
        """A transcript, without what differs from desk to desk."""
        shown = "".join(f"1| {line}\n" for line in done.stdout.splitlines())
        shown += "".join(f"2| {line}\n" for line in done.stderr.splitlines())
        text = f"$ ami-factory {' '.join(words)}\n{shown}exit {done.code}\n"
        for step in plan.steps:
            name = step.label if len(step.variants) > 1 else f"{step.label} of {step.variants[0].rpartition('-')[2]}"
            text = text.replace(step.key, f"<{name}>").replace(step.key[:12], f"<{name}>")
        text = text.replace(str(self.path), "<desk>").replace(str(ROOT), "<factory>")
        text = re.sub(r"\b\d+\.\d s\b|\b\d+ min \d+ s\b", "<time>", text)
        text = re.sub(r"[ \d]*\d(\.\d)? (B|KiB|MiB|GiB)\b", " <size>", text)
        text = re.sub(r"objects/[0-9a-f]{2}/", "objects/xx/", text)
        text = re.sub(r'"bytes": \d+', '"bytes": <bytes>', text)
        return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
