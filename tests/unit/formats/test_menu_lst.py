import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.formats.menu_lst import Entry, Menu, format_menu, parse_menu

ENTRY = Entry(
    title="quickstart (6.1.0-56-cloud-amd64)",
    root="(hd0)",
    kernel="/boot/vmlinuz-6.1.0-56-cloud-amd64",
    arguments="root=/dev/xvda1 ro console=hvc0 net.ifnames=0",
    initrd="/boot/initrd.img-6.1.0-56-cloud-amd64",
)
TEXT = """\
default 0
timeout 0

title quickstart (6.1.0-56-cloud-amd64)
	root (hd0)
	kernel /boot/vmlinuz-6.1.0-56-cloud-amd64 root=/dev/xvda1 ro console=hvc0 net.ifnames=0
	initrd /boot/initrd.img-6.1.0-56-cloud-amd64
"""


def test_format() -> None:
    assert format_menu(Menu(entries=(ENTRY,))) == TEXT


def test_parse() -> None:
    assert parse_menu(TEXT) == Menu(entries=(ENTRY,))
    assert parse_menu(TEXT).chosen == ENTRY


def test_parse_a_menu_by_hand() -> None:
    text = (
        "# grub\ndefault=1\ntimeout=5\nfallback=0\nhiddenmenu\ncolor white/black\n\n"
        "title old\n root (hd0)\n kernel /a\ntitle  new\nroot\t(hd0,0)\nkernel --no-mem-option /b  x=1   y\ninitrd /c\n"
        "savedefault\n"
    )
    assert parse_menu(text) == Menu(
        entries=(
            Entry(title="old", root="(hd0)", kernel="/a", arguments=""),
            Entry(title="new", root="(hd0,0)", kernel="/b", arguments="x=1 y", initrd="/c"),
        ),
        default=1,
        timeout=5,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "default 0 names no entry: there are 0"),
        ("default 3\ntitle a\nroot (hd0)\nkernel /a", "default 3 names no entry: there are 1"),
        ("default saved\n", "line 1: default must be a number: 'saved'"),
        ("title a\nroot (hd0)\n", "title 'a' has no kernel"),
        ("title a\nroot (hd0)\nkernel --type=linux\n", "title 'a' has no kernel"),
        ("title a\nkernel /a\n", "title 'a' has no root"),
    ],
)
def test_parse_refuses(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_menu(text)
    assert str(caught.value) == said


@pytest.mark.parametrize("field", ["title", "root", "kernel", "arguments", "initrd"])
def test_no_value_breaks_out_of_its_line(field: str) -> None:
    values = {"title": "a", "root": "(hd0)", "kernel": "/a", "arguments": "", field: "x\nkernel /evil"}
    with pytest.raises(ValueError, match="not one printable line"):
        format_menu(Menu(entries=(Entry(**values),)))


WORD = st.text(alphabet="abc/=.-_()0", min_size=1, max_size=10).filter(lambda w: not w.startswith(("-", "=")))


@given(title=WORD, kernel=WORD, arguments=st.lists(WORD, max_size=4), initrd=WORD | st.just(""))
def test_round_trip(title: str, kernel: str, arguments: list[str], initrd: str) -> None:
    menu = Menu(
        entries=(Entry(title=title, root="(hd0)", kernel=kernel, arguments=" ".join(arguments), initrd=initrd),)
    )
    assert parse_menu(format_menu(menu)) == menu
