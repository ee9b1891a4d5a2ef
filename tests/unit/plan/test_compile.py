"""What compiling refuses. What it makes of a good recipe is golden, see tests/golden/test_plans.py."""

from dataclasses import replace

import pytest

from builder.errors import RecipeError
from builder.factory import Selection
from builder.plan.compile import variants
from builder.recipe.model import Boot
from tests.support.plans import TARGET, planned, prepared


def test_variants_in_the_order_of_the_recipe() -> None:
    recipe = prepared("quickstart").loaded.recipe.model_copy(
        update={"architectures": ("x86_64", "i386"), "instance_types": ("m1.small", "m1.medium")}
    )
    assert [each.name for each in variants(recipe, TARGET)] == [
        "quickstart-x86_64-pv-m1.small",
        "quickstart-x86_64-pv-m1.medium",
        "quickstart-i386-pv-m1.small",
        "quickstart-i386-pv-m1.medium",
    ]


@pytest.mark.parametrize(
    ("picked", "said", "hint"),
    [
        pytest.param(
            Selection(architectures=("i386",), instance_types=("m1.large",)),
            "m1.large cannot run i386 (it runs x86_64)",
            "choose a type for pv images, such as --instance-type m1.small",
            id="32 bits on a large one",
        ),
        pytest.param(
            Selection(instance_types=("m1.small", "i2.xlarge")),
            "i2.xlarge does not offer pv (it offers hvm)",
            "--instance-type m1.small",
            id="one of several that the command line picked",
        ),
        pytest.param(
            Selection(instance_types=("t1.micro",)),
            "t1.micro cannot start from the instance store, where pv AMIs are, only from EBS",
            "",
            id="no instance store",
        ),
        pytest.param(
            Selection(instance_types=("m1.small",), virtualization=("hvm",)),
            "m1.small has its disks at places (sda2, sda3)",
            "--instance-type t3.micro",
            id="disks where partitions would be",
        ),
        pytest.param(
            Selection(architectures=("i386",), virtualization=("hvm",)),
            "no instance type for hvm images of i386: m1.small has its disks",
            "--instance-type t2.micro",
            id="a virtualization that none of the recipe's types has",
        ),
        pytest.param(
            Selection(instance_types=("m1.smal",)), '"m1.smal" is not an instance type', "", id="no such type"
        ),
    ],
)
def test_combinations_that_ec2_does_not_have(picked: Selection, said: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        planned(prepared("quickstart"), picked)
    assert said in caught.value.brief
    assert hint in caught.value.hint


def test_a_region_without_a_kernel_image() -> None:
    with pytest.raises(RecipeError) as caught:
        planned(prepared("quickstart"), target=replace(TARGET, region="eu-north-1"))
    assert caught.value.brief == "kernels/quickstart.toml: aki.x86_64: no kernel image (AKI) for eu-north-1"
    assert "us-east-1" in caught.value.hint


def test_an_architecture_that_the_recipe_does_not_have(tmp_path_factory: pytest.TempPathFactory) -> None:
    from builder.factory import Factory, Options
    from tests.support.plans import Silent

    ready = prepared("fedora")
    options = Options(store=tmp_path_factory.mktemp("store"))
    factory = Factory(options=options, listener=Silent(), say=lambda _: None)
    with pytest.raises(RecipeError, match="i386 is not among the recipe's architectures") as caught:
        factory.plan(ready, Selection(architectures=("i386",)))
    assert caught.value.hint == "it has: x86_64"


def test_the_name_is_checked_when_its_template_is_filled_in() -> None:
    ready = prepared("quickstart")
    recipe = ready.loaded.recipe
    register = recipe.register_.model_copy(update={"name": "{{ name }}:{{ key12 }}"})
    with pytest.raises(RecipeError, match=r"register\.name"):
        planned(ready, recipe=recipe.model_copy(update={"register_": register}))


def test_a_tag_is_measured_when_its_template_is_filled_in() -> None:
    ready = prepared("quickstart")
    register = ready.loaded.recipe.register_.model_copy(update={"tags": {"team": "{{ 'x' * 257 }}"}})
    with pytest.raises(RecipeError) as caught:
        planned(ready, recipe=ready.loaded.recipe.model_copy(update={"register_": register}))
    assert caught.value.brief == "register.tags.team: a tag's value has up to 256 characters, not 257"


def test_a_long_description_is_cut_to_what_ec2_keeps() -> None:
    ready = prepared("quickstart")
    recipe = ready.loaded.recipe
    register = recipe.register_.model_copy(update={"description": "x" * 300})
    plan = planned(ready, recipe=recipe.model_copy(update={"register_": register}))
    assert plan.by_key[plan.goals[0][1]].spec["description"] == "x" * 255


def test_the_boot_proof_is_a_gate_and_renames_nothing() -> None:
    """It is booted after verify, registered after both; every other key stays."""
    ready = prepared("quickstart")
    recipe = ready.loaded.recipe
    without, plan = (
        planned(ready, recipe=recipe.model_copy(update={"boot": Boot(level=level)})) for level in ("none", "login")
    )
    boots = [each for each in plan.steps if each.stage == "boot"]
    assert {each.key for each in plan.steps} - {each.key for each in boots} == {each.key for each in without.steps}
    for boot in boots:
        (image,) = (key for name, key in boot.inputs if name == "image")
        (verify,) = (each for each in plan.steps if each.stage == "verify" and ("image", image) in each.inputs)
        assert boot.after == (verify.key,)
        registered = [each for each in plan.steps if each.stage == "register" and boot.key in each.after]
        assert [each.after for each in registered] == [(verify.key, boot.key)]
    assert boots[0].spec == {
        "level": "login",
        "architecture": "x86_64",
        "instance_type": "m1.small",
        "loader": "pv-grub-hd0",
        "authorized_keys": [],
        "metadata_key": True,
    }


def test_a_paravirtual_image_with_partitions() -> None:
    """Its loader, its menu, its kernel image and the places of all disks follow; what is shared before stays."""
    ready = prepared("quickstart")
    recipe = ready.loaded.recipe
    image = recipe.image.model_copy(update={"partitioned": True})
    plain = {each.label: each for each in planned(ready).chain(planned(ready).variants[0].name)}
    plan = planned(ready, recipe=recipe.model_copy(update={"image": image}))
    steps = {each.label: each for each in plan.chain(plan.variants[0].name)}
    assert {name for name, each in steps.items() if each.key == plain[name].key} == {
        "repository.quickstart",
        "packages",
        "kernel",
    }
    assert steps["configure"].spec["boot"] == {**plain["configure"].spec["boot"], "grub_root": "(hd0,0)"}
    assert [line.split()[:2] for line in steps["configure"].spec["fstab"].splitlines()[1:]] == [
        ["/dev/xvda1", "/"], ["/dev/xvdb", "/mnt"], ["/dev/xvdc", "none"]
    ]  # fmt: skip
    signature = steps["image"].spec["mbr"]
    assert steps["image"].spec == {**plain["image"].spec, "mbr": signature}
    assert len(bytes.fromhex(signature)) == 4
    assert steps["verify"].spec["mbr"] is True
    assert steps["boot"].spec == {**plain["boot"].spec, "loader": "pv-grub-hd00"}
    assert steps["bundle"].spec["block_device_mapping"] == [
        ["ami", "sda"], ["ephemeral0", "sdb"], ["root", "/dev/sda1"], ["swap", "sdc"]
    ]  # fmt: skip
    registered = steps["register"].spec
    assert (registered["root_device_name"], registered["kernel_id"]) == ("/dev/sda", "aki-499ccb20")
    assert registered["block_device_mappings"] == [["/dev/sdb", "ephemeral0"]]


def test_partitions_change_nothing_of_an_hvm_image() -> None:
    ready = prepared("quickstart")
    recipe = ready.loaded.recipe.model_copy(update={"virtualization": ("hvm",), "instance_types": ("t3.micro",)})
    image = recipe.image.model_copy(update={"partitioned": True})
    plans = [planned(ready, recipe=each) for each in (recipe, recipe.model_copy(update={"image": image}))]
    assert plans[0].steps == plans[1].steps


def test_an_hvm_image_is_booted_as_it_is_registered() -> None:
    """With the firmware, the volume and the metadata service of its AMI."""
    ready = prepared("quickstart")
    recipe = ready.loaded.recipe.model_copy(update={"virtualization": ("hvm",), "instance_types": ("t3.micro",)})
    register = recipe.register_.model_copy(update={"boot_mode": "uefi", "imds": "optional"})
    volume = recipe.volume.model_copy(update={"size": "9GiB"})
    other = recipe.model_copy(update={"register_": register, "volume": volume})
    found = []
    for each in (recipe, other):
        (boot,) = (step for step in planned(ready, recipe=each).steps if step.stage == "boot")
        found.append(boot.spec)
    same = {
        "level": "login",
        "architecture": "x86_64",
        "instance_type": "t3.micro",
        "loader": "",
        "authorized_keys": [],
        "metadata_key": True,
        "virtualization": "hvm",
    }
    assert found == [
        {**same, "boot_mode": "uefi-preferred", "imds": "v2.0"},
        {**same, "boot_mode": "uefi", "volume_size": 9},
    ]


def test_what_cannot_boot_here_is_not_booted() -> None:
    """A 32-bit PV kernel that Linux has no more."""
    ready = prepared("quickstart")
    recipe = ready.loaded.recipe.model_copy(update={"boot": Boot(level="login"), "architectures": ("i386",)})
    assert [each for each in planned(ready, recipe=recipe).steps if each.stage == "boot"] == []
