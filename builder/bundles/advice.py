"""Of every rule of the lint: how bad it is, what to do, and how it is known. Data alone.

`source` is honest about its kind: what EC2 was seen to answer, what its documents said, what tools do, or what follows
from these ("inferred").
"""

from dataclasses import dataclass

__all__ = ["ADVICE", "Advice"]

_AGAIN = "bundle the image again: what is signed cannot be mended in place"
_UPLOAD = "upload the bundle again to a prefix that holds nothing else"
_KEYS = "bundle again with the certificate of the region (ec2-bundle-image --ec2cert), or ec2-migrate-manifest it"
_ACL = "upload again with --acl aws-exec-read, or let EC2's canonical user read by a bucket policy: docs/bundles.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What there is to say about every finding of a rule."""

    severity: str
    remedy: str
    source: str
    """Ends with the section of docs/bundles.md that tells more."""


def _error(section: str, remedy: str, source: str) -> Advice:
    return Advice(severity="error", remedy=remedy, source=f"{source} (docs/bundles.md, {section})")


def _warning(section: str, remedy: str, source: str) -> Advice:
    return Advice(severity="warning", remedy=remedy, source=f"{source} (docs/bundles.md, {section})")


def _note(section: str, remedy: str, source: str) -> Advice:
    return Advice(severity="note", remedy=remedy, source=f"{source} (docs/bundles.md, {section})")


