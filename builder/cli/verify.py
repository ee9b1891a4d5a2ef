"""The verb verify: what EC2 would say to a bundle, or whether an image boots, before anything is registered."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.catalog.regions import LOCAL
from builder.cli import options as o
from builder.cli import output, subject
from builder.cli.meter import Meter
from builder.errors import RegionError
from builder.factory import Factory

if TYPE_CHECKING:
    from builder.bundles.lint import Finding
    from builder.bundles.observe import Means
    from builder.bundles.observed import Observed, Target

_SEVERITIES = ("error", "warning", "note")

What = Annotated[
    str,
    typer.Argument(
        metavar="MANIFEST|BUCKET/KEY|IMAGE",
        help="A bundle's manifest (a path, s3://BUCKET/KEY or BUCKET/KEY), or an image.",
        show_default=False,
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option("--certificate", metavar="FILE", help="The certificate that should have signed.", show_default=False),
]
PrivateKey = Annotated[
    Path | None,
    typer.Option("--private-key", metavar="FILE", help="The private key that should open it.", show_default=False),
]
Account = Annotated[
    str,
    typer.Option("--account", metavar="NUMBER", help="The account that will register it.", show_default=False),
]
Deep = Annotated[bool, typer.Option("--deep", help="Read every byte of every part.")]
Kernel = Annotated[str, typer.Option("--kernel", metavar="NAME", help="An image's: a file under kernels/.")]


def verify(
    what: What,
    region: o.Region = LOCAL,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    account: Account = "",
    deep: Deep = False,
    kernel: Kernel = "quickstart",
    profile: o.Profile = None,
    endpoint_url: o.Endpoint = None,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Say why EC2 would refuse a bundle, or an image not boot.

    Each finding has what to do about it, and how it is known. A bundle on this machine is judged without asking the
    region; one in S3 by who may read it, too. An image is looked into for what keeps it from booting, and for what
    must not be let loose.

    Exit code 1 when an error is among the findings.

    \b
    Examples:
      ami-factory verify bundles/web.img.manifest.xml --region us-east-1
      ami-factory verify s3://my-bucket/web/web.img.manifest.xml --deep
    """
    factory = o.factory(region=region, profile=profile, endpoint_url=endpoint_url, store=store)
    found = subject.parse(what)
    if isinstance(found, subject.Image):
        from builder.cli.verify_image import findings_of

        _tell(findings_of(found.path, kernel), subject=str(found.path), of="image", region=region, json=json)
        return
    from builder.bundles.lint import lint
    from builder.cli import bundle_target

    target = bundle_target.target(factory, account, ask=isinstance(found, subject.Stored))
    with Meter("reading") as meter:
        means = bundle_target.means(factory, certificate, private_key, deep=deep, progress=meter)
        observed = _observe(found, factory, target, means)
    observed = replace(observed, made_for=bundle_target.recorded(factory.store, observed.manifest))
    _tell(lint(observed, target), subject=observed.where, of="bundle", region=region, json=json)


def _observe(
    found: subject.Manifest | subject.Stored, factory: Factory, target: "Target", means: "Means"
) -> "Observed":
    from builder.bundles.observe import observe_bucket, observe_directory

    if isinstance(found, subject.Manifest):
        return observe_directory(found.path, means)
    from builder.cloud import s3, session

    reached = factory.region(start=False)
    if reached is None:
        raise RegionError(
            f"{found.bucket}/{found.key} would be in the local region, which is not running",
            hint="start it: ami-factory region start; or name another region with --region",
        )
    bucket = s3.Bucket(client=session.client("s3", reached.surroundings, reached.name), name=found.bucket)
    images = session.client("ec2", reached.surroundings, reached.name)
    return observe_bucket(bucket, found.key, images, target, means)


def _tell(findings: "Sequence[Finding]", *, subject: str, of: str, region: str, json: bool) -> None:
    counts = {each: sum(finding.severity == each for finding in findings) for each in _SEVERITIES}
    if json:
        entries = [asdict(each) for each in findings]
        output.document("verify", subject=subject, of=of, region=region, counts=counts, findings=entries)
    else:
        for each in findings:
            severity = output.styled(each.severity.ljust(8), each.severity, sys.stdout)
            output.result(f"{severity} {each.where}: {each.what} ({each.id})")
            output.result(f"{'':<8} {each.remedy}")
            if each.source:
                output.result(f"{'':<8} {output.styled(each.source, 'dim', sys.stdout)}")
        output.result(_summary(subject, of, region, counts))
    if counts["error"]:
        raise typer.Exit(1)


def _summary(subject: str, of: str, region: str, counts: Mapping[str, int]) -> str:
    told = ", ".join(output.counted(count, name) for name, count in counts.items() if count) or "nothing to say"
    if of == "image":
        verdict = "it must not be let loose" if counts["error"] else "it will do"
    else:
        who = "the local region" if region == LOCAL else f"EC2 in {region}"
        verdict = (
            f"{who} would {'refuse it, or never start it' if counts['error'] else 'take it, as far as can be seen'}"
        )
    return f"{subject}: {told}; {verdict}"
