"""Accounts of the base: base-passwd's and ours, none twice, nobody with a password."""

import pytest

from builder.errors import BuilderError
from builder.stages.repository.base import (
    accounts_of,
    format_accounts,
    merge_groups,
    merge_users,
    parse_os_release,
)
from builder.stages.repository.definition import Group, User, load_definition
from builder.stages.repository.tree import Accounts

PASSWD = "root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
GROUP = "root:*:0:\nshadow:*:42:\nnogroup:*:65534:\n"
SSHD = User(name="sshd", uid=102, gid=65534, home="/run/sshd")


def test_accounts() -> None:
    users = merge_users(PASSWD, [SSHD])
    groups = merge_groups(GROUP, [Group(name="_ssh", gid=106)])
    assert accounts_of(users, groups) == Accounts(
        users={0: "root", 102: "sshd", 65534: "nobody"}, groups={0: "root", 42: "shadow", 106: "_ssh", 65534: "nogroup"}
    )
    assert format_accounts(users, groups) == {
        "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\n"
        "sshd:x:102:65534::/run/sshd:/usr/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "/etc/group": "root:x:0:\nshadow:x:42:\n_ssh:x:106:\nnogroup:x:65534:\n",
        "/etc/shadow": "root:*::0:99999:7:::\nsshd:*::0:99999:7:::\nnobody:*::0:99999:7:::\n",
        "/etc/gshadow": "root:*::\nshadow:*::\n_ssh:*::\nnogroup:*::\n",
    }


def test_our_own_accounts_are_none_twice() -> None:
    definition = load_definition()
    assert len(merge_users(PASSWD, definition.users)) == 2 + len(definition.users)
    assert len(merge_groups(GROUP, definition.groups)) == 3 + len(definition.groups)


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(User(name="root", uid=7, gid=0), id="name"),
        pytest.param(User(name="toor", uid=0, gid=0), id="number"),
    ],
)
def test_twice(extra: User) -> None:
    with pytest.raises(BuilderError, match=r"the user (root|0) is both in base-passwd and in quickstart.toml"):
        merge_users(PASSWD, [extra])


def test_os_release() -> None:
    text = "# no\nNAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID='12'\n"
    assert parse_os_release(text) == {"NAME": "Debian GNU/Linux", "ID": "debian", "VERSION_ID": "12"}
