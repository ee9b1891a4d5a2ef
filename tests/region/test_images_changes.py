"""images share, promote, validate and deprecate, and the publish stage, against three regions."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from builder.cloud.amis import Ami
from builder.errors import BuilderError, RegionError
from builder.images import promote
from builder.images.compare import differences, wanted_as
from builder.images.copies import Copier
from builder.images.promotion import plan_promotion
from builder.images.publish import publish
from builder.images.validate import look
from builder.stages.publish.spec import Audience, Destination, PublishSpec
from tests.support.faults import faults
from tests.support.published import ACCOUNT, FRIEND, Place, a_place

OTHER = "310987654321"
TWO = (Destination(region="local-2"), Destination(region="local-3"))
ORGANIZATION = "arn:aws:organizations::123456789012:organization/o-abcdefghij"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with a_place(tmp_path_factory.mktemp("images-changes")) as made:
        yield made


def spec(*destinations: Destination, **more: Any) -> PublishSpec:
    return PublishSpec(
        partition="aws",
        account=ACCOUNT,
        region="local",
        endpoint="x",
        destinations=(Destination(region="local"), *destinations),
        **more,
    )


def named(source: Ami, **more: Any) -> tuple[Destination, ...]:
    """Home and two more, each with a parameter of the version and one of the latest."""
    return tuple(
        Destination(region=name, parameters=(f"/{source.name}/1",), latest=(f"/{source.name}/latest",), **more)
        for name in ("local", "local-2", "local-3")
    )


def parameter(place: Place, region: str, name: str) -> str:
    found = place.client("ssm", region).get_parameters(Names=[name])["Parameters"]
    return str(found[0]["Value"]) if found else ""


def launch(place: Place, region: str, image_id: str) -> list[Any]:
    answer = place.client("ec2", region).describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    return list(answer["LaunchPermissions"])


def volume(place: Place, region: str, image: dict[str, Any]) -> list[Any]:
    snapshot = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    ec2 = place.client("ec2", region)
    return list(
        ec2.describe_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission")[
            "CreateVolumePermissions"
        ]
    )


class TestShare:
    def test_what_is_missing_then_what_is_too_much(self, place: Place) -> None:
        source = place.register()
        Copier(reach=place.reach).copy(source, TWO[:1])
        (copied,) = place.copies(source, "local-2")
        words = ("images", "share", source.id, "--account", FRIEND, "--organization", ORGANIZATION)
        shown = place.document(*words, "--dry-run")
        assert {(each["region"], tuple(each["add"])) for each in shown["changes"]} == {
            (region, grants)
            for region in ("local", "local-2")
            for grants in ((f"account {FRIEND}",), (f"account {FRIEND}", f"organization {ORGANIZATION}"))
        }
        assert launch(place, "local-2", copied["ImageId"]) == []
        place.document(*words)
        assert launch(place, "local-2", copied["ImageId"]) == [{"UserId": FRIEND}, {"OrganizationArn": ORGANIZATION}]
        assert volume(place, "local-2", copied) == [{"UserId": FRIEND}]
        assert place.document(*words)["changes"] == []
        place.document("images", "share", source.id, "--account", OTHER)
        assert {"UserId": FRIEND} in launch(place, "local", source.id)
        done = place.run("images", "share", source.id, "--account", OTHER, "--exact")
        assert f"- local-2  {copied['ImageId']}  account {FRIEND}\n" in done.stdout
        assert launch(place, "local-2", copied["ImageId"]) == [{"UserId": OTHER}]
        assert volume(place, "local-2", copied) == [{"UserId": OTHER}]

    def test_public_with_its_snapshot(self, place: Place) -> None:
        source = place.register()
        place.document("images", "share", source.id, "--public", "--in", "local")
        (image,) = place.images("local", image_id=source.id)
        assert (image["Public"], volume(place, "local", image)) == (True, [{"Group": "all"}])

    def test_never_public_when_encrypted_and_nothing_is_sent(self, place: Place) -> None:
        source = place.register(encrypted=True)
        done = place.run("images", "share", source.id, "--public", "--account", FRIEND, "--in", "local")
        assert done.returncode == 2
        assert 'EC2 User Guide, "Make your AMI publicly available"' in done.stderr
        assert launch(place, "local", source.id) == []

    def test_no_account(self, place: Place) -> None:
        done = place.run("images", "share", place.register().id, "--account", "12")
        assert (done.returncode, '--account: "12" is not one' in done.stderr) == (2, True), done.stderr


class TestPromote:
    def test_forward_and_back(self, place: Place) -> None:
        old, new = place.register(), place.register()
        for each in (old, new):
            Copier(reach=place.reach).copy(each, TWO)
        words = ("--parameter", "/web/current", "--in", "local-2", "--in", "local-3")
        place.document("images", "promote", old.id, *words)
        told = place.document("images", "promote", new.id, *words)
        ids = {name: place.copies(new, name)[0]["ImageId"] for name in ("local-2", "local-3")} | {"local": new.id}
        assert {each["region"]: each["image_id"] for each in told["parameters"]} == ids
        assert {name: parameter(place, name, "/web/current") for name in ids} == ids
        assert place.document("images", "promote", new.id, *words)["parameters"] == []
        place.document("images", "promote", old.id, *words)
        assert parameter(place, "local", "/web/current") == old.id
        history = place.client("ssm").get_parameter_history(Name="/web/current")["Parameters"]
        assert [each["Value"] for each in history] == [old.id, new.id, old.id]
        assert {each["DataType"] for each in history} == {"aws:ec2:image"}

    def test_refused_while_a_region_has_no_copy(self, place: Place) -> None:
        source = place.register()
        done = place.run("images", "promote", source.id, "--parameter", "/absent", "--in", "local-2")
        assert (done.returncode, "local-2 has no copy of it" in done.stderr) == (1, True), done.stderr
        assert parameter(place, "local", "/absent") == ""

    def test_all_or_none(self, place: Place) -> None:
        """The last write is denied: what was new is gone, and what was old says again what it said."""
        source, before = place.register(), place.register()
        copies = Copier(reach=place.reach).copy(source, (Destination(region="local"), *TWO))
        images = {each.region: each.image_id for each in copies}
        wanted = named(source)
        place.client("ssm").put_parameter(
            Name=wanted[0].latest[0], Value=before.id, Type="String", DataType="aws:ec2:image"
        )
        writes = plan_promotion(wanted, images, promote.look(place.reach, wanted))
        assert [each.latest for each in writes] == [False] * 3 + [True] * 3
        denied = {"fault": "deny", "operation": "PutParameter", "region": "local-3", "after": 1}
        with faults(place.endpoint, denied), pytest.raises(RegionError) as caught:
            promote.write(place.reach, writes)
        assert "every parameter says again what it said before" in caught.value.detail
        assert [parameter(place, each.region, each.name) for each in writes] == ["", "", "", before.id, "", ""]


class TestDeprecate:
    def test_dates_successors_and_protection_of_all_copies(self, place: Place) -> None:
        old, new = place.register(), place.register()
        for each in (old, new):
            Copier(reach=place.reach).copy(each, TWO[:1])
        day = (datetime.now(UTC) + timedelta(days=100)).strftime("%Y-%m-%d")
        words = ("images", "deprecate", old.id, "--on", day, "--replaced-by", new.id, "--protect")
        assert len(place.document(*words, "--dry-run")["changes"]) == 2
        assert len(place.document(*words)["changes"]) == 2
        for region, successor in (("local", new.id), ("local-2", place.copies(new, "local-2")[0]["ImageId"])):
            found = place.images(region, image_id=old.id) if region == "local" else place.copies(old, region)
            tags = {each["Key"]: each["Value"] for each in found[0]["Tags"]}
            assert found[0]["DeprecationTime"] == f"{day}T00:00:00.000Z"
            assert tags["ami-factory:replaced-by"] == successor
            assert found[0]["DeregistrationProtection"] == "enabled-without-cooldown"
        assert place.document(*words)["changes"] == []
        place.document("images", "deprecate", old.id, "--cancel", "--unprotect")
        assert "DeprecationTime" not in place.copies(old, "local-2")[0]

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            pytest.param(["--on", "2020-01-01"], "lies in the past", id="past"),
            pytest.param(["--after", "20y"], "ten years from now", id="too-late"),
            pytest.param(["--after", "soon"], "is not a duration", id="no-duration"),
            pytest.param(["--on", "2027-01-01", "--cancel"], "give one of them", id="both"),
            pytest.param([], "nothing to change", id="nothing"),
        ],
    )
    def test_what_is_wrong(self, place: Place, words: list[str], says: str) -> None:
        done = place.run("images", "deprecate", place.register().id, *words)
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr


class TestPublish:
    def test_all_of_it_and_nothing_the_second_time(self, place: Place) -> None:
        source = place.register()
        wanted = replace(
            spec(deprecate_days=90, protection="on", audience=Audience(accounts=(FRIEND,))),
            destinations=named(source),
        )
        done = publish(place.reach, source, wanted)
        assert (sorted(done.images), len(done.written), done.missing) == (["local", "local-2", "local-3"], 6, {})
        assert differences(wanted_as(source), wanted, look(place.reach, source, wanted)) == ()
        assert publish(place.reach, source, wanted).written == ()

    def test_nothing_is_named_before_all_have_it(self, place: Place) -> None:
        source = place.register()
        wanted = replace(spec(), destinations=named(source))
        with faults(place.endpoint, {"fault": "deny", "operation": "CopyImage", "region": "local-3"}):
            with pytest.raises(BuilderError, match="local-3 has no copy of it"):
                publish(place.reach, source, wanted)
            assert parameter(place, "local", f"/{source.name}/1") == ""
            lenient = tuple(replace(each, required=each.region != "local-3") for each in wanted.destinations)
            done = publish(place.reach, source, replace(wanted, destinations=lenient))
        assert list(done.missing) == ["local-3"]
        assert parameter(place, "local-2", f"/{source.name}/latest") == done.images["local-2"]


class TestValidate:
    def test_every_difference_is_found(self, place: Place) -> None:
        source = place.register()
        wanted = replace(
            spec(deprecate_days=90, protection="on", audience=Audience(accounts=(FRIEND,))), destinations=named(source)
        )
        images = publish(place.reach, source, wanted).images
        ec2, ssm, copied = place.client("ec2", "local-2"), place.client("ssm", "local-2"), images["local-2"]
        snapshot = place.copies(source, "local-2")[0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        ec2.modify_image_attribute(ImageId=copied, Description={"Value": "another"})
        ec2.modify_image_attribute(
            ImageId=copied, LaunchPermission={"Add": [{"UserId": OTHER}], "Remove": [{"UserId": FRIEND}]}
        )
        ec2.modify_snapshot_attribute(
            SnapshotId=snapshot, Attribute="createVolumePermission", OperationType="add", UserIds=[OTHER]
        )
        ec2.create_tags(Resources=[copied], Tags=[{"Key": "team", "Value": "red"}])
        ec2.disable_image_deprecation(ImageId=copied)
        ec2.disable_image_deregistration_protection(ImageId=copied)
        ssm.delete_parameter(Name=f"/{source.name}/1")
        place.client("ec2", "local-3").disable_image_deregistration_protection(ImageId=images["local-3"])
        place.client("ec2", "local-3").deregister_image(ImageId=images["local-3"])
        found = differences(wanted_as(source), wanted, look(place.reach, source, wanted))
        told = {(each.region, each.what, each.found) for each in found}
        assert told == {
            ("local-2", "description", "another"),
            ("local-2", "sharing", "missing"),
            ("local-2", "sharing", f"account {OTHER}"),
            ("local-2", "tag team", "red"),
            ("local-2", "deprecation", "none"),
            ("local-2", "deregistration protection", "none"),
            ("local-2", "parameter", "missing"),
            ("local-3", "image", "missing"),
        }
        publish(place.reach, source, wanted)
        left = differences(wanted_as(source), wanted, look(place.reach, source, wanted))
        assert [(each.what, each.mended) for each in left] == [("description", False)]

    def test_the_verb_of_an_ami(self, place: Place) -> None:
        source = place.register()
        Copier(reach=place.reach).copy(source, TWO[:1])
        assert place.document("images", "validate", source.id)["images"][0]["differences"] == []
        (copied,) = place.copies(source, "local-2")
        place.client("ec2", "local-2").create_tags(
            Resources=[copied["ImageId"]], Tags=[{"Key": "team", "Value": "red"}]
        )
        document = place.document("images", "validate", source.id, "--in", "local-2", "--in", "local-3", code=1)
        assert [(each["region"], each["what"]) for each in document["images"][0]["differences"]] == [
            ("local-2", "tag team"),
            ("local-3", "image"),
        ]
        assert "SHOULD BE" in place.run("images", "validate", source.id, "--in", "local-2").stdout
