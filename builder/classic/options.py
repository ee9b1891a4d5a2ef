"""What an option of a classic command is, and those that several commands have.

The names and meanings are those of the published manuals: "AMI tools reference" of the EC2 user guide, ec2-register(1)
of the API tools 1.6, and euca2ools' pages where they have a name more for the same thing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from builder.errors import RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. Without a `value` it is a switch; without a name that starts with a dash, a plain argument."""

    names: tuple[str, ...]
    """All its names, in the manual's order; the first long one is what it is called here."""
    help: str
    value: str = ""
    """What its value is called in the help."""
    heading: str = "options"
    variables: tuple[str, ...] = ()
    """Environment variables that stand in for it, the first that is set."""
    default: Any = None
    choices: tuple[str, ...] = ()
    read: Callable[[str], Any] | None = None
    """From the text to the value; a BuilderError's words are shown after the option's name."""
    repeated: bool = False
    """Can be given several times: its value is a tuple."""
    required: bool = False
    no: bool = False
    """A switch that also has the form --no-NAME: None when neither was given."""
    obsolete: str = ""
    """Why it means nothing any more: said once when it is given."""
    hidden: bool = False
    """Not in the help, only in the manual."""
    called: str = ""
    """What it is called in the parsed options, where that is not its first long name."""

    @property
    def name(self) -> str:
        """What its value is called in the parsed options: the first long name, `--ec2cert` as `ec2cert`."""
        if self.called:
            return self.called
        long = next((each for each in self.names if each.startswith("--")), self.names[0])
        return long.lstrip("-").replace("-", "_").lower()

    @property
    def words(self) -> str:
        """Its names as they stand in messages: `-b, --bucket`."""
        return ", ".join(self.names)


def listed(text: str) -> tuple[str, ...]:
    """A comma-separated list: ec2-ami-tools kept "a,b" as one product code."""
    found = tuple(each.strip() for each in text.split(","))
    if not all(found):
        raise RecipeError(f'"{text}" has an empty place', hint="write a,b,c")
    return found


def mappings(text: str) -> tuple[tuple[str, str], ...]:
    """`ami=sda1,root=/dev/sda1`: (virtual, device) pairs."""
    pairs = []
    for each in listed(text):
        virtual, equals, device = each.partition("=")
        if not (virtual and equals and device):
            raise RecipeError(f'"{each}" is no mapping', hint="write such as ami=sda1,root=/dev/sda1,ephemeral0=sda2")
        pairs.append((virtual, device))
    twice = sorted({virtual for virtual, _ in pairs if [name for name, _ in pairs].count(virtual) > 1})
    if twice:
        raise RecipeError(f'"{twice[0]}" is mapped twice')
    return tuple(pairs)


def whole(text: str) -> int:
    """A whole number, leading zeros allowed (`--part 04`)."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise RecipeError(f'"{text}" is not a whole number')
    return int(text)


def account(text: str) -> str:
    """Twelve digits; dashes, as AWS's pages show them, are taken out: EC2 refuses manifests that have them."""
    number = text.replace("-", "")
    if not (len(number) == 12 and number.isascii() and number.isdigit()):
        raise RecipeError(f'"{text}" is not an AWS account number', hint="it has 12 digits")
    return number


HELP = Option(names=("-h", "--help"), help="Show this help and exit.", heading="common options")
COMMON = (
    HELP,
    Option(names=("--manual",), help="Show the manual and exit.", heading="common options"),
    Option(names=("--version",), help="Print the version and exit.", heading="common options"),
    Option(
        names=("--debug",), help="Say more: requests, files, and where an error came from.", heading="common options"
    ),
    Option(names=("--batch",), help="Never ask, also on a terminal.", heading="common options"),
)
YES = Option(names=("-y", "--yes"), help="Answer every question with yes.", heading="common options")

_CREDENTIALS = "credentials (from the environment they stay out of ps and of the shell's history)"
ACCESS_KEY = Option(
    names=("-a", "--access-key", "-I", "--access-key-id"),
    value="KEY",
    help="AWS access key id.",
    variables=("AWS_ACCESS_KEY",),
    heading=_CREDENTIALS,
)
SECRET_KEY = Option(
    names=("-s", "--secret-key", "-S"),
    value="SECRET",
    help="AWS secret access key.",
    variables=("AWS_SECRET_KEY",),
    heading=_CREDENTIALS,
)
TOKEN = Option(
    names=("-t", "--delegation-token", "--security-token"),
    value="TOKEN",
    help="Token of temporary credentials.",
    variables=("AWS_DELEGATION_TOKEN",),
    heading=_CREDENTIALS,
)
CREDENTIALS = (ACCESS_KEY, SECRET_KEY, TOKEN)

