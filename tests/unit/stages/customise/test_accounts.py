"""Account files as texts."""

import pytest

from builder.errors import RecipeError
from builder.stages.customise.accounts import Accounts, add_group, add_user, group_ids, user_ids
from builder.stages.customise.spec import User

EPOCH = 86400 * 19000
PLAIN = Accounts(
    passwd="root:x:0:0::/root:/bin/sh\n", group="root:x:0:\n", shadow="root:*:1::::::\n", gshadow="root:*::\n"
)


def test_a_user_gets_a_group_of_the_same_number() -> None:
    assert add_user(PLAIN, User(name="web"), EPOCH) == Accounts(
        passwd="root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/bash\n",
        group="root:x:0:\nweb:x:1000:\n",
        shadow="root:*:1::::::\nweb:*:19000:0:99999:7:::\n",
        gshadow="root:*::\nweb:!::\n",
    )


def test_numbers_are_free_in_both_files() -> None:
    crowded = Accounts(passwd="a:x:1000:1::/:/\nb:x:1001:1::/:/\n", group="c:x:1002:\nd:x:1004:\n")
    after = add_user(add_user(crowded, User(name="e"), EPOCH), User(name="f"), EPOCH)
    assert user_ids(after) == {"a": 1000, "b": 1001, "e": 1003, "f": 1005}
    assert group_ids(after) == {"c": 1002, "d": 1004, "e": 1003, "f": 1005}


def test_a_number_that_is_a_group_already() -> None:
    after = add_user(Accounts(passwd="", group="c:x:700:\n"), User(name="e", uid=700), EPOCH)
    assert after.passwd == "e:*:700:1000::/home/e:/bin/bash\n"
    assert after.group == "c:x:700:\ne:x:1000:\n"


def test_a_group_of_that_name_is_used() -> None:
    after = add_user(Accounts(passwd="", group="web:x:33:\n"), User(name="web"), EPOCH)
    assert after.passwd == "web:*:1000:33::/home/web:/bin/bash\n"
    assert after.group == "web:x:33:\n"


def test_without_shadow_files_no_password_matches() -> None:
    after = add_user(Accounts(passwd="", group=""), User(name="web", groups=("adm", "adm")), EPOCH)
    assert after == Accounts(passwd="web:*:1000:1000::/home/web:/bin/bash\n", group="web:x:1000:\nadm:x:1001:web\n")


def test_lines_of_other_forms_are_kept() -> None:
    odd = Accounts(passwd="# comment\n+::::::\nroot:x:0:0::/root:/bin/sh", group="broken\nroot:x:0:\n")
    after = add_user(odd, User(name="web"), EPOCH)
    assert after.passwd.splitlines()[:3] == ["# comment", "+::::::", "root:x:0:0::/root:/bin/sh"]
    assert after.group.splitlines()[:2] == ["broken", "root:x:0:"]


def test_no_number_left() -> None:
    full = Accounts(passwd="".join(f"u{n}:x:{n}:0::/:/\n" for n in range(1000, 60000)), group="")
    with pytest.raises(RecipeError, match="no free"):
        add_group(full, "more")


@pytest.mark.parametrize(
    ("user", "why"),
    [
        pytest.param(User(name="root"), "users.root: ", id="name"),
        pytest.param(User(name="a", uid=0), "users.a.uid: 0 is the number of root", id="number"),
        pytest.param(User(name="a", shell="/bin/x:y"), "users.a.shell", id="colon"),
        pytest.param(User(name="a", home="/x\n"), "users.a.home", id="line break"),
    ],
)
def test_refused(user: User, why: str) -> None:
    with pytest.raises(RecipeError) as error:
        add_user(PLAIN, user, EPOCH)
    assert error.value.brief.startswith(why)
