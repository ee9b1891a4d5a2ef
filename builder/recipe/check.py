"""What only several keys together, or the catalog, can say about a recipe.

Works on the table as it was written, right or wrong, so that an author sees these findings beside the model's: what is
of a wrong type is passed over here, since the model says so.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.catalog.instance_types import SUCH_AS, InstanceType, instance_type, refusal, unknown
from builder.catalog.kernels import INSIDE, kernel_names, load_kernel
from builder.catalog.tables import Fault, shown, suggestion
from builder.errors import BuilderError, RecipeError
from builder.formats.toml import Key
from builder.recipe.aws import Register
from builder.recipe.model import Recipe
from builder.recipe.templates import ami_name_fault, is_template, render_string, template_fault

# What a running system makes itself: a file there would be hidden or lost.
_NOT_IN_THE_IMAGE = ("/dev", "/proc", "/sys", "/run")
# What the stage `configure` writes over, whatever the recipe put there.
_WRITTEN = {
    "/etc/fstab": "it follows instance_types",
    "/etc/hostname": "write network.hostname",
    "/etc/locale.conf": "write locale",
    "/etc/localtime": "write timezone",
    "/etc/machine-id": "every instance makes its own",
    "/boot/grub/menu.lst": "it follows kernel",
    "/etc/sysctl.d/98-ami-factory.conf": "write [sysctl]",
    "/etc/modules-load.d/ami-factory.conf": "write [modules]",
    "/etc/modprobe.d/ami-factory.conf": "write [modules]",
}
_UNIQUE: tuple[Key, ...] = (
    ("architectures",), ("virtualization",), ("instance_types",), ("distribution", "packages"),
    ("distribution", "excludes"), ("base", "packages"), ("ssh", "authorized_keys"),
    ("services", "enable"), ("services", "disable"), ("services", "mask"),
    ("modules", "load"), ("modules", "blacklist"),
)  # fmt: skip
_NAMED = (("groups", "name"), ("overlays", "source"), ("scripts", "name"), ("timers", "name"), ("units", "name"))
_NAME: Key = ("register", "name")
_UEFI_DATA: Key = ("register", "uefi_data")
Table = Mapping[str, Any]


def check(table: Table, directories: Sequence[Path], kernels: Path, *, parts: Sequence[Path] = ()) -> Iterator[Fault]:
    """All findings, one by one. `directories` hold the recipe's own files, `parts` those of its parts."""
    yield from _kernel(table, kernels)
    for group in (
        _duplicates, _names, _instance_types, _users, _files, _services, _packages, _repositories, _base, _templates
    ):  # fmt: skip
        yield from group(table)
    yield from _sources(table, directories, parts)


def _at(table: Table, key: Key) -> Any:
    """The value at a key, or None."""
    value: Any = table
    for part in key:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def _strings(table: Table, *key: str | int) -> list[tuple[Key, str]]:
    """The texts of a list, with their keys; the default of a top-level key that is not written."""
    value = _at(table, key)
    if value is None and len(key) == 1:
        default = Recipe.model_fields[str(key[0])].default
        return [(key, each) for each in default] if isinstance(default, tuple) else []
    found = enumerate(value) if isinstance(value, list) else ()
    return [((*key, index), each) for index, each in found if isinstance(each, str)]


def _tables(table: Table, *key: str) -> list[tuple[Key, Table]]:
    value = _at(table, key)
    found = enumerate(value) if isinstance(value, list) else ()
    return [((*key, index), each) for index, each in found if isinstance(each, dict)]


def _repeated(values: list[tuple[Key, str]], message: Callable[[str], str]) -> Iterator[Fault]:
    seen: set[str] = set()
    for key, value in values:
        if value in seen:
            yield Fault(key=key, message=message(value))
        seen.add(value)


def _duplicates(table: Table) -> Iterator[Fault]:
    for key in _UNIQUE:
        yield from _repeated(_strings(table, *key), lambda value: f"{shown(value)} stands here twice")


def _names(table: Table) -> Iterator[Fault]:
    """Things of one kind that are called the same."""
    for kind, word in _NAMED:
        named = [((*key, word), each[word]) for key, each in _tables(table, kind) if isinstance(each.get(word), str)]
        yield from _repeated(named, lambda name: f"{shown(name)} stands here twice")
    units = [each.get("name") for _, each in _tables(table, "units")]
    for key, timer in _tables(table, "timers"):
        for suffix in ("timer", "service"):
            if f"{timer.get('name')}.{suffix}" in units and (suffix == "timer" or timer.get("run")):
                yield Fault(key=(*key, "name"), message=f"{timer['name']}.{suffix} stands in units as well")