REGION = Option(
    names=("--region",),
    value="NAME",
    help="`local`, or an AWS region such as us-east-1.",
    heading="where",
)
PROFILE = Option(
    names=("--profile",),
    value="NAME",
    help="A profile of AWS's configuration, in place of a key.",
    heading=_CREDENTIALS,
)
PLACE = (
    REGION,
    PROFILE,
    Option(names=("--url",), value="URL", help="Another S3 service, or the local region's address.", heading="where"),
)
BUCKET = Option(
    names=("-b", "--bucket"),
    value="BUCKET[/PREFIX]",
    help="The bucket, and a key prefix in it.",
    required=True,
)
ACL = Option(
    names=("--acl",),
    value="ACL",
    help="Who may read: EC2 alone (aws-exec-read), or everybody (public-read). [aws-exec-read]",
    choices=("public-read", "aws-exec-read", "ec2-bundle-read"),
    default="aws-exec-read",
)
OLD_S3 = (
    Option(
        names=("--sigv",),
        value="VERSION",
        help="Signature version.",
        choices=("2", "4"),
        obsolete="requests are always signed with version 4",
        hidden=True,
    ),
    Option(
        names=("--retry",),
        help="Try again when S3 fails.",
        obsolete="a failed request is always tried again, after a wait",
        hidden=True,
    ),
)
PROGRESS = Option(names=("--progress",), help="Show progress; only on a terminal otherwise.", no=True)
S3 = (BUCKET, *OLD_S3, PROGRESS, *CREDENTIALS, *PLACE)

SIGNER = (
    Option(
        names=("-c", "--cert"),
        value="PATH",
        help="Your certificate (PEM); without one, a pair made for you once.",
        variables=("EC2_CERT",),
    ),
    Option(
        names=("-k", "--privatekey"),
        value="PATH",
        help="Its private key (PEM): keep it, it opens the bundle.",
        variables=("EC2_PRIVATE_KEY",),
    ),
    Option(
        names=("-u", "--user"),
        value="ACCOUNT",
        help="Your AWS account number, 12 digits.",
        variables=("EC2_USER",),
        read=account,
    ),
    Option(
        names=("--ec2cert",),
        value="PATH",
        help="EC2's certificate; by default that of the region.",
    ),
)
DESCRIPTION = (
    Option(
        names=("-r", "--arch"),
        value="ARCH",
        help="i386 or x86_64; by default this machine's.",
        choices=("i386", "x86_64"),
    ),
    Option(
        names=("-B", "--block-device-mapping"),
        value="VIRTUAL=DEVICE,...",
        help="Disks as an instance sees them: ami, root, swap, ephemeralN.",
        read=mappings,
        default=(),
    ),
    Option(names=("--productcodes",), value="CODE,...", help="Product codes.", read=listed, default=()),
    Option(names=("--kernel",), value="AKI", help="Kernel image (ec2-register can set it, too).", default=""),
    Option(names=("--ramdisk",), value="ARI", help="RAM disk image (ec2-register can set it, too).", default=""),
)


# The API tools (ec2-register and its kin) have other letters for the same things.

_REQUESTS = "how requests are made"
API_CREDENTIALS = (
    Option(
        names=("-O", "--aws-access-key"),
        value="KEY",
        help="AWS access key id.",
        variables=("AWS_ACCESS_KEY",),
        heading=_CREDENTIALS,
        called="access_key",
    ),
    Option(
        names=("-W", "--aws-secret-key"),
        value="SECRET",
        help="AWS secret access key.",
        variables=("AWS_SECRET_KEY",),
        heading=_CREDENTIALS,
        called="secret_key",
    ),
    Option(
        names=("-T", "--security-token"),
        value="TOKEN",
        help="Token of temporary credentials.",
        variables=("AWS_DELEGATION_TOKEN",),
        heading=_CREDENTIALS,
        called="delegation_token",
    ),
    *(
        Option(
            names=names,
            value="PATH",
            help="For requests that were signed with a certificate.",
            heading=_CREDENTIALS,
            obsolete="requests are signed with an access key",
            hidden=True,
        )
        for names in (("-K", "--private-key"), ("-C", "--cert"))
    ),
)
API = (
    *API_CREDENTIALS,
    REGION,
    PROFILE,
    Option(names=("-U", "--url"), value="URL", help="Another EC2 service; --region counts before it.", heading="where"),
    Option(names=("-D", "--auth-dry-run", "--dry-run"), help="Only ask for the right to do it.", called="dry_run"),
    *(
        Option(names=names, value=value, help=help, heading=_REQUESTS, obsolete=why, hidden=True)
        for names, value, help, why in (
            (
                ("-H", "--headers"),
                "",
                "Column headers.",
                "there is a line for each thing, and its first word says what",
            ),
            (("--show-empty-fields",), "", "Name fields that are empty.", "there are none"),
            (("--hide-tags",), "", "Leave tags out.", "none are shown"),
            (("--connection-timeout",), "SECONDS", "Patience with connections.", "it is 10 s, and then tried again"),
            (("--request-timeout",), "SECONDS", "Patience with answers.", "it is 60 s, and then tried again"),
        )
    ),
    replace(HELP, names=("-?", "-h", "--help")),
    *(each for each in COMMON if each.name in ("manual", "version", "batch")),
    Option(names=("-v", "--verbose", "--debug"), help="Say more.", heading="common options", called="debug"),
)


def headings(options: Sequence[Option]) -> tuple[str, ...]:
    """The headings of a table, in its order."""
    return tuple(dict.fromkeys(each.heading for each in options))
