"""The states of an instance and the ways between them: pending, running, shutting-down, terminated, and nothing back;
but one whose root is a volume may also be stopping and stopped, and pending again.

Reasons are EC2's ("Instance lifecycle", DescribeInstances: StateReason); what is behind them is said after the colon.
"""

import json
import sqlite3

from builder.region.ec2.region import now
from builder.region.state import State

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
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
    """To shutting-down. Whether it was neither that nor terminated: the first reason stands."""
    query = (
        "UPDATE instances SET state = 'shutting-down', reason_code = ?, reason = ?, transition = ? "
        "WHERE id = ? AND state NOT IN ('shutting-down', 'terminated')"
    )
    return database.execute(query, (code, f"{code}: {reason}", transition, instance)).rowcount == 1


def terminate(database: sqlite3.Connection, instance: str) -> None:
    """From shutting-down to terminated. Its addresses are free, and its groups can be deleted."""
    query = (
        "UPDATE instances SET state = 'terminated', ended = ?, ports = '{}' WHERE id = ? AND state = 'shutting-down'"
    )
    if database.execute(query, (now(), instance)).rowcount:
        database.execute("DELETE FROM instance_groups WHERE instance = ?", (instance,))


def stop(database: sqlite3.Connection, instance: str, *, reason: str, transition: str) -> bool:
    """From pending or running to stopping; whether it was either."""
    query = (
        "UPDATE instances SET state = 'stopping', reason_code = ?, reason = ?, transition = ? "
        "WHERE id = ? AND state IN ('pending', 'running')"
    )
    return database.execute(query, (USER, f"{USER}: {reason}", transition, instance)).rowcount == 1


def stopped(database: sqlite3.Connection, instance: str, *, code: str, reason: str) -> bool:
    """It has stopped, by whatever it was told, unless it is to be terminated; whether it has."""
    query = (
        "UPDATE instances SET state = 'stopped', reason_code = ?, reason = ?, ports = '{}' "
        "WHERE id = ? AND state IN ('pending', 'running', 'stopping')"
    )
    return database.execute(query, (code, f"{code}: {reason}", instance)).rowcount == 1


def resume(database: sqlite3.Connection, instance: str) -> bool:
    """From stopped to pending; whether it was stopped."""
    query = (
        "UPDATE instances SET state = 'pending', reason_code = NULL, reason = NULL, transition = '', launched = ? "
        "WHERE id = ? AND state = 'stopped'"
    )
    return database.execute(query, (now(), instance)).rowcount == 1


def explain(database: sqlite3.Connection, instance: str, *, code: str, reason: str) -> None:
    """Say what is wrong with an instance that runs on."""
    query = "UPDATE instances SET reason_code = ?, reason = ? WHERE id = ? AND state = 'running'"
    database.execute(query, (code, f"{code}: {reason}", instance))


def terminate_all(state: State, reason: str) -> None:
    """No machine outlives its region: called when it stops, and when it starts after it was killed. An instance whose
    root is a volume is stopped."""
    with state.transaction() as database:
        query = "SELECT id, record FROM instances WHERE state NOT IN ('stopped', 'terminated')"
        for row in database.execute(query).fetchall():
            if json.loads(row["record"]).get("Volumes") and stopped(database, row["id"], code=REGION, reason=reason):
                continue
            shut_down(database, row["id"], code=REGION, reason=reason)
            terminate(database, row["id"])
