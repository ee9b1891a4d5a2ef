"""recipes/README.md, made from the model: `python -m builder.recipe.reference > recipes/README.md`."""

import itertools
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from builder.recipe.conditions import COMMON
from builder.recipe.documents import NOT_IN_A_PART, SHIPPED
from builder.recipe.layers import JOINED
from builder.recipe.schema import described as complete
from builder.recipe.templates import MAX_OUTPUT, STRING_VARIABLES
from builder.recipe.words import MAX_INSTANCE_STORE

# Tables that have tables of the recipe in them: these are described once.
_AGAIN = ("add", "remove", "when")

_HEAD = f"""\
# Recipes

<!-- Made from the model; do not edit: python -m builder.recipe.reference > recipes/README.md -->

A recipe is one TOML file, `NAME.toml`. Its own files, templates and keys are in the directory `NAME/` beside it, and
`NAME.lock` pins what it was built from. Unknown keys are refused. All that is wrong is said at once, with its place:

```
recipes/web.toml:14:1: image.size: "2X" is not a size: write a whole number with MiB or GiB, such as "2048MiB"
```

`ami-factory recipe new NAME.toml` writes one to start from, alone or on top of another (`--extends quickstart.toml`,
`--part parts/first-boot.toml`). `ami-factory recipe show NAME.toml` prints what all its files come to, and which file
and line each value is from; with `--arch`, `--virtualization` or `--instance-type` as it is for that variant.

The JSON Schemas are in `schema/`, of recipes and of parts; `ami-factory recipe schema` prints them. In this checkout
`.taplo.toml` tells every editor with Taplo (Even Better TOML) about them; a recipe elsewhere starts with the line
`#:schema PATH/recipe.json`.

## What is here

**quickstart.toml** is a small Fedora-style distribution that needs no mirror of Fedora's and no AWS account. Honestly:
its packages are Debian's. The factory takes them from the archive that your own machine uses, and repacks them into
RPMs on the spot: owners, modes, dependencies and file names are kept, /usr is merged, and Debian's maintainer scripts
are replaced by the few that a bootable system needs. dnf installs them, as it would install Fedora's, and the
configuration is laid out as Fedora's is (/etc/sysconfig). It boots and it takes the same way through the factory as
Fedora does; it is not Fedora, nobody ships updates for it, and its repository is signed by a key that your machine
made.

For x86_64 the kernel is Debian's cloud kernel; for i386 (packages as i686) it is Debian's 686-pae kernel, which is too
new to run as a paravirtual guest: Linux lost 32-bit paravirtual guests in 5.9, so bring an older kernel for that.

**web-server.toml** is the quickstart with a web server, which sets itself up as its user data say: one small recipe on
top of another, with parts.

**fedora.toml** is Fedora itself, from Fedora's mirrors, every package's signature checked. x86_64 only: Fedora builds
no kernel for 32 bits.

**centos-stream-9.toml**, **centos-stream-10.toml**, **rocky-9.toml** and **amazon-linux-2023.toml** are these
distributions, with the packages of their own published images, from their own mirrors or from one of yours
(`[mirrors]`); hvm alone. [docs/support.md](../docs/support.md) says of each recipe whether it has been booted, built or
only planned.

**debian.toml** is Debian 12 itself, from the archive that your own machine's apt is configured with. mmdebstrap fills
the tree and Debian's own maintainer scripts run, in the sandbox; the kernel is Debian's for clouds. The image's apt
has no archive in its sources.list: put there which mirror your instances are near to, by `[[files]]`.

**ubuntu.toml** is planned only: nobody has built it with this factory yet.

## One recipe on top of another

`extends = "other.toml"` starts from another recipe in the same directory or below it, else from one of the factory's
own (a chain of at most eight). No path leads up or out: a recipe is read with all that it says, wherever it lies. A
recipe that comes back to itself is refused, with the way that it goes.

- Tables are merged, key by key.
- A text, a number or a list replaces the one of the other recipe.
- The lists of tables @JOINED@ are joined, the other recipe's first. One of the same name (of a file the destination,
  of an overlay the source, of a repository the id) takes the place of the other's.
- `[add]` adds to a list instead: `add.distribution.packages = ["nano"]`.
- `[remove]` takes away by name what the other recipe, or a part, brings: `remove.users = ["joe"]`,
  `remove.files = ["/etc/motd"]`, `remove.register.tags = ["Project"]`. What is not there cannot be removed.
- A `source` is looked for in this recipe's directory first, then in that of the recipe that it extends: a file of the
  same name replaces the other's.
- `name` is never taken over.

## Parts

`include = ["parts/first-boot.toml"]` takes a part in: a few lines of a recipe that many recipes can use. It is looked
for beside the recipe, then among the factory's own (the directory that this page is in). Its files are in a directory
of its name beside it. A part may include others; one that is named twice is there once.

- A part only adds. Tables are merged, key by key; lists are added to, and a text that a list has is not added again.
- A single value that the recipe, or another of its parts, has set as well is an error that names both places.
- What comes from a recipe that is extended counts as not yet said: a part, as the recipe itself, takes its place.
- A `source` of a part is looked for in the recipe's own directories first: a file of the same name replaces the part's.
- A user, file or the like of one name in two of them is such an error, too.
- A part has none of @NOT_IN_A_PART@.
- Only what a part contributes stands in keys: the same lines written into the recipe make the same AMI.

The factory's own:

@PARTS@

## For some variants only

`[[when]]` says what is so for some variants only. No expressions: `if` has one or more of `architecture`,
`distribution` (`distribution.id`, or that and the release: `"fedora"`, `"fedora-43"`; the quickstart's is
`"quickstart"`), `virtualization` and `instance_type`, each with a list of values, of which one has to be true.

```toml
[[when]]
if = {{ architecture = ["x86_64"], virtualization = ["hvm"] }}
services.enable = ["chrony.service"]
image.size = "4GiB"
remove.users = ["joe"]

[[when.files]]
destination = "/etc/console"
content = "ttyS0\\n"
```

- A value takes the place of the file's own, a list is added to, and lists of tables are joined, in the order of the
  file.
- Conditions are settled in each file first; then the files are merged by the rules above. So what a recipe says of a
  value stands, whatever a recipe that it extends says under a condition.
- `distribution` has `packages` and `excludes` here, and asks for `architecture` or `distribution` alone: all variants
  of an architecture have their packages in common, and one lock.
- What all variants of a recipe have in common stands in no condition:
  @COMMON@.
- Variants share every step that the conditions leave equal. A condition on services or settings parts them at
  `configure`; one on users, files or scripts before the kernel.
- Every condition is checked, whether a variant of the recipe has it or not.

## Templates

Texts in `[register]`, and files with `template = true`, are Jinja2 templates. A name that has no value is an error, not
an empty text. Templates are sandboxed, and stopped when they loop without end or write more than
{MAX_OUTPUT // 1024**2} MiB. These names have a value in `[register]`:
{", ".join(f"`{each}`" for each in STRING_VARIABLES)}.

## Sizes

A whole number with `MiB` or `GiB`: `"512MiB"`, `"2GiB"`. EC2 allows {MAX_INSTANCE_STORE // 1024**3} GiB for the root of
an instance-store image.

## Keys
"""


