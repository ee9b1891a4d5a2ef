"""What a region encrypts snapshots with: the account's settings, and the keys of KMS."""

from dataclasses import dataclass

from botocore.exceptions import ClientError

from builder.cloud.errors import Client, answers, code_of

_NONE = {"NotFoundException"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A KMS key, as DescribeKey tells of it."""

    arn: str
    state: str
    """Enabled, Disabled, PendingDeletion and the like."""
    usage: str
    """ENCRYPT_DECRYPT, SIGN_VERIFY and the like."""
    spec: str
    """SYMMETRIC_DEFAULT and the like."""


def describe_key(client: Client, key: str) -> Key | None:
    """The key of that ARN; None when the region has none of it."""
    with answers(client, f"the KMS key {key}"):
        try:
            found = client.describe_key(KeyId=key)["KeyMetadata"]
        except ClientError as error:
            if code_of(error) in _NONE:
                return None
            raise
    return Key(
        arn=str(found["Arn"]),
        state=str(found.get("KeyState", "")),
        usage=str(found.get("KeyUsage", "")),
        spec=str(found.get("KeySpec", "")),
    )


def default_key(client: Client) -> str:
    """What EBS encrypts with where no key is named: an ARN, or alias/aws/ebs."""
    with answers(client, "the account's default key for EBS"):
        return str(client.get_ebs_default_kms_key_id()["KmsKeyId"])


def by_default(client: Client) -> bool:
    """Whether every new snapshot of the account is encrypted, said or not."""
    with answers(client, "the account's encryption by default"):
        return bool(client.get_ebs_encryption_by_default()["EbsEncryptionByDefault"])
