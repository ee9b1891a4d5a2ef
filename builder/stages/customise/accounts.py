"""The account files of a tree (passwd, group, shadow, gshadow), as texts: pure, so that equal users give equal bytes.

useradd is not used: it picks ids by what it finds on the way, and notes the day it ran on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from builder.errors import RecipeError
from builder.stages.customise.spec import Group, User

FIRST_ID = 1000
LAST_ID = 60000
_DAY = 86400
# No password matches "*", and sshd lets such a user in by key; "!" would mean a locked account to it (UsePAM no).
_NO_PASSWORD = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The four files; the shadow files are None where the distribution has none."""

    passwd: str
    group: str
    shadow: str | None = None
    gshadow: str | None = None


def user_ids(accounts: Accounts) -> dict[str, int]:
    return _ids(accounts.passwd)


def group_ids(accounts: Accounts) -> dict[str, int]:
    return _ids(accounts.group)


def add_user(accounts: Accounts, user: User, source_epoch: int) -> Accounts:
    """The files with one user more: a group of the user's own, the further groups (made when missing), no password.

    RecipeError for a name or a number that is taken, and for a path that passwd cannot hold.
    """
    place = f"users.{user.name}"
    home = home_of(user)
    for key, path in (("home", home), ("shell", user.shell)):
        if ":" in path or "\n" in path:
            raise RecipeError(f"{place}.{key}: a path with a colon or a line break cannot stand in /etc/passwd")
    users = user_ids(accounts)
    if user.name in users:
        raise RecipeError(
            f"{place}: the installed packages have a user of that name already", hint="choose another name"
        )
    taken = {number: name for name, number in users.items()}
    uid = _next_id(set(taken) | set(group_ids(accounts).values())) if user.uid is None else user.uid
    if uid in taken:
        raise RecipeError(f"{place}.uid: {uid} is the number of {taken[uid]}", hint="leave uid out, or choose another")

    accounts = add_group(accounts, user.name, uid)
    for name in user.groups:
        accounts = _add_member(add_group(accounts, name), name, user.name)
    gid = group_ids(accounts)[user.name]
    secret = "x" if accounts.shadow is not None else _NO_PASSWORD
    accounts = replace(
        accounts, passwd=_append(accounts.passwd, f"{user.name}:{secret}:{uid}:{gid}::{home}:{user.shell}")
    )
    if accounts.shadow is None:
        return accounts
    line = f"{user.name}:{_NO_PASSWORD}:{source_epoch // _DAY}:0:99999:7:::"
    return replace(accounts, shadow=_append(accounts.shadow, line))


def add_group(accounts: Accounts, name: str, wish: int | None = None) -> Accounts:
    """The files with this group, as they are if it is there; `wish` is its number if that is free."""
    known = group_ids(accounts)
    if name in known:
        return accounts
    taken = set(known.values())
    number = wish if wish is not None and wish not in taken else _next_id(taken | set(user_ids(accounts).values()))
    accounts = replace(accounts, group=_append(accounts.group, f"{name}:x:{number}:"))
    if accounts.gshadow is None:
        return accounts
    return replace(accounts, gshadow=_append(accounts.gshadow, f"{name}:!::"))


def add_own_group(accounts: Accounts, group: Group) -> Accounts:
    """The files with a group of the recipe's. RecipeError for a name or a number that is taken."""
    place, known = f"groups.{group.name}", group_ids(accounts)
    if group.name in known:
        raise RecipeError(f"{place}: the installed packages have a group of that name already", hint="leave it out")
    taken = {number: name for name, number in known.items()}
    if group.gid in taken:
        raise RecipeError(f"{place}.gid: {group.gid} is the number of {taken[group.gid]}", hint="choose another")
    return add_group(accounts, group.name, group.gid)


def home_of(user: User) -> str:
    return user.home or f"/home/{user.name}"


def _add_member(accounts: Accounts, group: str, user: str) -> Accounts:
    gshadow = None if accounts.gshadow is None else _with_member(accounts.gshadow, group, user)
    return replace(accounts, group=_with_member(accounts.group, group, user), gshadow=gshadow)


def _with_member(text: str, group: str, user: str) -> str:
    lines = []
    for line in text.splitlines():
        fields = line.split(":")
        if fields[0] == group and len(fields) == 4:
            members = [each for each in fields[3].split(",") if each]
            fields[3] = ",".join([*members, *([user] if user not in members else [])])
        lines.append(":".join(fields))
    return _lines(lines)


def _ids(text: str) -> dict[str, int]:
    """Names to numbers; lines that are not of the form (comments, `+` of NIS) are passed over."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdecimal():
            found.setdefault(fields[0], int(fields[2]))
    return found


def _next_id(taken: set[int]) -> int:
    for number in range(FIRST_ID, LAST_ID):
        if number not in taken:
            return number
    raise RecipeError("there is no free user or group number left")


def _append(text: str, line: str) -> str:
    return _lines([*text.splitlines(), line])


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
