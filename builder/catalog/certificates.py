"""EC2's public certificates for bundling, by region.

The three that EC2 uses, found in ec2-ami-tools and euca2ools byte for byte. All of them are past their dates and still
in use; they are known by the SHA-256 fingerprint of their DER form. A bundle made with the wrong one registers and then
never starts, since EC2 cannot unwrap its key.
"""

from dataclasses import dataclass
from pathlib import Path

from builder.errors import RegionError

_HERE = Path(__file__).with_name("certificates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2Certificate:
    """A certificate whose private half EC2 holds."""

    path: Path
    sha256: str


COMMERCIAL = Ec2Certificate(
    path=_HERE / "commercial.pem", sha256="f5707aedb54251798f6bbcc1a10a9cfd1f21fc69909ea1276319aa2f098e4790"
)
US_GOV_WEST_1 = Ec2Certificate(
    path=_HERE / "us-gov-west-1.pem", sha256="4956f966c8a0e75d22b9b23442959464468f20a676010ce823b45992e122f7a9"
)
CN_NORTH_1 = Ec2Certificate(
    path=_HERE / "cn-north-1.pem", sha256="8480e2b60a0e513c322e04601f81a5ff67a9cad55389925c6cb6ed6d0189aa09"
)
CERTIFICATES = (COMMERCIAL, US_GOV_WEST_1, CN_NORTH_1)

_OWN = {"us-gov-west-1": US_GOV_WEST_1, "cn-north-1": CN_NORTH_1}
# Partitions whose other regions have no published certificate.
_OTHER_PARTITIONS = ("us-gov-", "cn-", "us-iso", "eu-isoe-", "eusc-")


def certificate_of(region: str) -> Ec2Certificate:
    """The certificate to bundle with for an AWS region; RegionError for a region that has none."""
    if region in _OWN:
        return _OWN[region]
    if region.startswith(_OTHER_PARTITIONS):
        raise RegionError(
            f"{region} has no published certificate for bundles, so no instance-store AMI can be made for it",
            hint=f"of these partitions only {' and '.join(sorted(_OWN))} have one",
        )
    return COMMERCIAL


def by_fingerprint(sha256: str) -> Ec2Certificate | None:
    """The certificate of that fingerprint, if it is one of EC2's."""
    return next((each for each in CERTIFICATES if each.sha256 == sha256), None)
