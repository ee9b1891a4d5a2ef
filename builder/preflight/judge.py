"""From what was asked and answered to findings. Pure."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from builder.catalog.regions import LOCAL_REGIONS
from builder.cloud import ec2, encryption, instance_types, kernel_images, rights, sts
from builder.preflight import question as q
from builder.preflight.ask import Asked, Failure, Room
from builder.preflight.finding import Finding, Severity

POLICY = "docs/aws.md has the least policy"
_NEARLY = 0.95
_MAKING = frozenset({"s3:CreateBucket", "s3:PutBucketOwnershipControls"})
_IDS: Mapping[type[q.Question], str] = {
    q.WhoAsks: "credentials",
    q.RegionOpen: "region",
    q.DryRun: "rights",
    q.Allowed: "rights",
    q.BucketFit: "bucket",
    q.BlocksReached: "snapshots",
    q.Limit: "quota",
    q.NameFree: "name",
    q.KernelThere: "kernel",
    q.TypeRuns: "instance-type",
    q.KeyUsable: "key",
    q.EncryptedAnyway: "key",
    q.PairFits: "certificate",
}
_PV_GRUB = re.compile(r"pv-grub-(hd00?)[_.]")
# What the build itself will ask for: if that cannot be answered now, it cannot be done then.
_VITAL = (q.WhoAsks, q.BucketFit, q.NameFree, q.KernelThere, q.BlocksReached, q.PairFits)


def judge(asked: Sequence[Asked]) -> tuple[Finding, ...]:
    """The findings, in the order of the questions, each once."""
    denied = _direct_denied(asked)
    there = frozenset(each.question.bucket for each in asked if isinstance(each.question, q.BucketFit) and each.answer)
    found: dict[Finding, None] = {}
    for each in asked:
        if each.question.fallback and not denied:
            continue
        question = _without_making(each.question, there)
        for finding in _judged(replace(each, question=question)):
            found[replace(finding, id=_IDS[type(question)], key=question.key)] = None
    return tuple(found)


def _direct_denied(asked: Sequence[Asked]) -> bool:
    """Whether the EBS direct API, or a part of it, is denied, so that snapshots go by way of S3."""
    return any(
        (isinstance(each.question, q.BlocksReached) and each.answer is False)
        or (isinstance(each.question, q.Allowed) and any(name.startswith("ebs:") for name in _refused(each)))
        for each in asked
    )


def _without_making(question: q.Question, there: frozenset[str]) -> q.Question:
    """A bucket that is there need not be made."""
    if isinstance(question, q.Allowed) and question.resource.rpartition(":")[2] in there:
        return replace(question, actions=tuple(each for each in question.actions if each not in _MAKING))
    return question


def _refused(asked: Asked) -> tuple[str, ...]:
    decisions = asked.answer or {}
    assert isinstance(asked.question, q.Allowed)
    return tuple(each for each in asked.question.actions if decisions.get(each, "allowed") != "allowed")


def _judged(asked: Asked) -> Iterator[Finding]:
    if asked.failure is not None:
        yield _failed(asked.question, asked.failure)
    else:
        yield _JUDGES[type(asked.question)](asked)


def _failed(question: q.Question, failure: Failure) -> Finding:
    """Vital questions must be answered; of the others, and of what may pass, it is said that nobody knows."""
    what = ": ".join(filter(None, (failure.brief, _first(failure.detail))))
    vital = isinstance(question, _VITAL) and not failure.passing
    if isinstance(question, q.WhoAsks) and not question.strict:
        vital = False
    if vital:
        return replace(_error(what, failure.hint), local=failure.local)
    remedy = "" if failure.passing else failure.hint
    return _finding(Severity.UNCHECKED, f"{_about(question)} not checked: {what}", remedy)


def _about(question: q.Question) -> str:
    """What was not checked, for people."""
    match question:
        case q.DryRun(operation=operation):
            return f"the right to ec2:{operation} is"
        case q.Allowed(needed=needed):
            return f"the rights for {needed} are"
        case q.Limit(what=what):
            return f"the quota of {what} is"
        case q.TypeRuns(instance_type=name):
            return f"whether {name} is offered is"
        case q.KeyUsable(arn=arn):
            return f"the KMS key {arn or 'of the account'} is"
        case q.NameFree(name=name):
            return f'whether the name "{name}" is free is'
        case q.BucketFit(bucket=bucket):
            return f"the bucket {bucket} is"
        case q.EncryptedAnyway():
            return "whether the account encrypts by default is"
        case q.KernelThere(image_id=image_id):
            return f"the kernel image {image_id} is"
        case q.BlocksReached():
            return "the EBS direct API is"
    return "the region is" if isinstance(question, q.RegionOpen) else "the account is"


def _who(asked: Asked) -> Finding:
    question, caller = asked.question, asked.answer
    assert isinstance(question, q.WhoAsks)
    assert isinstance(caller, sts.Caller)
    if caller.account == question.account:
        return _ok(f"the credentials are {caller.arn or 'good'}, of the account {caller.account}")
    what = f"your credentials are of the account {caller.account}, and the AMIs are for {question.account}"
    if not question.strict:
        return _finding(Severity.UNCHECKED, f"{what}: an endpoint that is not AWS's may know nothing of accounts")
    return _error(what, "choose others with --profile, or correct bundle.account in the recipe, or EC2_USER")


def _open(asked: Asked) -> Finding:
    question, status = asked.question, asked.answer
    assert isinstance(question, q.RegionOpen)
    if status is None:
        return _error(f"AWS knows no region {question.region}", "choose another one with --region")
    if status == "not-opted-in":
        remedy = (
            f"aws account enable-region --region-name {question.region} (it takes some minutes), or another --region"
        )
        return _error(f"the account has not enabled the region {question.region}", remedy)
    return _ok(f"the account can use the region {question.region}")


def _dry_run(asked: Asked) -> Finding:
    question, verdict = asked.question, asked.answer
    assert isinstance(question, q.DryRun)
    assert isinstance(verdict, rights.Verdict)
    if verdict.allowed:
        return _ok(f"ec2:{question.operation} is allowed")
    if verdict.allowed is None:
        return _finding(
            Severity.UNCHECKED, f"the right to ec2:{question.operation} is not checked: {_first(verdict.words)}"
        )
    severity = Severity.WARNING if question.later else Severity.ERROR
    what = f"ec2:{question.operation} is denied, needed for {question.needed}: {_plain(verdict.words)}"
    return _finding(severity, what, f"allow it to these credentials; {POLICY}")


def _allowed(asked: Asked) -> Finding:
    question = asked.question
    assert isinstance(question, q.Allowed)
    if asked.answer is None:
        return _finding(
            Severity.UNCHECKED,
            f"the rights for {question.needed} are not checked: IAM tells the policies of users and roles only",
        )
    if refused := _refused(asked):
        return _finding(
            Severity.WARNING,
            f"IAM's simulator denies {', '.join(refused)} on {question.resource}, needed for {question.needed}",
            f"allow it to these credentials ({POLICY}), if no policy of the bucket or key itself does",
        )
    return _ok(f"IAM allows what {question.needed} needs")


def _bucket(asked: Asked) -> Finding:
    question = asked.question
    assert isinstance(question, q.BucketFit)
    if not asked.answer:
        return _ok(f"there is no bucket {question.bucket} yet: it will be made")
    return _ok(f"the bucket {question.bucket} is yours, and in the region")


def _blocks(asked: Asked) -> Finding:
    if asked.answer:
        return _ok("the EBS direct API answers")
    return _finding(
        Severity.WARNING,
        "the EBS direct API is denied: the whole image will be sent to S3 and imported from there, which takes longer",
        f"allow ebs:StartSnapshot, ebs:PutSnapshotBlock and ebs:CompleteSnapshot; {POLICY}",
    )


def _limit(asked: Asked) -> Finding:
    question, room = asked.question, asked.answer
    assert isinstance(question, q.Limit)
    assert isinstance(room, Room)
    if room.quota is None:
        return _finding(Severity.UNCHECKED, f"the quota of {question.what} is not checked: the region tells none")
    most = math.floor(room.quota)
    if room.used is None:
        return _ok(f"up to {most} {question.what}")
    count = room.used.count
    said = f"{'more than ' if room.used.more else ''}{count} of {most} {question.what}"
    remedy = "remove some, or ask for more: aws service-quotas request-service-quota-increase "
    remedy += f"--service-code {question.service} --quota-code {question.code} --desired-value N"
    if count + question.more > most:
        return _error(f"{said} are there: the quota leaves no room for {question.more} more", remedy)
    if count >= most or count + question.more > most * _NEARLY:
        return _finding(Severity.WARNING, f"{said} are there: the quota is nearly used up", remedy)
    return _ok(said)


def _name(asked: Asked) -> Finding:
    question, image = asked.question, asked.answer
    assert isinstance(question, q.NameFree)
    if image is None:
        return _ok(f'the name "{question.name}" is free')
    assert isinstance(image, ec2.Image)
    if image.key == question.step:
        return _ok(f"{image.id} has the name already: it is this very AMI ({image.state})")
    maker = f"built by ami-factory for the key {image.key[:12]}" if image.key else "not built by ami-factory"
    return _error(
        f'the name "{question.name}" is taken by {image.id}, made {image.created or "some time ago"}, {maker}',
        f"change register.name in the recipe, or deregister it: aws ec2 deregister-image --image-id {image.id}",
    )


def _kernel(asked: Asked) -> Finding:
    question, image = asked.question, asked.answer
    assert isinstance(question, q.KernelThere)
    if image is None:
        return _error(
            f"the region has no kernel image {question.image_id}",
            "correct the id in kernels/*.toml; the region's own: aws ec2 describe-images --owners amazon "
            "--filters Name=image-type,Values=kernel",
        )
    assert isinstance(image, kernel_images.KernelImage)
    if image.architecture and image.architecture != question.architecture:
        return _error(
            f"the kernel image {image.id} is for {image.architecture}, and the AMI for {question.architecture}",
            "correct its id in kernels/*.toml",
        )
    loader = _PV_GRUB.search(image.location)
    if loader is not None and (loader[1] == "hd00") != question.partitioned:
        which = ("without partitions", "with partitions")
        return _error(
            f"the kernel image {image.id} ({image.location}) boots images {which[loader[1] == 'hd00']}, and this one "
            f"is {which[question.partitioned]}",
            "correct its id in kernels/*.toml: [aki] is for images without, [aki_partitioned] for those with",
        )
    return _ok(f"the kernel image {image.id} is there ({image.location})")


def _type(asked: Asked) -> Finding:
    question, kind = asked.question, asked.answer
    assert isinstance(question, q.TypeRuns)
    if kind is None:
        return _finding(
            Severity.WARNING,
            f"the region does not offer {question.instance_type}: the AMI is made for it, and cannot be started here",
            "choose another type with --instance-type, or another region",
        )
    assert isinstance(kind, instance_types.Offered)
    if reasons := tuple(_reasons(question, kind)):
        return _error(f"no instance of {kind.name} starts from this AMI: {'; '.join(reasons)}", "choose another type")
    return _ok(f"{kind.name} is offered, and can start {question.virtualization} AMIs of {question.architecture}")


def _reasons(wanted: q.TypeRuns, kind: instance_types.Offered) -> Iterator[str]:
    """What EC2 would refuse an instance for. A fact that the region does not tell is held against nobody."""
    for word, known in (
        (wanted.architecture, kind.architectures),
        (wanted.virtualization, kind.virtualization),
        (wanted.root_device, kind.root_devices),
    ):
        if known and word not in known:
            yield f"it takes {', '.join(known)}, not {word}"
    if wanted.boot_mode in ("uefi", "legacy-bios") and kind.boot_modes and wanted.boot_mode not in kind.boot_modes:
        yield f"it boots by {', '.join(kind.boot_modes)}, and register.boot_mode is {wanted.boot_mode}"
    if kind.ena == "required" and not wanted.ena:
        yield "it needs ENA, and register.ena is false"
    if kind.tpm == "unsupported" and wanted.tpm:
        yield "it has no TPM, and register.tpm is true"


def _key(asked: Asked) -> Finding:
    question, key = asked.question, asked.answer
    assert isinstance(question, q.KeyUsable)
    place = question.arn.split(":")[3] if question.arn else question.region
    if question.region not in LOCAL_REGIONS and place != question.region:
        return _error(
            f"the KMS key {question.arn} is in {place}, and the snapshot in {question.region}",
            "EBS encrypts with keys of its own region: give another volume.kms_key",
        )
    if key is None and not question.arn:
        return _ok("the account's own key for EBS will be made when it is first used")
    if key is None:
        return _error(f"there is no KMS key {question.arn}", "correct volume.kms_key: aws kms list-keys")
    assert isinstance(key, encryption.Key)
    if key.state not in ("", "Enabled"):
        verb = {"Disabled": "enable-key", "PendingDeletion": "cancel-key-deletion"}.get(key.state, "describe-key")
        return _error(f"the KMS key {key.arn} cannot be used: it is {key.state}", f"aws kms {verb} --key-id {key.arn}")
    if key.usage not in ("", "ENCRYPT_DECRYPT") or key.spec not in ("", "SYMMETRIC_DEFAULT"):
        return _error(
            f"the KMS key {key.arn} is for {key.usage} ({key.spec}): EBS encrypts with symmetric keys only",
            "give another volume.kms_key: aws kms create-key",
        )
    return _ok(f"the KMS key {key.arn} can be used")


def _anyway(asked: Asked) -> Finding:
    if asked.answer:
        return _ok("the account encrypts every snapshot: so will this one be, and no AMI of it can be public")
    return _ok("the account encrypts no snapshot unasked")


def _pair(asked: Asked) -> Finding:
    question = asked.question
    assert isinstance(question, q.PairFits)
    if asked.answer:
        return _ok("certificate and private key for bundles belong together")
    return replace(
        _error(
            f"the private key {question.private_key} is not that of the certificate {question.certificate}",
            "give two that belong together: bundle.certificate and bundle.private_key, or EC2_CERT and EC2_PRIVATE_KEY",
        ),
        local=True,
    )


def _finding(severity: Severity, what: str, remedy: str = "") -> Finding:
    return Finding(id="", severity=severity, what=what, remedy=remedy)


def _ok(what: str) -> Finding:
    return _finding(Severity.OK, what)


def _error(what: str, remedy: str) -> Finding:
    return _finding(Severity.ERROR, what, remedy)


def _first(text: str) -> str:
    return text.strip().partition("\n")[0]


def _plain(words: str) -> str:
    """EC2's words without the message that only sts:DecodeAuthorizationMessage can read."""
    return re.sub(r"\s*Encoded authorization failure message: \S+", "", _first(words))


_JUDGES: Mapping[type[q.Question], Callable[[Asked], Finding]] = {
    q.WhoAsks: _who,
    q.RegionOpen: _open,
    q.DryRun: _dry_run,
    q.Allowed: _allowed,
    q.BucketFit: _bucket,
    q.BlocksReached: _blocks,
    q.Limit: _limit,
    q.NameFree: _name,
    q.KernelThere: _kernel,
    q.TypeRuns: _type,
    q.KeyUsable: _key,
    q.EncryptedAnyway: _anyway,
    q.PairFits: _pair,
}
