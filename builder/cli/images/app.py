"""The verbs images list, copy, share, promote, validate, deprecate and prune: their command lines. What they do is
imported when they run."""

from typing import Annotated

import typer

from builder.catalog.regions import LOCAL
from builder.cli import options as o
from builder.cli.usage import NoVerbIsHelp

app = typer.Typer(cls=NoVerbIsHelp, help="AMIs across regions and accounts.")

What = Annotated[str, typer.Argument(metavar="RECIPE|AMI", help="A recipe's file, or ami-...", show_default=False)]
To = Annotated[list[str], typer.Option("--to", metavar="REGION", help="A region. Can be repeated.", show_default=False)]
BestEffort = Annotated[
    list[str],
    typer.Option(
        "--best-effort", metavar="REGION", help="One that may fail, and is only told of. Can be repeated.",
        show_default=False,
    ),
]  # fmt: skip
In = Annotated[
    list[str],
    typer.Option(
        "--in",
        metavar="REGION",
        help="Only there; left out: the recipe's regions, or all that the account may use. Can be repeated.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]
Accounts = Annotated[
    list[str],
    typer.Option("--account", metavar="NUMBER", help="Twelve digits. Can be repeated.", show_default=False),
]
Organizations = Annotated[
    list[str], typer.Option("--organization", metavar="ARN", help="Can be repeated.", show_default=False)
]
Units = Annotated[
    list[str],
    typer.Option("--unit", metavar="ARN", help="An organizational unit. Can be repeated.", show_default=False),
]
KmsKeys = Annotated[
    list[str],
    typer.Option(
        "--kms-key",
        metavar="REGION=ARN",
        help='Encrypt the copy there; "default" for the account\'s own key. Can be repeated.',
        show_default=False,
    ),
]


@app.command("list")
def list_(
    within: In = [],  # noqa: B006
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    json: o.Json = False,
) -> None:
    """List the AMIs that the factory made, and their copies, in every region.

    \b
    Examples:
      ami-factory images list
      ami-factory images list --region us-east-1 --in us-east-1 --in eu-west-1 --json
    """
    from builder.cli.images.copies import show_list

    show_list(within, region, profile, endpoint_url, json=json)


@app.command()
def copy(
    what: What,
    to: To = [],  # noqa: B006
    best_effort: BestEffort = [],  # noqa: B006
    kms_key: KmsKeys = [],  # noqa: B006
    timeout: Annotated[
        int,
        typer.Option(
            "--timeout", metavar="MINUTES", help="Of each copy; 0: an hour, and a minute for each GiB.", min=0
        ),
    ] = 0,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Copy an AMI, or a recipe's, to other regions, all at once.

    A copy that is there is found and not made again, one on its way is waited for, one that failed is removed and made
    once more. Kill it, and run it again. Without --to the recipe's [publish] says where. Stdout: region and id of each.

    Exit code 4 when a region that must have it does not.

    \b
    Examples:
      ami-factory images copy recipes/web-server.toml --region us-east-1
      ami-factory images copy ami-0123456789abcdef0 --region us-east-1 --to eu-west-1 --best-effort ap-south-2
    """
    from builder.cli.images.copies import copy_all

    copy_all(
        what, to, best_effort, kms_key, timeout, region, profile, endpoint_url, store, json=json
    )  # fmt: skip


@app.command()
def share(
    what: What,
    account: Accounts = [],  # noqa: B006
    organization: Organizations = [],  # noqa: B006
    unit: Units = [],  # noqa: B006
    public: Annotated[bool, typer.Option("--public", help="With everybody; never when encrypted.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Take away what is not listed.")] = False,
    within: In = [],  # noqa: B006
    dry_run: DryRun = False,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Share an AMI, its copies and their snapshots with accounts, organizations, or everybody.

    Only what is missing is added; with --exact what is not listed is taken away. A recipe without further options is
    shared exactly as its [publish] says. All changes are shown. What EC2 would refuse is refused before any is made.

    \b
    Examples:
      ami-factory images share recipes/web-server.toml --dry-run
      ami-factory images share ami-0123456789abcdef0 --account 123456789012 --region us-east-1
    """
    from builder.cli.images.changes import share_all

    share_all(
        what, account, organization, unit, public, exact, within, dry_run, region, profile, endpoint_url, store,
        json=json,
    )  # fmt: skip


@app.command()
def promote(
    what: What,
    ami: Annotated[
        str, typer.Option("--ami", metavar="AMI", help="Another AMI of the recipe: to roll back.", show_default=False)
    ] = "",
    parameter: Annotated[
        list[str],
        typer.Option(
            "--parameter",
            metavar="NAME",
            help="Of an AMI: the parameter to write. Can be repeated.",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    within: In = [],  # noqa: B006
    without_gates: Annotated[
        bool,
        typer.Option("--without-gates", help="Also when this store does not know that it was verified and booted."),
    ] = False,
    dry_run: DryRun = False,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Have the SSM parameters name an AMI: those of its version in every region, then those of the latest.

    All of them or none: on a failure the earlier values are put back. Refused while a required region has no copy, or a
    gate is missing. With --ami the latest ones name an older AMI again.

    \b
    Examples:
      ami-factory images promote recipes/web-server.toml --region us-east-1
      ami-factory images promote recipes/web-server.toml --ami ami-0123456789abcdef0 --region us-east-1
    """  # fmt: skip
    from builder.cli.images.changes import promote_all

    promote_all(
        what, ami, parameter, within, without_gates, dry_run, region, profile, endpoint_url, store, json=json
    )  # fmt: skip


@app.command()
def validate(
    what: What,
    within: In = [],  # noqa: B006
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Compare what every region has with what should be there.

    Of a recipe: state, name, boot mode, ENA, IMDS, TPM, root volume, tags, sharing, dates, snapshots and their
    encryption, SSM parameters. Of an AMI: whether its copies are as it is.

    Exit code 1 when something differs.

    \b
    Examples:
      ami-factory images validate recipes/web-server.toml --region us-east-1
      ami-factory images validate ami-0123456789abcdef0 --region us-east-1 --in eu-west-1 --json
    """
    from builder.cli.images.findings import validate_all

    validate_all(what, within, region, profile, endpoint_url, store, json=json)


@app.command()
def deprecate(
    what: What,
    on: Annotated[
        str, typer.Option("--on", metavar="DATE", help="Such as 2027-01-31, in UTC.", show_default=False)
    ] = "",
    after: Annotated[
        str, typer.Option("--after", metavar="TIME", help="From now: 30d, 12w, 6m, 1y.", show_default=False)
    ] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="Take the date away.")] = False,
    replaced_by: Annotated[
        str,
        typer.Option("--replaced-by", metavar="AMI", help="The one to use instead, as a tag.", show_default=False),
    ] = "",
    protect: Annotated[
        bool | None,
        typer.Option("--protect/--unprotect", help="Deregistration protection.", show_default=False),
    ] = None,
    within: In = [],  # noqa: B006
    dry_run: DryRun = False,
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Date an AMI and its copies, name what replaces them, and protect them from being deregistered.

    \b
    Examples:
      ami-factory images deprecate ami-0123456789abcdef0 --after 90d --replaced-by ami-0fedcba9876543210
      ami-factory images deprecate recipes/web-server.toml --protect --region us-east-1
    """
    from builder.cli.images.changes import deprecate_all

    deprecate_all(
        what, on, after, cancel, replaced_by, protect, within, dry_run, region, profile, endpoint_url, store, json=json
    )  # fmt: skip


@app.command()
def prune(
    orphans: Annotated[
        bool, typer.Option("--orphans", help="What the factory made and nobody refers to.", show_default=False)
    ] = False,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Only what has been there that long.")
    ] = "1d",
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, it is only listed.")] = False,
    bucket: Annotated[
        str,
        typer.Option(
            "--bucket", metavar="NAME", help="Look there instead of ami-factory-ACCOUNT-REGION.", show_default=False
        ),
    ] = "",
    within: In = [],  # noqa: B006
    region: o.Region = LOCAL,
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    json: o.Json = False,
) -> None:
    """List what builds that died have left in the regions and in the bucket; with --yes remove it.

    Snapshots of ours in no AMI, copies that failed, uploads that were never finished, parts of bundles without a
    manifest, images sent for an import that is over. Never what an unfinished build of this user may go on with.

    \b
    Examples:
      ami-factory images prune --orphans --region us-east-1
      ami-factory images prune --orphans --older-than 1w --yes
    """
    from builder.cli.images.orphans import prune_all

    prune_all(orphans, older_than, yes, bucket, within, region, profile, endpoint_url, json=json)
