"""grub.cfg: what is written is read again, and what others wrote is read as far as it decides what boots."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.formats.grub_cfg import Config, Entry, format_grub_cfg, parse_grub_cfg

ENTRY = Entry(
    title="quickstart 1",
    uuid="57ab23d9-9d27-58c1-9551-42b83570cc6a",
    kernel="/boot/vmlinuz-6.1.0",
    arguments="root=UUID=57ab23d9-9d27-58c1-9551-42b83570cc6a ro console=ttyS0,115200n8",
    initrd="/boot/initrd.img-6.1.0",
)


def test_the_text() -> None:
    assert format_grub_cfg(Config(entries=(ENTRY,))) == (
        "set default=0\n"
        "# Not drawn: a menu fills the console's record, which EC2 keeps 64 KiB of.\n"
        "set timeout_style=hidden\n"
        "set timeout=1\n"
        'if [ "$grub_platform" = pc ]; then\n'
        "\tserial --unit=0 --speed=115200\n"
        "\tterminal_input console serial\n"
        "\tterminal_output console serial\n"
        "fi\n"
        "\n"
        "menuentry 'quickstart 1' {\n"
        "\tsearch --no-floppy --fs-uuid --set=root 57ab23d9-9d27-58c1-9551-42b83570cc6a\n"
        "\tlinux /boot/vmlinuz-6.1.0 root=UUID=57ab23d9-9d27-58c1-9551-42b83570cc6a ro console=ttyS0,115200n8\n"
        "\tinitrd /boot/initrd.img-6.1.0\n"
        "}\n"
    )


_plain = st.text(st.sampled_from("abcXYZ019-_./,=:@+ "), min_size=1).map(lambda text: " ".join(text.split()) or "x")
_path = _plain.map(lambda text: "/" + text.replace(" ", ""))


@settings(deadline=None)
@given(
    st.lists(st.builds(Entry, title=_plain, uuid=_path, kernel=_path, arguments=_plain, initrd=_path), min_size=1),
    st.data(),
)
def test_what_is_written_is_read_again(entries: list[Entry], data: st.DataObject) -> None:
    config = Config(entries=tuple(entries), default=data.draw(st.integers(0, len(entries) - 1)))
    assert parse_grub_cfg(format_grub_cfg(config)) == config


@pytest.mark.parametrize("value", ["a'b", "a\nb", "$(reboot)", "a;b", "a}b", "a\\b"])
def test_nothing_breaks_out_of_its_place(value: str) -> None:
    with pytest.raises(ValueError, match="not plain printable text"):
        format_grub_cfg(Config(entries=(Entry(title=value, uuid="u", kernel="/k", arguments=""),)))


def test_as_grub_mkconfig_writes_it() -> None:
    text = """\
set default="0"
function load_video { insmod all_video; }
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'gnulinux-simple' {
\tload_video
\tif [ x$feature_platform_search_hint = xy ]; then
\t  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt1  0fc63daf
\telse
\t  search --no-floppy --fs-uuid --set=root 0fc63daf
\tfi
\techo\t'Loading Linux 6.1.0 ...'
\tlinux\t/boot/vmlinuz-6.1.0 root=UUID=0fc63daf ro  console=ttyS0
\tinitrd\t/boot/initrd.img-6.1.0
}
"""
    assert parse_grub_cfg(text).chosen == Entry(
        title="Debian GNU/Linux",
        uuid="0fc63daf",
        kernel="/boot/vmlinuz-6.1.0",
        arguments="root=UUID=0fc63daf ro console=ttyS0",
        initrd="/boot/initrd.img-6.1.0",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no entry"),
        ("set default=1\nmenuentry x {\nlinux /k\n}\n", "default 1 names no entry: there are 1"),
        ("set default=saved\nmenuentry x {\nlinux /k\n}\n", "line 1: the default must be a number"),
        ("menuentry x {\n}\n", "menu entry 'x' has no kernel"),
        ("menuentry 'x {\n", "line 1: No closing quotation"),
    ],
)
def test_what_decides_nothing(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_grub_cfg(text)


@settings(deadline=None)
@given(st.text())
def test_noise_is_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_grub_cfg(text).entries
