"""Runs one function of a test file as root of the private namespace: `python inside.py FILE FUNCTION JSON`.

Its result comes back as JSON on stdout; a BuilderError as {"error": {...}}.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from builder.canonical import to_plain
from builder.errors import BuilderError


def main() -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.umask(0o022)
    file, function, arguments = sys.argv[1:]
    description = importlib.util.spec_from_file_location("body", file)
    assert description and description.loader
    module = importlib.util.module_from_spec(description)
    sys.modules["body"] = module
    description.loader.exec_module(module)
    try:
        said: Any = {"result": to_plain(getattr(module, function)(**json.loads(arguments)))}
    except BuilderError as error:
        said = {"error": {"brief": error.brief, "detail": error.detail, "hint": error.hint, "exit": int(error.exit)}}
    json.dump(said, answer)
    answer.close()


if __name__ == "__main__":
    main()
