"""menu.lst, the boot menu that Amazon's PV-GRUB (GRUB legacy) reads from the root file system."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one title boots. `kernel` and `initrd` are paths on `root`; `arguments` is the kernel's command line."""

    title: str
    root: str
    kernel: str
    arguments: str
    initrd: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """The whole menu."""

    entries: tuple[Entry, ...]
    default: int = 0
    timeout: int = 0

    @property
    def chosen(self) -> Entry:
        """The entry that boots when nobody is there to choose."""
        return self.entries[self.default]


def format_menu(menu: Menu) -> str:
    """The file's text. ValueError for a value that would break out of its line."""
    lines = [f"default {menu.default}", f"timeout {menu.timeout}"]
    for entry in menu.entries:
        for value in (entry.title, entry.root, entry.kernel, entry.arguments, entry.initrd):
            if any(not character.isprintable() for character in value):
                raise ValueError(f"not one printable line: {value!r}")
        lines += [
            "",
            f"title {entry.title}",
            f"\troot {entry.root}",
            f"\tkernel {entry.kernel} {entry.arguments}".rstrip(),
        ]
        if entry.initrd:
            lines.append(f"\tinitrd {entry.initrd}")
    return "\n".join(lines) + "\n"


def parse_menu(text: str) -> Menu:
    """A menu that was written by hand or by another tool. ValueError names the line, or what is missing.

    GRUB legacy takes `=` or blanks after a command (grub 0.97, stage2/cmdline.c, skip_to), and ignores lines that
    begin with #. Commands that do not decide what is booted (hiddenmenu, color, fallback, savedefault) are passed over.
    """
    settings = {"default": 0, "timeout": 0}
    entries: list[dict[str, str]] = []
    for number, row in enumerate(text.splitlines(), start=1):
        line = row.strip()
        if not line or line.startswith("#"):
            continue
        word, value = _command(line)
        if word in settings and not entries:
            if not (value.isascii() and value.isdigit() and len(value) < 10):
                raise ValueError(f"line {number}: {word} must be a number: {value[:40]!r}")
            settings[word] = int(value)
        elif word == "title":
            entries.append({"title": value})
        elif word in ("root", "kernel", "initrd") and entries:
            entries[-1][word] = value
    parsed = tuple(_entry(each) for each in entries)
    if settings["default"] >= len(parsed):
        raise ValueError(f"default {settings['default']} names no entry: there are {len(parsed)}")
    return Menu(entries=parsed, default=settings["default"], timeout=settings["timeout"])


def _command(line: str) -> tuple[str, str]:
    end = next((index for index, character in enumerate(line) if character in " \t="), len(line))
    return line[:end], line[end:].lstrip(" \t=")


def _entry(values: dict[str, str]) -> Entry:
    for word in ("root", "kernel"):
        if not values.get(word):
            raise ValueError(f"title {values['title'][:60]!r} has no {word}")
    # `kernel --no-mem-option /boot/x ...`: options of the command come before the file.
    words = [word for word in values["kernel"].split() if not word.startswith("--")]
    if not words:
        raise ValueError(f"title {values['title'][:60]!r} has no kernel")
    return Entry(
        title=values["title"],
        root=values["root"],
        kernel=words[0],
        arguments=" ".join(words[1:]),
        initrd=values.get("initrd", ""),
    )
