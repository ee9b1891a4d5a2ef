import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import RecipeError
from builder.recipe.templates import (
    MAX_OUTPUT,
    STRING_VARIABLES,
    ami_name_fault,
    render_file,
    render_string,
    template_fault,
)

VARIABLES = {"name": "web", "key12": "0123456789ab"}


def refused(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        render_file(Path("motd.j2"), text, VARIABLES)
    return caught.value.brief


def test_render_string() -> None:
    assert render_string("no template", VARIABLES, "x") == "no template"
    assert render_string("{{ name }}-{{key12}}", VARIABLES, "x") == "web-0123456789ab"
    assert render_string("{{ name | upper }}{# no #}", VARIABLES, "x") == "WEB"
    assert render_string("{{ name }} {%- if key12 %}!{% endif %}", VARIABLES, "x") == "web!"


def test_values_are_no_templates() -> None:
    assert render_string("{{ name }}", {"name": "{{ key12 }}", "key12": "x"}, "x") == "{{ key12 }}"


def test_names_render_without_jinja() -> None:
    """What every recipe does must not cost a warm run an import."""
    code = (
        "import sys; from builder.recipe.templates import render_string; "
        "render_string('{{ a }}', {'a': 'b'}, 'x'); sys.exit('jinja2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_undefined() -> None:
    with pytest.raises(RecipeError) as caught:
        render_string("{{ nmae }}", VARIABLES, "register.name")
    assert caught.value.brief == "register.name: template: 'nmae' is undefined; did you mean \"name\"?"
    assert caught.value.hint == "known here: key12, name"


def test_a_file_keeps_its_last_newline() -> None:
    assert render_file(Path("x"), "a {{ name }}\n", VARIABLES) == "a web\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a\nb {{ name", "2: template: unexpected end of template", id="open"),
        pytest.param("\n\n{% for %}", "3: template: expected an expression, got 'end of statement block'", id="for"),
        pytest.param("\n{{ nmae }}", "2: template: 'nmae' is undefined; did you mean \"name\"?", id="undefined"),
        pytest.param("\n{{ 1 / 0 }}", "2: template: division by zero", id="division"),
        pytest.param("{{ name.x.y }}", "1: template: 'str object' has no attribute 'x'", id="attribute"),
        pytest.param(
            "{% include 'other' %}", "1: template: no loader for this environment specified", id="include"
        ),
        pytest.param(
            "\n{{ ''.__class__.__mro__ }}",
            "2: template: access to attribute '__class__' of 'str' object is unsafe",
            id="escape",
        ),
        pytest.param(
            "\n{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "2: template: runs for too long: a loop that does not end, or nearly so",
            id="loop",
        ),
        pytest.param(
            "{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", "1: template: nested too deeply", id="recursion"
        ),
        pytest.param("{{ range(1000000) }}", "1: template: range too big", id="range"),
        pytest.param("\n{{ 'x' * 10000000000 }}", "2: template: takes more than 256 MiB of memory", id="repeat"),
        pytest.param("{{ 'x' | center(10000000000) }}", "1: template: takes more than 256 MiB of memory", id="center"),
        pytest.param("{{ '%0999999999d' % 1 }}", "1: template: takes more than 256 MiB of memory", id="format"),
        pytest.param(
            "{% set ns = namespace(x='xx') %}\n"
            "{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "2: template: takes more than 256 MiB of memory",
            id="doubling",
        ),
        pytest.param("{{ 10 ** 100000000 }}", "1: template: works with a number that is too large", id="power"),
        pytest.param("{{ 'x' * 9000000 }}", "1: template: writes more than 8 MiB", id="output"),
        pytest.param("{{ [1, 2] | random }}", "1: template: no filter named 'random'", id="random"),
        pytest.param("{% for a in [1] %}" * 50 + "{% endfor %}" * 50, "1: template: nested too deeply", id="blocks"),
        pytest.param("{{ " + "(" * 3000 + ")" * 3000 + " }}", "1: template: nested too deeply", id="parentheses"),
    ],
)  # fmt: skip
def test_refused(text: str, expected: str) -> None:
    limits, tracing, started = resource.getrlimit(resource.RLIMIT_AS), sys.gettrace(), time.monotonic()
    assert refused(text).startswith(f"motd.j2:{expected}")
    # Whatever happened, the process is as it was; and it did not take for ever.
    assert (resource.getrlimit(resource.RLIMIT_AS), sys.gettrace()) == (limits, tracing)
    assert time.monotonic() - started < 20


def test_output_up_to_the_limit() -> None:
    assert len(render_string(f"{{{{ 'x' * {MAX_OUTPUT} }}}}", {}, "x")) == MAX_OUTPUT


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet="{}%# ab|()'\"+*~-.=\n[]", max_size=60) | st.text(max_size=30))
def test_any_template(text: str) -> None:
    for wrapped in (text, "{{" + text + "}}", "{%" + text + "%}"):
        try:
            render_file(Path("motd.j2"), wrapped, VARIABLES)
        except RecipeError as error:
            assert error.brief.startswith("motd.j2:")
        assert isinstance(template_fault(wrapped), str)


def test_template_fault() -> None:
    assert template_fault("{{ name }}") == ""
    assert template_fault("{% set x = 1 %}{{ x }}") == ""
    assert template_fault("{{ regoin }}", ("region",)) == (
        'template: "regoin" is not known; did you mean "region"? (known: region)'
    )
    assert template_fault("{{ name }") == "template: unexpected '}'"
    assert template_fault("{{" + "(" * 3000) == "template: too complicated to be read"
    assert set(STRING_VARIABLES) >= {"name", "version", "architecture", "virtualization", "instance_type", "key12"}


def test_ami_name_fault() -> None:
    assert ami_name_fault("web-1 (x86_64) [a]/b.c'@") == ""
    assert ami_name_fault("ab") == "an AMI's name has 3 to 128 characters, and this has 2: ab"
    assert ami_name_fault("a" * 129).startswith("an AMI's name has 3 to 128 characters, and this has 129: ")
    assert ami_name_fault("a:b\tc") == "EC2 refuses these characters in an AMI's name: ? :"
