"""The tables of options against the published manuals, and what values are read as."""

import pytest

from builder.classic import (
    ami_tools_version,
    bundle_image,
    delete_bundle,
    download_bundle,
    options,
    register,
    unbundle,
    upload_bundle,
)
from builder.classic.command import Command
from builder.errors import RecipeError

COMMON = "-h --help --version --manual --batch --debug"
S3 = "-b --bucket -a --access-key -s --secret-key --url --region --sigv --retry"
# "AMI tools reference" of the EC2 user guide, and ec2-register(1) of the API tools 1.6.
DOCUMENTED = {
    bundle_image.COMMAND: f"""
        {COMMON} -c --cert -k --privatekey -u --user -i --image -d --destination --ec2cert -r --arch --productcodes
        -B --block-device-mapping -p --prefix --kernel --ramdisk
    """,
    upload_bundle.COMMAND: f"""
        {COMMON} {S3} -t --delegation-token -m --manifest --acl -d --directory --part --skipmanifest --location
    """,
    download_bundle.COMMAND: f"{COMMON} {S3} -k --privatekey -m --manifest -p --prefix -d --directory",
    unbundle.COMMAND: f"{COMMON} -k --privatekey -m --manifest -s --source -d --destination",
    delete_bundle.COMMAND: f"{COMMON} {S3} -t --delegation-token -m --manifest -p --prefix --clear -y --yes",
    register.COMMAND: """
        -O --aws-access-key -W --aws-secret-key -T --security-token -K --private-key -C --cert -U --url --region
        -D --auth-dry-run -v --verbose -? --help -H --headers --debug --show-empty-fields --hide-tags
        --connection-timeout --request-timeout -a --architecture -b --block-device-mapping -d --description -n --name
        -s --snapshot --kernel --ramdisk --root-device-name --virtualization-type --sriov
    """,
    ami_tools_version.COMMAND: "",
}
COMMANDS = [pytest.param(command, id=command.name) for command in DOCUMENTED]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_documented_option_is_there(command: Command) -> None:
    known = {name for option in command.options for name in option.names}
    assert set(DOCUMENTED[command].split()) - known == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_no_name_is_used_twice(command: Command) -> None:
    names = [name for option in command.options for name in option.names]
    called = [option.name for option in command.options]
    assert (len(names), len(called)) == (len(set(names)), len(set(called)))


@pytest.mark.parametrize("command", COMMANDS)
def test_no_secret_has_its_value_in_the_help(command: Command) -> None:
    assert [each.words for each in command.options if "secret" in each.name and each.default is not None] == []


def test_product_codes_are_split() -> None:
    """ec2-ami-tools made one code "a,b" of them."""
    assert options.listed("A1B2, C3D4") == ("A1B2", "C3D4")


def test_mappings() -> None:
    assert options.mappings("ami=sda1,root=/dev/sda1") == (("ami", "sda1"), ("root", "/dev/sda1"))


def test_dashes_of_an_account_are_taken_out() -> None:
    """EC2 refuses a manifest that has them."""
    assert options.account("1234-5678-9012") == "123456789012"


@pytest.mark.parametrize(
    ("read", "text", "why"),
    [
        pytest.param(options.listed, "a,,b", "an empty place", id="list"),
        pytest.param(options.mappings, "sda1", "is no mapping", id="mapping"),
        pytest.param(options.mappings, "ami=", "is no mapping", id="mapping to nothing"),
        pytest.param(options.mappings, "ami=a,ami=b", "mapped twice", id="mapping twice"),
        pytest.param(options.whole, "-1", "whole number", id="negative"),
        pytest.param(options.whole, "1.5", "whole number", id="fraction"),
        pytest.param(options.whole, "٣", "whole number", id="another script's digits"),
        pytest.param(options.account, "1234", "12 digits|account number", id="account"),
        pytest.param(options.account, "12345678901234", "account number", id="long account"),
    ],
)
def test_values_that_are_none(read: object, text: str, why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        read(text)  # type: ignore[operator]