def _instance_types(table: Table) -> Iterator[Fault]:
    """A type that can run no AMI of the recipe's architectures, and an AMI that none of the types can run.

    A type that can run only some is no fault: the others are passed over (plan/compile.py: variants).
    """
    asked = [each for _, each in _strings(table, "virtualization") if each in ("pv", "hvm")]
    virtuals = dict.fromkeys((*asked, "pv", "hvm"))
    architectures = [each for _, each in _strings(table, "architectures") if each in ("x86_64", "i386")]
    kinds: list[InstanceType] = []
    for key, name in _strings(table, "instance_types"):
        try:
            offered = instance_type(name)
        except RecipeError:
            yield Fault(key=key, message=unknown(name).brief)
            continue
        kinds.append(offered)
        refusals = [refusal(offered, architecture, virtual) for virtual in virtuals for architecture in architectures]
        if refusals and all(refusals):
            yield Fault(key=key, message=refusals[0])
    for virtual, architecture in itertools.product(asked, architectures):
        refusals = [refusal(offered, architecture, virtual) for offered in kinds]
        if refusals and all(refusals):
            better = SUCH_AS[virtual, architecture]
            message = f"none is for {virtual} images of {architecture}; add one that is, such as {better}"
            yield Fault(key=("instance_types",), message=message)


def _users(table: Table) -> Iterator[Fault]:
    users = _tables(table, "users")
    names = [((*key, "name"), user["name"]) for key, user in users if isinstance(user.get("name"), str)]
    yield from _repeated(names, lambda name: f"user {shown(name)} is given twice")
    for key, name in names:
        if name == "root":
            yield Fault(key=key, message="root is there already: its keys belong in [ssh] authorized_keys")
    # A boolean is an int to Python, and a fault to the model.
    uids = [((*key, "uid"), str(user["uid"])) for key, user in users if type(user.get("uid")) is int]
    yield from _repeated(uids, lambda uid: f"uid {uid} is given twice")
    for key, _ in users:
        yield from _repeated(
            _strings(table, *key, "authorized_keys"), lambda value: f"{shown(value)} stands here twice"
        )


def _files(table: Table) -> Iterator[Fault]:
    places = [
        ((*key, "destination"), each["destination"])
        for key, each in _tables(table, "files")
        if isinstance(each.get("destination"), str)
    ]
    yield from _repeated(places, lambda place: f"two files go to {shown(place)}")
    for key, place in places:
        if place in _NOT_IN_THE_IMAGE or place.startswith(tuple(f"{each}/" for each in _NOT_IN_THE_IMAGE)):
            yield Fault(key=key, message=f"{shown(place)} is made when the system starts: no file can be put there")
        elif place in _WRITTEN:
            yield Fault(key=key, message=f"{shown(place)} is the factory's own: {_WRITTEN[place]}")


def _sources(table: Table, directories: Sequence[Path], parts: Sequence[Path]) -> Iterator[Fault]:
    """Files of the author's that are not there, or that two parts have."""
    named = [((*key, "source"), each.get("source")) for key, each in _tables(table, "files")]
    for kind in ("overlays", "scripts", "units"):
        named += [((*key, "source"), each.get("source")) for key, each in _tables(table, kind)]
    for key, _ in _tables(table, "distribution", "repositories"):
        named += _strings(table, *key, "keys")
    named.append((_UEFI_DATA, _at(table, _UEFI_DATA)))
    for key, source in named:
        # What is no path below the recipe is the model's to say.
        if not isinstance(source, str) or source.startswith(("/", "~")) or "\0" in source or ".." in source.split("/"):
            continue
        if not source or any(os.path.lexists(directory / source) for directory in directories):
            continue
        having = [str(directory) for directory in parts if os.path.lexists(directory / source)]
        if len(having) > 1:
            yield Fault(key=key, message=f"{shown(source)} is in {having[0]} and in {having[1]}: rename one")
        elif not having:
            places = " or ".join(str(each) for each in (*directories, *parts))
            yield Fault(key=key, message=f"there is no {shown(source)} in {places}")


def _services(table: Table) -> Iterator[Fault]:
    """A unit that two lists want different things of."""
    enabled = {unit for _, unit in _strings(table, "services", "enable")}
    for word in ("disable", "mask"):
        for key, unit in _strings(table, "services", word):
            if unit in enabled:
                yield Fault(key=key, message=f"{shown(unit)} stands under enable as well")


def _packages(table: Table) -> Iterator[Fault]:
    wanted = {name for _, name in _strings(table, "distribution", "packages")}
    for key, name in _strings(table, "distribution", "excludes"):
        if name in wanted:
            yield Fault(key=key, message=f"{shown(name)} stands under packages as well")


