"""The states of an instance and the ways between them: pending, running, shutting-down, terminated, and nothing back.

Reasons are EC2's ("Instance lifecycle", DescribeInstances: StateReason); what is behind them is said after the colon.
"""

import sqlite3

from builder.region.ec2.region import now
from builder.region.state import State

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48}
LIVE = ("pending", "running", "shutting-down")
USER = "Client.UserInitiatedShutdown"
ITSELF = "Client.InstanceInitiatedShutdown"
IMAGE = "Client.InternalError"
"""The image cannot be started."""
REGION = "Server.InternalError"
"""The region failed, or was stopped."""
CAPACITY = "Server.InsufficientInstanceCapacity"
SHOWN_SECONDS = 3600
"""How long a terminated instance is still described."""


def start(database: sqlite3.Connection, instance: str) -> bool:
    """From pending to running; whether it was still pending."""
    query = "UPDATE instances SET state = 'running' WHERE id = ? AND state = 'pending'"
    return database.execute(query, (instance,)).rowcount == 1


def shut_down(database: sqlite3.Connection, instance: str, *, code: str, reason: str, transition: str = "") -> bool:
    """From pending or running to shutting-down. Whether it was either: the first reason stands."""
    query = (
        "UPDATE instances SET state = 'shutting-down', reason_code = ?, reason = ?, transition = ? "
        "WHERE id = ? AND state IN ('pending', 'running')"
    )
    return database.execute(query, (code, f"{code}: {reason}", transition, instance)).rowcount == 1


def terminate(database: sqlite3.Connection, instance: str) -> None:
    """From shutting-down to terminated. Its addresses are free, and its groups can be deleted."""
    query = (
        "UPDATE instances SET state = 'terminated', ended = ?, ports = '{}' WHERE id = ? AND state = 'shutting-down'"
    )
    if database.execute(query, (now(), instance)).rowcount:
        database.execute("DELETE FROM instance_groups WHERE instance = ?", (instance,))


def explain(database: sqlite3.Connection, instance: str, *, code: str, reason: str) -> None:
    """Say what is wrong with an instance that runs on."""
    query = "UPDATE instances SET reason_code = ?, reason = ? WHERE id = ? AND state = 'running'"
    database.execute(query, (code, f"{code}: {reason}", instance))


def terminate_all(state: State, reason: str) -> None:
    """No instance outlives its region: called when it stops, and when it starts after it was killed."""
    with state.transaction() as database:
        for row in database.execute("SELECT id FROM instances WHERE state <> 'terminated'").fetchall():
            shut_down(database, row["id"], code=REGION, reason=reason)
            terminate(database, row["id"])