ADVICE: dict[str, Advice] = {
    # The manifest as text.
    "unreadable": _error("3.2", _AGAIN, "InvalidManifest: Invalid AMI manifest is EC2's answer to what it cannot read"),
    "encrypted": _error(
        "3.1",
        "take it apart with ec2-unbundle, and bundle the image again",
        "only the first ec2-ami-tools encrypted the manifest as a whole; EC2 reads plain XML",
    ),
    "declaration": _error("3.2", _AGAIN, "seen: EC2 refused bundles of euca2ools until they had one (TOOLS-294)"),
    "version": _error(
        "3.1",
        "bring it to version 2007-10-10 with ec2-migrate-manifest",
        "inferred: all tools since 2008 write 2007-10-10",
    ),
    "order": _error("3.3", _AGAIN, "seen: EC2 refused bundles of euca2ools 3.0 and 3.1 for it (TOOLS-294, TOOLS-559)"),
    "missing": _error("3.3", _AGAIN, "seen: InvalidManifest without the user's fields; HTTP 400 without a signature"),
    "empty": _error("3.3", _AGAIN, "seen: an empty signature is HTTP 500; the tools leave out what has no value"),
    "white-space": _error(
        "3.2",
        _AGAIN,
        "inferred: the signature is over the text as it stands, and no tool whose bundles start writes white space",
    ),
    "account": _error(
        "3.4",
        "bundle again with the account as 12 digits",
        "seen: EC2 refused bundles of euca2ools before 3.2 (TOOLS-294)",
    ),
    "architecture": _error("3.4", _AGAIN, "documented: instance store images are of i386 or x86_64"),
    "type": _error(
        "3.4",
        "bundle it as a machine image; kernels come from AWS, or boot your own through PV-GRUB",
        "documented: kernel and ramdisk images are registered by AWS only",
    ),
    "kernel-name": _error("3.3", _AGAIN, "inferred: the tools write it for bundles of type kernel, and only there"),
    "size": _error(
        "5", "make an image of 1 byte to 10 GiB (image.size in a recipe)", "documented: the root store has 10 GiB"
    ),
    "hex": _error("3.5", _AGAIN, "inferred: all tools write lower-case hex, two digits a byte"),
    "unsigned": _error(
        "3.6",
        "bundle again with a private key, or sign it with ec2-migrate-manifest",
        "seen: EC2 takes no manifest without a signature; the word UNSIGNED is for Eucalyptus",
    ),
    "part-order": _error(
        "2.6", _AGAIN, "inferred: all tools write parts in the order of their indices; Nova reads them so"
    ),
    "virtual-name": _error(
        "3.4", "map ami, root, swap and ephemeralN only", "documented: the names of a block device mapping"
    ),
    "device-name": _error(
        "3.4",
        "name devices as sda1 or sdb: leave out of an inherited mapping what the kernel calls otherwise",
        "seen: InvalidManifest: Invalid block device mapping: Invalid device name 'xvdal'",
    ),
    # What the manifest says, against the region and the caller.
    "account-other": _error(
        "3.4",
        "bundle with the account that registers it, or use that account's credentials",
        "documented: RegisterImage holds the manifest's user against the caller",
    ),
    "account-unknown": _note(
        "3.4", "say it with --account, or set EC2_USER", "documented: EC2 compares it with the caller's"
    ),
    "mapping-incomplete": _note(
        "3.4", "nothing, when the defaults are right", "the tools say so: EC2 fills in a default"
    ),
    "product-codes": _warning(
        "3.4", "bundle again with one code in each element", "ec2-ami-tools never split --productcodes at its commas"
    ),
    "kernel": _error(
        "3.4",
        "name a kernel image of the region: bundle with --kernel, migrate with ec2-migrate-manifest, "
        "or give KernelId at RegisterImage",
        "documented: kernel images belong to one region and one architecture",
    ),
    "kernel-none": _warning(
        "3.4",
        "nothing for hvm; for a paravirtual image give KernelId at RegisterImage, or bundle with --kernel",
        "a paravirtual image boots through PV-GRUB, which has to be named",
    ),
    "kernel-unknown": _note(
        "3.4", "see: aws ec2 describe-images --image-ids", "PV-GRUB's published ids are known here, others are not"
    ),
    "certificate": _error(
        "4", _KEYS, "inferred from what tools report: it registers, and no instance starts: EC2 cannot unwrap the key"
    ),
    "certificate-none": _error(
        "4", "use a region that has one", "EC2 publishes three certificates: commercial, us-gov-west-1 and cn-north-1"
    ),
    "certificate-unknown": _note(
        "4", "keep the record of its build; when in doubt bundle again", "only EC2 has the private key that would tell"
    ),
    "signature": _warning(
        "3.6",
        "find out who made it, or what changed it since: do not register what you do not know",
        "EC2 does not know your certificate, and cannot check it; you can",
    ),
    "user-key": _warning(
        "3.5",
        "find the private key it was made with: without it nobody can unbundle or migrate it",
        "the tools unwrap the session key with the user's private key",
    ),
    # Parts.
    "bundled-size": _error("2.5", _AGAIN, "AES in CBC mode with PKCS #7 padding fills 16-byte blocks, one at least"),
    "part-names": _note(
        "2.6", "go by the index, never by the name", "EC2 goes by the manifest; ec2-upload-bundle sorted by name"
    ),
    "part-missing": _error("6", "upload it again, parts first and the manifest last", "EC2 reads the parts at launch"),
    "part-sizes": _error("2.6", _UPLOAD, "bundled_size is the sum of all parts in every tool"),
    "part-cut": _warning("2.6", _AGAIN, "all tools cut at 10 MiB; whether EC2 insists is not known"),
    "part-empty": _note(
        "2.6", "nothing: euca2ools does so when the length is a multiple of 10 MiB", "seen: EC2 takes it"
    ),
    "part-digest": _error("2.6", _UPLOAD, "the manifest holds the SHA-1 of every part"),
    "stale-parts": _warning(
        "6",
        "remove them, or upload to a fresh prefix: part names repeat from build to build",
        "inferred: half of one bundle and half of another under the same names start nothing",
    ),
    "contents": _error(
        "8", _AGAIN, "what ami-factory reads back is held against every digest and size of the manifest"
    ),
    "unopened": _note("8", "give the user's key with --private-key", "the image's digest and size are inside"),
    "unread": _note("8", "read them: --deep", "EC2 reads them at launch only"),
    # S3.
    "location": _warning("7", "use a key without empty parts", "seen: EC2 asked for another key and got HTTP 403"),
    "bucket-region": _error(
        "6", "upload it to a bucket of the region", "seen: InvalidManifest: HTTP 301 (Moved Permanently)"
    ),
    "access": _error(
        "6", _ACL, "seen: InvalidManifest: HTTP 403 (Forbidden) response for URL http://s3.amazonaws.com:80/..."
    ),
    "access-unknown": _note(
        "6",
        "ask with s3:GetObjectAcl, s3:GetBucketPolicy, s3:GetBucketOwnershipControls and s3:GetBucketPublicAccessBlock",
        "EC2 reads a bundle as one canonical user of S3, and nobody else can try that",
    ),
    "encryption": _error(
        "6",
        "store it with S3's own keys (AES256): set the bucket's default encryption, and upload again",
        "inferred: the user that EC2 reads bundles as has no right to a key of your KMS",
    ),
    "archived": _error("6", "restore it to STANDARD", "documented: S3 gives out nothing from there without a restore"),
}
