"""What ec2-describe-instances says beside its table."""

from builder.classic.instances import endings


def test_why_instances_ended_that_nobody_terminated() -> None:
    def ended(identifier: str, **reason: str) -> dict[str, object]:
        found: dict[str, object] = {"InstanceId": identifier, "State": {"Name": "terminated"}}
        return {**found, "StateReason": reason} if reason else found

    assert list(
        endings(
            [
                ended("i-1", Code="Server.InternalError", Message="Server.InternalError: there is no kernel"),
                ended("i-2", Code="Client.UserInitiatedShutdown", Message="Client.UserInitiatedShutdown: so be it"),
                ended("i-3", Code="Server.SpotInstanceTermination"),
                ended("i-4"),
            ]
        )
    ) == [
        "note: i-1 is terminated: Server.InternalError: there is no kernel",
        "note: i-3 is terminated: Server.SpotInstanceTermination",
    ]
