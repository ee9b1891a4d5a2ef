"""From the records of security groups to what may reach whom."""

from pathlib import Path

from builder.machine.network import Permission
from builder.region.network import permissions
from builder.region.state import State

INSTANCE = (
    "INSERT INTO instances VALUES (?, 'r-1', 0, 'ami-1', NULL, ?, '2026', NULL, ?, ?, 'mac', '{}', NULL, NULL, '', "
    "'{}', NULL)"
)


def test_permissions(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    with state.transaction() as database:
        database.execute("INSERT INTO reservations VALUES ('r-1', '2026', NULL, 'x')")
        for name in ("web", "db", "empty"):
            database.execute("INSERT INTO security_groups VALUES (?, ?, '', '2026')", (f"sg-{name}", name))
        for number, (name, state_of, groups) in enumerate(
            (("i-w1", "running", ["web"]), ("i-w2", "pending", ["web"]), ("i-d", "running", ["db", "web"]),
             ("i-none", "running", ["empty"]), ("i-gone", "terminated", ["web"]))
        ):  # fmt: skip
            database.execute(INSTANCE, (name, state_of, f"10.0.0.{number}", f"127.1.0.{number}"))
            database.executemany("INSERT INTO instance_groups VALUES (?, ?)", [(name, f"sg-{each}") for each in groups])
        for rule in (
            ("sgr-1", "sg-web", "tcp", 80, 80, "0.0.0.0/0", None),
            ("sgr-2", "sg-db", "tcp", 5432, 5432, None, "sg-web"),
            ("sgr-3", "sg-db", "-1", -1, -1, "10.0.0.0/8", None),
            ("sgr-4", "sg-web", "icmp", 8, -1, None, "sg-empty"),
        ):
            database.execute("INSERT INTO security_group_rules VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", rule)
    web = (
        Permission(protocol="tcp", first=80, last=80, cidrs=("0.0.0.0/0",)),
        Permission(protocol="icmp", first=8, last=-1, addresses=("10.0.0.3",)),
    )
    found = dict(permissions(state))
    assert found.pop("i-d") == (
        Permission(protocol="tcp", first=5432, last=5432, addresses=("10.0.0.2", "10.0.0.0", "10.0.0.1")),
        Permission(protocol="all", first=-1, last=-1, cidrs=("10.0.0.0/8",)),
        *web,
    )
    assert found == {"i-w1": web, "i-w2": web, "i-none": ()}
