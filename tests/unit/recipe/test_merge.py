"""How files become one: `add`, `remove`, `[[when]]`, clashes of parts; whole tables, and where each finding is."""

from pathlib import Path
from typing import Any

import pytest

from builder.errors import RecipeError
from builder.recipe.conditions import COMMON, CONDITIONAL
from builder.recipe.load import Loaded, load_recipe
from builder.recipe.model import Recipe
from builder.recipe.written import When

FIXTURES = Path(__file__).parents[2] / "fixtures/recipes"
SMALL = (FIXTURES / "good-small.toml").read_text()
PV = {"architecture": "x86_64", "virtualization": "pv", "instance_type": "m1.small"}
HVM = {**PV, "virtualization": "hvm", "instance_type": "t3.micro"}


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / f"{name}.toml"
    path.write_text(text)
    return path


def said(path: Path) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    return [
        line.replace(f"{path.parent}/", "") for line in (caught.value.brief, *caught.value.detail.splitlines()) if line
    ]


def lists(loaded: Loaded) -> dict[str, Any]:
    recipe = loaded.recipe
    return {
        "packages": recipe.distribution.packages,
        "users": tuple(each.name for each in recipe.users),
        "scripts": tuple(each.run for each in recipe.scripts),
        "enable": recipe.services.enable,
        "tags": recipe.register_.tags,
    }


BASE = (
    SMALL
    + """
[[users]]
name = "joe"
[[users]]
name = "ann"
[[scripts]]
name = "one"
run = "echo 1"
[[scripts]]
run = "echo 2"
[services]
enable = ["ssh", "cron"]
[register.tags]
A = "1"
B = "2"
"""
)


def test_add_and_remove(tmp_path: Path) -> None:
    write(tmp_path, "base", BASE)
    path = write(
        tmp_path,
        "over",
        """
extends = "base.toml"
name = "over"
[add.distribution]
packages = ["curl", "systemd"]
[remove]
users = ["joe"]
scripts = ["one"]
services.enable = ["cron"]
register.tags = ["A"]
[[scripts]]
name = "three"
run = "echo 3"
""",
    )
    assert lists(load_recipe(path)) == {
        "packages": ("systemd", "curl"),
        "users": ("ann",),
        "scripts": ("echo 2", "echo 3"),
        "enable": ("ssh",),
        "tags": {"B": "2"},
    }


def test_a_script_of_the_same_name_takes_the_others_place(tmp_path: Path) -> None:
    write(tmp_path, "base", BASE)
    path = write(tmp_path, "over", 'extends = "base.toml"\nname = "x"\n[[scripts]]\nname = "one"\nrun = "echo new"\n')
    assert lists(load_recipe(path))["scripts"] == ("echo new", "echo 2")


def test_what_a_part_brings_can_be_removed(tmp_path: Path) -> None:
    write(tmp_path, "part", '[services]\nenable = ["a", "b"]\n[[users]]\nname = "bob"\n')
    path = write(
        tmp_path, "r", 'include = ["part.toml"]\nremove.services.enable = ["a"]\nremove.users = ["bob"]\n' + SMALL
    )
    assert (lists(load_recipe(path))["enable"], lists(load_recipe(path))["users"]) == (("b",), ())


def test_what_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    write(tmp_path, "base", BASE)
    head = 'extends = "base.toml"\nname = "x"\n'
    path = write(tmp_path, "over", head + 'remove.users = ["joe",\n  "jim"]\nremove.register.tags = ["C"]\n')
    assert said(path) == [
        'over.toml:4:3: remove.users[1]: there is no "jim" to remove from users',
        'over.toml:5:25: remove.register.tags[0]: there is no "C" to remove from register.tags',
    ]


def test_a_part_neither_adds_nor_removes_by_these_words(tmp_path: Path) -> None:
    write(tmp_path, "part", 'remove.users = ["joe"]\n')
    assert said(write(tmp_path, "r", 'include = ["part.toml"]\n' + SMALL)) == [
        "part.toml:1:1: remove: a part has none: it is taken into a recipe",
    ]


def test_two_parts_that_put_one_file_are_both_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, name, f'# {name}\n[[files]]\ndestination = "/etc/x"\ncontent = "{name}"\n')
    assert said(write(tmp_path, "r", 'include = ["a.toml", "b.toml"]\n' + SMALL)) == [
        'b.toml:2:3: files "/etc/x": a.toml:2:3 sets this as well: leave one of the two out'
    ]
    # What an extended recipe puts there is replaced.
    base = write(tmp_path, "base", SMALL + '[[files]]\ndestination = "/etc/x"\ncontent = "base"\n')
    over = write(tmp_path, "over", f'extends = "{base.name}"\ninclude = ["b.toml"]\nname = "over"\n')
    assert [file.content for file in load_recipe(over).recipe.files] == ["b"]


def conditional(*lines: str) -> str:
    head = 'virtualization = ["pv", "hvm"]\ninstance_types = ["m1.small", "t3.micro"]\ntimezone = "UTC"\n'
    return head + SMALL + "\n" + "\n".join(lines) + "\n"


