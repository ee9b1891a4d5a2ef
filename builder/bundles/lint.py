"""Why EC2 would refuse a bundle, or could not start it: rules over what was observed, pure, each with an id.

An error is what EC2 refuses at registration or cannot start an instance from; a warning is what goes wrong elsewhere or
later; a note is what is worth knowing, above all what cannot be known. docs/bundles.md says the same at length.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from builder.bundles import lint_storage
from builder.bundles.advice import ADVICE
from builder.bundles.observed import Observed, Target
from builder.catalog import certificates
from builder.errors import BuilderError
from builder.formats.bundle_manifest import BundleManifest
from builder.formats.manifest_grammar import IMAGE_IDS
from builder.formats.manifest_reader import objections, read_manifest

__all__ = ["Finding", "lint"]

_SEVERITIES = ("error", "warning", "note")

Wrong = tuple[str, str, str]
"""The rule's id, where (an element's path, or a file), and what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about a bundle."""

    id: str
    severity: str
    """error, warning or note."""
    where: str
    """The path of an element, or the name of a file or key."""
    what: str
    remedy: str
    source: str
    """How it is known that EC2, or somebody else, minds."""


def lint(observed: Observed, target: Target) -> tuple[Finding, ...]:
    """Everything that there is to say about a bundle: errors first, in the order of the rules."""
    found = [_finding(*each) for each in _all(observed, target)]
    return tuple(sorted(found, key=lambda each: _SEVERITIES.index(each.severity)))


def _finding(name: str, where: str, what: str) -> Finding:
    advice = ADVICE[name]
    return Finding(
        id=name, severity=advice.severity, where=where, what=what, remedy=advice.remedy, source=advice.source
    )


def _all(observed: Observed, target: Target) -> Iterator[Wrong]:
    if observed.encrypted:
        yield "encrypted", observed.where, "the manifest is itself encrypted for the user who made it"
    try:
        manifest = read_manifest(observed.manifest)
    except BuilderError as error:
        yield "unreadable", observed.where, error.brief.removeprefix("bundle manifest: ")
        return
    yield from _objections(observed.manifest)
    for rule in _RULES:
        yield from rule(manifest, observed, target)
    yield from lint_storage.findings(manifest, observed, target)


def _objections(data: bytes) -> Iterator[Wrong]:
    """What the reader of manifests knows of EC2's refusals; the same thing at many places is told once."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in objections(data):
        found.setdefault((each.code, each.why), []).append(each.where)
    for (code, why), places in found.items():
        yield code, places[0], why if len(places) == 1 else f"{why}; so are {len(places) - 1} more"


def _account(manifest: BundleManifest, _observed: Observed, target: Target) -> Iterator[Wrong]:
    where, account = "manifest/image/user", manifest.account
    if not target.account:
        yield "account-unknown", where, f"it is of the account {account}; whether that registers it is not known"
    elif account != target.account:
        yield "account-other", where, f"it is of the account {account}, and {target.account} would register it"


def _mapping(manifest: BundleManifest, _observed: Observed, _target: Target) -> Iterator[Wrong]:
    there = {virtual for virtual, _ in manifest.block_device_mapping}
    missing = [name for name in ("ami", "root") if name not in there]
    if there and missing:
        where = "manifest/machine_configuration/block_device_mapping"
        yield "mapping-incomplete", where, f"it maps {', '.join(sorted(there))} and not {' and '.join(missing)}"
    for number, code in enumerate(manifest.product_codes):
        if "," in code:
            where = f"manifest/machine_configuration/product_codes/product_code[{number}]"
            yield "product-codes", where, f'"{code}" is several codes in one element'


def _kernel(manifest: BundleManifest, observed: Observed, target: Target) -> Iterator[Wrong]:
    """Which kernel images a region has is told by the region, or by our table, which knows some."""
    where, kernel = "manifest/machine_configuration/kernel_id", manifest.kernel_id
    if not kernel:
        if manifest.type == "machine":
            yield "kernel-none", where, "no kernel is named"
        return
    if IMAGE_IDS["kernel"].fullmatch(kernel) is None:
        yield "kernel", where, f'"{kernel}" is not the id of a kernel image'
        return
    known = [each for each in target.kernels if each.id == kernel]
    if observed.kernel_asked:
        known = [observed.kernel] if observed.kernel else []
    here = [each for each in known if each.region == target.region]
    if here and all(each.architecture != manifest.architecture for each in here):
        yield "kernel", where, f"{kernel} is for {here[0].architecture}, and the image is {manifest.architecture}"
    elif observed.kernel_asked and not here:
        yield "kernel", where, f"{_place(target)} has no kernel image {kernel}"
    elif known and not here:
        others = ", ".join(sorted({each.region for each in known} - {"local"}))
        yield "kernel", where, f"{kernel} is a kernel image of {others}, not of {_place(target)}"
    elif not known:
        yield "kernel-unknown", where, f"whether {_place(target)} has {kernel} is not known here"


def _certificate(manifest: BundleManifest, observed: Observed, target: Target) -> Iterator[Wrong]:
    """Whom the session key was wrapped for. Only the owner of that key can tell for sure."""
    where = "manifest/image/ec2_encrypted_key"
    if not target.certificate:
        yield "certificate-none", where, f"{_place(target)} has no published certificate for bundles"
        return
    if observed.made_for:
        if observed.made_for != target.certificate:
            what = f"the record of its build says that it was made for {_certificate_words(observed.made_for)}"
            yield "certificate", where, f"{what}; {_place(target)} has {_certificate_words(target.certificate)}"
        return
    if observed.opens_for_ec2 is False:
        yield "certificate", where, f"the key of {_place(target)} does not open it"
    elif observed.opens_for_ec2 is None:
        yield from _by_length(manifest, target)


def _by_length(manifest: BundleManifest, target: Target) -> Iterator[Wrong]:
    """What can be told without the key: a ciphertext of RSA is as long as the modulus, and a smaller number."""
    bits = _whole(target.modulus.bit_length())
    fields = {"ec2_encrypted_key": manifest.ec2_encrypted_key, "ec2_encrypted_iv": manifest.ec2_encrypted_iv}
    for name, text in fields.items():
        what = ""
        if (found := _whole(4 * len(text))) != bits:
            what = f"it was made for a key of {found} bits, and EC2's in {_place(target)} has {bits}"
        elif int(text or "0", 16) >= target.modulus:
            what = f"it is a larger number than the modulus of EC2's key in {_place(target)}, so made for another key"
        if what:
            yield "certificate", f"manifest/image/{name}", what
            return
    yield (
        "certificate-unknown",
        "manifest/image/ec2_encrypted_key",
        f"its length fits {_certificate_words(target.certificate)}; whether it was made for that cannot be seen",
    )


def _whole(bits: int) -> int:
    """The size of the key, also where zeros in front of a number were not written."""
    return -(-bits // 128) * 128


def _place(target: Target) -> str:
    return "the local region" if target.region == "local" else target.region


def _certificate_words(fingerprint: str) -> str:
    """A certificate for people."""
    known = certificates.by_fingerprint(fingerprint)
    name = f"EC2's certificate {known.path.stem}" if known else "the certificate"
    return f"{name} ({fingerprint[:12]})"


def _user(_manifest: BundleManifest, observed: Observed, _target: Target) -> Iterator[Wrong]:
    if observed.signed is False:
        yield "signature", "manifest/signature", "it is not the signature of your certificate over this manifest"
    if observed.opens is False:
        yield "user-key", "manifest/image/user_encrypted_key", "your private key does not open it"


_RULES = (_account, _mapping, _kernel, _certificate, _user)
