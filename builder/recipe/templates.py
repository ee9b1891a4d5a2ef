"""Jinja2 templates of recipe authors: sandboxed, undefined names refused, and bounded in steps, memory and output.

The sandbox keeps a template from reaching Python's insides; it does not keep it from looping for ever or from making a
gigabyte. So rendering counts the lines of template code that run (which is the same on every machine, unlike a time),
caps what comes out, and lowers the process's memory limit for as long as it lasts.
"""

import re
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from builder.catalog.tables import suggestion
from builder.errors import RecipeError

if TYPE_CHECKING:
    import jinja2

MAX_OUTPUT = 8 * 1024**2
MAX_STEPS = 1_000_000
MAX_NUMBER_BITS = 4096
MEMORY = 256 * 1024**2  # what rendering may take beyond what the process has

# What a text in a recipe can name; the compiler gives a value to each.
STRING_VARIABLES = (
    "name", "version", "description", "architecture", "virtualization", "instance_type", "kernel", "region", "account",
    "key12",
)  # fmt: skip

_PLAIN = re.compile(r"{{ *([A-Za-z_][A-Za-z0-9_]*) *}}")


class _Exceeded(Exception):
    """A template reached one of the limits."""


def render_string(template: str, variables: Mapping[str, str], where: str) -> str:
    """A text of the recipe; `where` is its key, such as register.name."""
    if not is_template(_PLAIN.sub("", template)) and set(_PLAIN.findall(template)) <= set(variables):
        # Only names: what Jinja2 would give, without loading it.
        return _PLAIN.sub(lambda found: variables[found[1]], template)
    return _render(template, variables, lambda _line: where)


def is_template(text: str) -> bool:
    """Whether Jinja2 would do anything with a text."""
    return any(mark in text for mark in ("{{", "{%", "{#"))


def render_file(path: Path, template: str, variables: Mapping[str, Any]) -> str:
    """A template file; errors name its line."""
    return _render(template, variables, lambda line: f"{path}:{line}")


def template_fault(template: str, known: tuple[str, ...] = STRING_VARIABLES) -> str:
    """What is wrong with a template that can be seen without values: its syntax, and names that nobody knows."""
    import jinja2
    from jinja2 import meta

    try:
        with _bounded():
            names = meta.find_undeclared_variables(_environment().parse(template))
    except jinja2.TemplateSyntaxError as error:
        return f"template: {_lower(error.message or 'syntax error')}"
    except (_Exceeded, MemoryError, RecursionError, SyntaxError, ValueError):
        return "template: too complicated to be read"
    for name in sorted(names - set(known)):
        return f'template: "{name[:60]}" is not known{suggestion(name, known)} (known: {", ".join(known)})'
    return ""


def ami_name_fault(name: str) -> str:
    """Why EC2 would refuse this as an AMI's name (RegisterImage: 3 to 128 of certain characters), or ""."""
    if not 3 <= len(name) <= 128:
        return f"an AMI's name has 3 to 128 characters, and this has {len(name)}: {name[:140]}"
    refused = sorted(set(re.findall(r"[^A-Za-z0-9()\[\] ./\-'@_]", name)))
    if refused:
        shown = " ".join(c if c.isprintable() else "?" for c in refused)
        return f"EC2 refuses these characters in an AMI's name: {shown}"
    return ""


def parameter_name_fault(name: str) -> str:
    """Why SSM would refuse this as a parameter's name (PutParameter, Name), or ""."""
    if not re.fullmatch(r"[A-Za-z0-9_.\-/]{1,900}", name):
        return f"an SSM parameter's name has letters, digits and _.-/ only: {name[:140]}"
    levels = name.removeprefix("/").split("/")
    if "/" in name and (not name.startswith("/") or "" in levels):
        return f"an SSM parameter's path begins with / and has no empty part: {name[:140]}"
    if len(levels) > 15:
        return f"an SSM parameter's path has up to 15 parts, and this has {len(levels)}: {name[:140]}"
    if re.match(r"/?(aws|ssm)", name, re.IGNORECASE):
        return f"an SSM parameter's name does not begin with aws or ssm: {name[:140]}"
    return ""


def _render(template: str, variables: Mapping[str, Any], where: Callable[[int], str]) -> str:
    import jinja2

    try:
        with _bounded():
            compiled = _environment().from_string(template)
            return _collect(compiled, variables)
    except jinja2.TemplateSyntaxError as error:
        raise RecipeError(f"{where(error.lineno)}: template: {_lower(error.message or 'syntax error')}") from None
    except jinja2.UndefinedError as error:
        name = re.search(r"'([^']*)' is undefined", error.message or "")
        near = suggestion(name[1], variables) if name else ""
        raise RecipeError(
            f"{where(_line(error))}: template: {error.message}{near}",
            hint=f"known here: {', '.join(sorted(variables))}",
        ) from None
    except _Exceeded as error:
        raise RecipeError(
            f"{where(_line(error))}: template: {error}",
            hint="a template writes a configuration file; use a script for more",
        ) from None
    except MemoryError as error:
        limit = f"{MEMORY // 1024**2} MiB"
        raise RecipeError(f"{where(_line(error))}: template: takes more than {limit} of memory") from None
    except (RecursionError, SyntaxError) as error:
        raise RecipeError(f"{where(_line(error))}: template: nested too deeply") from None
    except Exception as error:
        # An author's expression can raise anything that a Python expression can: all of it is the template's fault.
        what = _lower(str(error).splitlines()[0][:200]) if str(error) else type(error).__name__
        raise RecipeError(f"{where(_line(error))}: template: {what}") from None


def _collect(compiled: "jinja2.Template", variables: Mapping[str, Any]) -> str:
    parts, size = [], 0
    for part in compiled.generate(dict(variables)):
        size += len(part)
        if size > MAX_OUTPUT:
            raise _Exceeded(f"writes more than {MAX_OUTPUT // 1024**2} MiB")
        parts.append(part)
    return "".join(parts)


@cache
def _environment() -> "jinja2.Environment":
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Numbers stay small, since the work of one `**` or `*` cannot be stopped from outside."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            numbers = isinstance(left, int) and isinstance(right, int)
            bits = [n.bit_length() for n in (left, right) if isinstance(n, int)]
            if numbers and operator == "**":
                bits.append(left.bit_length() * max(right, 1))
            if max(bits, default=0) > MAX_NUMBER_BITS:
                raise _Exceeded("works with a number that is too large")
            return super().call_binop(context, operator, left, right)

    # Not optimized: folding constants would do the author's work before the limits are set.
    environment = Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, optimized=False, cache_size=0
    )
    # Equal inputs give equal files: nothing random.
    del environment.filters["random"], environment.globals["lipsum"]
    return environment


@contextmanager
def _bounded() -> Iterator[None]:
    """Count lines that run and lower the memory limit; both are put back."""
    steps = 0

    def traced(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal steps
        if event == "line":
            steps += 1
            if steps > MAX_STEPS:
                raise _Exceeded("runs for too long: a loop that does not end, or nearly so")
        return traced

    before = sys.gettrace()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    ours = pages * resource.getpagesize() + MEMORY
    lowered = ours if soft == resource.RLIM_INFINITY else min(ours, soft)
    resource.setrlimit(resource.RLIMIT_AS, (lowered, hard))
    sys.settrace(traced)
    try:
        yield
    finally:
        sys.settrace(before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _line(error: BaseException) -> int:
    """The template's line that an error came from: Jinja2 writes template lines into the traceback."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".")