def reference() -> str:
    """The Markdown of recipes/README.md."""
    document = complete()
    words = {
        "@PARTS@": "\n".join(_parts()),
        "@JOINED@": _listed(f"[[{'.'.join(map(str, key))}]]" for key in JOINED),
        "@NOT_IN_A_PART@": _listed(NOT_IN_A_PART),
        "@COMMON@": _listed(COMMON),
    }
    head = _HEAD
    for word, text in words.items():
        head = head.replace(word, text)
    return head + "\n".join(_table(document, document, "", "", set())) + "\n"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _parts() -> Iterator[str]:
    """The factory's own parts, each with the comment that it begins with."""
    for path in sorted((SHIPPED / "parts").glob("*.toml")):
        comment = itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
        about = " ".join(line.removeprefix("#").strip() for line in comment)
        yield textwrap.fill(f"- **parts/{path.name}**: {about}", 120, subsequent_indent="  ", break_on_hyphens=False)


def _table(document: dict[str, Any], model: dict[str, Any], heading: str, about: str, seen: set[str]) -> Iterator[str]:
    """A section for a table, then one for each table in it that has none so far."""
    if heading:
        yield f"\n### `{heading}`\n\n{about}"
    yield "\n| key | what to write | when left out | |\n| --- | --- | --- | --- |"
    nested: list[tuple[str, dict[str, Any], str]] = []
    required = set(model.get("required", ()))
    for name, described in model["properties"].items():
        target = _target(document, described)
        path = f"{heading.strip('[]')}.{name}".lstrip(".")
        if target is not None:
            listed = described.get("type") == "array"
            if heading.strip("[]") in _AGAIN and target["description"] in seen:
                continue
            nested.append((f"[[{path}]]" if listed else f"[{path}]", target, target["description"]))
            continue
        left_out = "**required**" if name in required else _value(described.get("default"))
        yield f"| `{name}` | {_kind(described)} | {left_out} | {_cell(described.get('description', ''))} |"
    seen.update(about for _, _, about in nested)
    for path, target, about in nested:
        yield from _table(document, target, path, about, seen)


def _target(document: dict[str, Any], described: dict[str, Any]) -> dict[str, Any] | None:
    """The table that a property is, or is a list of."""
    reference = described.get("$ref") or described.get("items", {}).get("$ref")
    return document["$defs"][reference.rpartition("/")[2]] if reference else None


def _kind(described: dict[str, Any]) -> str:
    if "enum" in described or "const" in described:
        return " or ".join(f"`{json.dumps(each)}`" for each in described.get("enum", [described.get("const")]))
    match described.get("type"):
        case "array":
            return f"list of {_kind(described['items'])}"
        case "object":
            return "table of texts"
        case "boolean":
            return "`true` or `false`"
        case "integer":
            return f"whole number, {described['minimum']} to {described['maximum']}"
    return "text"


def _value(default: Any) -> str:
    return "" if default in (None, "", [], {}) else f"`{json.dumps(default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