def _repositories(table: Table) -> Iterator[Fault]:
    ids = [
        ((*key, "id"), each["id"])
        for key, each in _tables(table, "distribution", "repositories")
        if isinstance(each.get("id"), str)
    ]
    yield from _repeated(ids, lambda name: f"two repositories are called {shown(name)}")
    yield from _mirrors(table, [name for _, name in ids])


def _mirrors(table: Table, repositories: Sequence[str]) -> Iterator[Fault]:
    """A mirror of a repository that there is not, or that is made here."""
    mirrors = _at(table, ("mirrors",))
    made = [each.get("id") for _, each in _tables(table, "distribution", "repositories") if each.get("repack")]
    for name in mirrors if isinstance(mirrors, dict) else ():
        if name in made:
            yield Fault(key=("mirrors", name), message=f"{name} is made here, from the host's own archive: it has none")
        elif name not in repositories:
            near = suggestion(name, repositories) or f"; there are: {', '.join(repositories) or 'none'}"
            yield Fault(key=("mirrors", name), message=f"{shown(name)} is no repository of this recipe{near}")


def _base(table: Table) -> Iterator[Fault]:
    """An image is of one architecture, and a distribution brings no kernel by itself."""
    if isinstance(table.get("base"), dict):
        architectures = _strings(table, "architectures")
        if len({name for _, name in architectures}) > 1:
            yield Fault(key=("architectures",), message="an image is of one architecture: make a recipe for each")
    elif table.get("kernel") == INSIDE:
        yield Fault(key=("kernel",), message=f'"{INSIDE}" is the kernel of an existing image: it goes with [base]')


def _kernel(table: Table, kernels: Path) -> Iterator[Fault]:
    name = table.get("kernel")
    if not isinstance(name, str):
        return
    known = kernel_names(kernels)
    if name not in known:
        near = suggestion(name, known) or f"; there are: {', '.join(known) or 'none'}"
        yield Fault(key=("kernel",), message=f"{shown(name)} is not a file under {kernels}{near}")
        return
    try:
        kernel = load_kernel(kernels, name)
    except BuilderError as error:
        yield Fault(key=("kernel",), message=f"{shown(name)} cannot be used: {error.brief}")
        return
    architectures = _strings(table, "architectures")
    for key, virtual in _strings(table, "virtualization"):
        if virtual in ("pv", "hvm") and (message := kernel.refusal(virtual, next((a for _, a in architectures), ""))):
            yield Fault(key=key, message=message)
    for key, architecture in architectures:
        if architecture in ("x86_64", "i386") and architecture not in kernel.packages:
            has = ", ".join(kernel.packages)
            yield Fault(key=key, message=f"kernel {shown(name)} has no packages for {architecture} (it has {has})")


def _templates(table: Table) -> Iterator[Fault]:
    """The templates of [register] and [publish], as far as they can be read without values, and the names they make."""
    texts: list[tuple[Key, Any]] = [(key, _at(table, key)) for key in (_NAME, ("register", "description"))]
    tags = _at(table, ("register", "tags"))
    texts += [(("register", "tags", name), value) for name, value in tags.items()] if isinstance(tags, dict) else []
    texts += [each for word in ("parameters", "latest") for each in _strings(table, "publish", word)]
    right = True
    for key, text in texts:
        if isinstance(text, str) and is_template(text) and (message := template_fault(text)):
            right = False
            yield Fault(key=key, message=message)
    if right:
        yield from _ami_names(table)


def _ami_names(table: Table) -> Iterator[Fault]:
    """What EC2 would refuse as a name, for any of the variants."""
    template = _at(table, _NAME)
    if template is None:
        template = Register.model_fields["name"].default
    # The longest that a key, an account and a region can be; the rest is as it is written.
    samples = {"key12": "0" * 12, "account": "0" * 12, "region": "us-gov-west-1"}
    for word in ("name", "version", "description", "kernel"):
        written = table.get(word, "1" if word == "version" else "")
        if not isinstance(written, str):
            return  # the model says so
        samples[word] = written
    lists = [_strings(table, word) for word in ("architectures", "virtualization", "instance_types")]
    for (_, architecture), (_, virtualization), (_, kind) in itertools.product(*lists):
        variant = {"architecture": architecture, "virtualization": virtualization, "instance_type": kind}
        try:
            message = ami_name_fault(render_string(str(template), {**samples, **variant}, "register.name"))
        except RecipeError as error:
            message = error.brief.partition(": ")[2]
        if message:
            yield Fault(key=_NAME, message=message)
            return