def test_a_condition_is_for_its_variants_alone(tmp_path: Path) -> None:
    loaded = load_recipe(
        write(
            tmp_path,
            "r",
            conditional(
                "[[users]]",
                'name = "joe"',
                "[[when]]",
                'if = { virtualization = ["hvm"] }',
                'timezone = "Europe/Berlin"',
                'services.enable = ["chrony"]',
                'remove.users = ["joe"]',
                "[[when.users]]",
                'name = "ann"',
                "[[when]]",
                'if = { virtualization = ["hvm"], instance_type = ["m5.large"] }',
                'timezone = "Asia/Tokyo"',
            ),
        )
    )
    assert loaded.variant(**PV) is loaded
    hvm = loaded.variant(**HVM)
    assert hvm is loaded.variant(**{**HVM, "instance_type": "t3.small"})
    assert (loaded.recipe.timezone, hvm.recipe.timezone) == ("UTC", "Europe/Berlin")
    assert (lists(hvm)["users"], lists(hvm)["enable"]) == (("ann",), ("chrony",))
    assert (lists(loaded)["users"], lists(loaded)["enable"]) == (("joe",), ())
    assert loaded.variant(**{**HVM, "instance_type": "m5.large"}).recipe.timezone == "Asia/Tokyo"


def test_conditions_are_settled_before_files_are_merged(tmp_path: Path) -> None:
    """What a recipe says replaces what the extended one says under a condition; its conditional lists add."""
    write(
        tmp_path,
        "base",
        conditional("[[when]]", 'if.virtualization = ["hvm"]', 'timezone = "Asia/Tokyo"', 'locale = "de_DE.UTF-8"'),
    )
    lines = '[[when]]\nif.architecture = ["x86_64"]\ndistribution.packages = ["curl"]\n'
    path = write(tmp_path, "over", f'extends = "base.toml"\nname = "x"\ntimezone = "Asia/Seoul"\n{lines}')
    hvm = load_recipe(path).variant(**HVM).recipe
    assert (hvm.timezone, hvm.locale, hvm.distribution.packages) == ("Asia/Seoul", "de_DE.UTF-8", ("systemd", "curl"))


def test_a_distribution_is_known_by_its_id_and_release(tmp_path: Path) -> None:
    part = write(
        tmp_path,
        "part",
        '[[when]]\nif.distribution = ["fedora-43"]\ndistribution.packages = ["httpd"]\n'
        '[[when]]\nif.distribution = ["quickstart"]\ndistribution.packages = ["lighttpd"]\n',
    )
    head = f'include = ["{part.name}"]\n'
    assert lists(load_recipe(write(tmp_path, "q", head + SMALL)).variant(**PV))["packages"] == ("systemd", "lighttpd")
    fedora = SMALL.replace("[distribution]", '[distribution]\nid = "fedora"').replace('"12"', '"43"')
    assert lists(load_recipe(write(tmp_path, "f", head + fedora)).variant(**PV))["packages"] == ("systemd", "httpd")
    address = SMALL.replace('repack = "debian"', 'baseurl = "https://example.com/"\nkeys = ["k"]')
    (tmp_path / "n").mkdir()
    (tmp_path / "n/k").touch()
    assert said(write(tmp_path, "n", head + address)) == [
        f"part.toml:{line}:1: when[{index}].if.distribution: the recipe does not say which distribution it has: "
        'write distribution.id, such as "fedora"'
        for index, line in enumerate((2, 5))
    ]


def test_a_part_that_clashes_under_a_condition_names_both_places(tmp_path: Path) -> None:
    write(tmp_path, "part", '[[when]]\nif.virtualization = ["hvm"]\ntimezone = "Asia/Tokyo"\n')
    assert said(write(tmp_path, "r", 'include = ["part.toml"]\n' + conditional())) == [
        "part.toml:3:1: timezone: r.toml:4:1 sets this as well: leave one of the two out"
    ]


def test_a_condition_that_no_variant_has_is_checked_all_the_same(tmp_path: Path) -> None:
    lines = ("[[when]]", 'if.architecture = ["i386"]', 'image.size = "2X"', 'remove.users = ["nobody"]')
    path = write(tmp_path, "r", conditional(*lines))
    at = path.read_text().splitlines().index("[[when]]") + 1
    assert said(path) == [
        f'r.toml:{at + 2}:1: image.size: "2X" is not a size: write a whole number with MiB or GiB, such as "2048MiB"',
        f'r.toml:{at + 3}:17: when[0].remove.users[0]: there is no "nobody" to remove from users',
    ]


def test_conditions_end(tmp_path: Path) -> None:
    many = ("[[when]]", 'if.architecture = ["i386"]') * 65
    assert said(write(tmp_path, "r", conditional(*many)))[0].endswith(
        "when: more than 64 conditions: make several recipes of this one"
    )


def test_any_of_the_factorys_recipes_can_be_extended_from_anywhere(tmp_path: Path) -> None:
    path = write(tmp_path, "mine", 'extends = "web-server.toml"\nname = "mine"\n')
    assert [each.name for each in load_recipe(path).files] == ["mine.toml", "web-server.toml", "quickstart.toml"]


def test_every_key_is_either_conditional_or_common() -> None:
    known = [field.alias or name for name, field in Recipe.model_fields.items()]
    assert sorted(known) == sorted((*CONDITIONAL, *COMMON))
    assert [field.alias or name for name, field in When.model_fields.items()] == ["if", "remove", *CONDITIONAL]
