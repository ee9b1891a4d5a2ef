"""The recipe's tables as specs: whole values; nothing of them in a key where they are not used."""

from pathlib import Path
from typing import Any

import pytest

from builder.canonical import to_plain
from builder.errors import RecipeError
from builder.plan.step import Plan
from tests.support.uefi import store
from tests.unit.plan.test_conditional import planned

TABLES = """
sysctl = { "vm.swappiness" = "10", "net.ipv4.ip_forward" = "1" }
[modules]
load = ["loop"]
blacklist = ["floppy"]
[services]
enable = ["ssh.service"]
[[groups]]
name = "web"
gid = 900
[[units]]
name = "a.service"
content = "[Service]\\n"
[[units]]
name = "b.service"
source = "b.service"
enable = false
[[units]]
name = "ssh.service.d/own.conf"
content = "[Unit]\\n"
[[timers]]
name = "t"
run = "/bin/true"
boot = "5min"
[[overlays]]
source = "tree"
owners = { "/srv" = "web:web" }
modes = { "/srv/secret" = "0600" }
"""


def spec(plan: Plan, stage: str) -> dict[str, Any]:
    return next(dict(to_plain(each.spec)) for each in plan.steps if each.stage == stage)


def test_every_table(tmp_path: Path) -> None:
    tree = tmp_path / "x/tree"
    (tree / "srv").mkdir(parents=True)
    (tmp_path / "x/b.service").write_text("b\n")
    for name in ("srv/secret", "srv/page", "top"):
        (tree / name).write_text(name)
    (tree / "top").chmod(0o755)
    (tree / "srv/link").symlink_to("/etc/shadow")
    plan = planned(tmp_path / "x.toml", TABLES)
    configure = spec(plan, "configure")
    assert {name: configure[name] for name in ("sysctl", "modules", "units", "timers", "services")} == {
        "sysctl": [["net.ipv4.ip_forward", "1"], ["vm.swappiness", "10"]],
        "modules": {"load": ["loop"], "blacklist": ["floppy"]},
        "units": [
            {"name": "a.service", "text": "[Service]\n"},
            {"name": "b.service", "text": "b\n"},
            {"name": "ssh.service.d/own.conf", "text": "[Unit]\n"},
        ],
        "timers": [
            {"name": "t", "run": "/bin/true", "service": "", "user": "", "calendar": "", "boot": "5min", "every": "",
             "random_delay": "", "persistent": False},
        ],
        "services": {"enable": ["ssh.service", "a.service", "t.timer"], "disable": [], "mask": []},
    }  # fmt: skip
    customise = spec(plan, "customise")
    assert customise["groups"] == [{"name": "web", "gid": 900}]
    # A link is copied as it is: what it leads to on this machine is not looked at.
    assert customise["links"] == [{"path": "/srv/link", "target": "/etc/shadow"}]
    assert [(each["destination"], each["owner"], oct(each["mode"])) for each in customise["files"]] == [
        ("/srv/page", "web", "0o644"),
        ("/srv/secret", "web", "0o600"),
        ("/top", "root", "0o755"),
    ]


def test_none_of_them_is_in_a_key_that_does_not_need_it(tmp_path: Path) -> None:
    configure = spec(planned(tmp_path / "x.toml", ""), "configure")
    assert not {"sysctl", "modules", "units", "timers", "selinux"} & configure.keys()


def test_selinux_is_refused_where_there_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="selinux: the recipe's distribution has no policy installed"):
        planned(tmp_path / "x.toml", '[selinux]\nmode = "enforcing"\n')


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param('owners = { "/none" = "a:b" }', "owners: there is no file /none", id="owner-of-nothing"),
        pytest.param('modes = { "/link" = "0600" }', "modes: there is no file /link", id="mode-of-a-link"),
    ],
)
def test_overlays_that_say_too_much(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "x/tree").mkdir(parents=True)
    (tmp_path / "x/tree/link").symlink_to("nowhere")
    with pytest.raises(RecipeError, match=says):
        planned(tmp_path / "x.toml", f'[[overlays]]\nsource = "tree"\n{line}\n')


UEFI = '[register]\nboot_mode = "uefi"\n'
UEFI_DATA = UEFI + 'uefi_data = "variables.aws"\n'


def test_uefi_variables_of_a_recipe(tmp_path: Path) -> None:
    """They are in the AMI's key, and in that of no step before it; a pv AMI has none."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x/variables.aws").write_text(f"{store()}\n")
    plain, plan = planned(tmp_path / "x.toml", UEFI), planned(tmp_path / "x.toml", UEFI_DATA)
    pv, hvm = plan.variants
    assert [each.key for each in plan.chain(pv.name)] == [each.key for each in plain.chain(pv.name)]
    before, after = tuple(plain.chain(hvm.name)), tuple(plan.chain(hvm.name))
    assert [new.stage for old, new in zip(before, after, strict=True) if old.key != new.key] == ["register"]
    assert (after[-1].spec["uefi_data"], after[-1].spec["boot_mode"]) == (store(), "uefi")


def test_uefi_variables_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/variables.aws").write_bytes(b"\xff\xfe_FVH")
    with pytest.raises(RecipeError) as caught:
        planned(tmp_path / "x.toml", UEFI_DATA)
    path = tmp_path / "x.toml"
    assert caught.value.brief == f"{path}: register.uefi_data: {tmp_path}/x/variables.aws: it is not base64"
    assert "uefivars.py -o aws" in caught.value.hint
