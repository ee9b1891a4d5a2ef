"""grub.cfg, GRUB 2's boot menu: written with one entry, and read as far as it says what is booted."""

import shlex
from dataclasses import dataclass

TIMEOUT = 1
"""Seconds in which Esc on the serial console brings up the menu."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one menu entry boots. `kernel` and `initrd` are paths on the file system with `uuid`."""

    title: str
    uuid: str
    kernel: str
    arguments: str
    initrd: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole menu."""

    entries: tuple[Entry, ...]
    default: int = 0

    @property
    def chosen(self) -> Entry:
        """The entry that boots when nobody is there to choose."""
        return self.entries[self.default]


def format_grub_cfg(config: Config) -> str:
    """The file's text, of our few entries. ValueError for a value that would break out of its place.

    The firmware of a UEFI machine shows its console on the serial port by itself; a BIOS does not.
    """
    lines = [
        f"set default={config.default}",
        "# Not drawn: a menu fills the console's record, which EC2 keeps 64 KiB of.",
        "set timeout_style=hidden",
        f"set timeout={TIMEOUT}",
        'if [ "$grub_platform" = pc ]; then',
        "\tserial --unit=0 --speed=115200",
        "\tterminal_input console serial",
        "\tterminal_output console serial",
        "fi",
    ]
    for entry in config.entries:
        for value in (entry.title, entry.uuid, entry.kernel, entry.arguments, entry.initrd):
            if any(not character.isprintable() or character in "'\"\\$;{}|&<>" for character in value):
                raise ValueError(f"not plain printable text: {value!r}")
        lines += [
            "",
            f"menuentry '{entry.title}' {{",
            f"\tsearch --no-floppy --fs-uuid --set=root {entry.uuid}",
            f"\tlinux {entry.kernel} {entry.arguments}".rstrip(),
        ]
        lines += [f"\tinitrd {entry.initrd}"] if entry.initrd else []
        lines.append("}")
    return "\n".join(lines) + "\n"


def parse_grub_cfg(text: str) -> Config:
    """A menu's entries, as far as they are plain commands. ValueError names what is missing.

    Scripts in it are not run: an entry of which only they decide what it boots counts as one without a kernel.
    """
    default = 0
    entries: list[dict[str, str]] = []
    inside = False
    for number, row in enumerate(text.splitlines(), start=1):
        words = _words(row, number)
        match words:
            case ["set", assigned] if assigned.startswith("default=") and not entries:
                value = assigned.removeprefix("default=")
                if not (value.isascii() and value.isdigit() and len(value) < 10):
                    raise ValueError(f"line {number}: the default must be a number: {value[:40]!r}")
                default = int(value)
            case ["menuentry", title, *_]:
                entries.append({"title": title})
                inside = True
            case ["}"]:
                inside = False
            case ["search", *options] if inside and options and "--fs-uuid" in options:
                entries[-1]["uuid"] = options[-1]
            case ["linux" | "linux16" | "linuxefi", path, *arguments] if inside:
                entries[-1] |= {"kernel": path, "arguments": " ".join(arguments)}
            case ["initrd" | "initrd16" | "initrdefi", path, *_] if inside:
                entries[-1]["initrd"] = path
    parsed = tuple(_entry(each) for each in entries)
    if default >= len(parsed):
        raise ValueError(f"default {default} names no entry: there are {len(parsed)}")
    return Config(entries=parsed, default=default)


def _words(row: str, number: int) -> list[str]:
    try:
        return shlex.split(row, comments=True)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None


def _entry(values: dict[str, str]) -> Entry:
    if not values.get("kernel"):
        raise ValueError(f"menu entry {values['title'][:60]!r} has no kernel")
    return Entry(**{"uuid": "", "arguments": "", **values})
