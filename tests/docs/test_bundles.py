"""docs/bundles.md by hand: its lines are run as they stand, and say what the page says that they say."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/bundles.md"
_BLOCKS = re.compile(r"^```bash\n(?P<lines>.*?)^```\n(?:\n```text\n(?P<said>.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def steps() -> Iterator[tuple[str, str]]:
    """The blocks of commands, and what each says; "" where the page shows nothing."""
    for found in _BLOCKS.finditer(PAGE.read_text()):
        yield found["lines"], found["said"] or ""


@pytest.mark.host
def test_every_block_says_what_the_page_shows(tmp_path: Path) -> None:
    all_steps = list(steps())
    assert len(all_steps) > 5
    # One shell for all of them, as somebody at a desk has: what a block defines, the next one uses.
    script = "set -euo pipefail\n" + "".join(
        f"{lines}\nprintf '%s\\n' {shlex.quote(f'=== {number}')}\n" for number, (lines, _) in enumerate(all_steps)
    )
    environment = {
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = re.split(r"^=== \d+\n", done.stdout, flags=re.MULTILINE)
    shown = [expected for _, expected in all_steps]
    assert [text if expected else "" for text, expected in zip(said, shown, strict=False)] == shown
