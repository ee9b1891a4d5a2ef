"""What a recipe says of AWS: the bundle, the AMI, its volume, and where it is published."""

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from builder.catalog.dates import parse_date, parse_days
from builder.catalog.tables import Table
from builder.recipe.words import (
    MAX_TAGS,
    Account,
    AuthorPath,
    BillingProduct,
    Bucket,
    HostPath,
    KmsKey,
    KmsKeyOfCopies,
    OrganizationArn,
    Prefix,
    RegionName,
    TagKey,
    TagValue,
    UnitArn,
    VolumeSize,
)


class Bundle(Table):
    """How the image becomes a bundle. Account, certificate and key left out: they are made once, and said so."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"certificate": ["private_key"], "private_key": ["certificate"]},
        }
    )

    account: Account | None = Field(
        None, description="AWS account, twelve digits; the local region has an account of its own."
    )
    certificate: HostPath | None = Field(
        None, description="Your X.509 certificate (PEM): a path that starts with / or ~/."
    )
    private_key: HostPath | None = Field(
        None, description="Its private key (PEM), such a path too; only the path is ever kept."
    )
    bucket: Bucket | None = Field(None, description="S3 bucket; ami-factory-ACCOUNT-REGION when left out.")
    prefix: Prefix | None = Field(None, description="Key prefix in the bucket; the recipe's name when left out.")
    compression: Literal["fast", "small"] = Field(
        "fast",
        description="fast, or small: an eighth fewer bytes to upload and to keep, for several times the work.",
    )

    @model_validator(mode="after")
    def _pair(self) -> "Bundle":
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together: give both or neither")
        return self


class Register(Table):
    """How the AMI is registered."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["uefi_data"]},
            "then": {"required": ["boot_mode"], "properties": {"boot_mode": {"const": "uefi"}}},
        }
    )

    name: str = Field(
        "{{ name }}-{{ version }}-{{ architecture }}-{{ virtualization }}-{{ instance_type }}-{{ key12 }}",
        description="Template of the AMI's name; must hold {{ key12 }}, which makes it unique to its content.",
        json_schema_extra={"pattern": r"\{\{\s*key12\s*\}\}"},
    )
    description: str = Field("{{ description }}", description="Template of the AMI's description.")
    tags: dict[TagKey, TagValue] = Field(default_factory=dict, description="Tags of the AMI; values are templates.")
    boot_mode: Literal["uefi-preferred", "uefi", "legacy-bios"] = Field(
        "uefi-preferred",
        description="hvm: which firmware starts it; uefi-preferred: UEFI where the instance type has it, else BIOS. "
        "32 bits are always legacy-bios.",
    )
    imds: Literal["required", "optional"] = Field(
        "required", description="hvm: whether instances ask the metadata service with a token only (IMDSv2)."
    )
    tpm: bool = Field(False, description="hvm: instances get a TPM 2.0; needs boot_mode uefi.")
    ena: bool = Field(True, description="hvm: enhanced networking with ENA, which every Nitro type needs.")
    sriov: bool = Field(False, description="hvm: enhanced networking with Intel's 82599, of the types before ENA.")
    uefi_data: AuthorPath | None = Field(
        None,
        description="hvm: a file with UEFI's variables as EC2 takes them, such as the keys of Secure Boot: what "
        "`uefivars.py -o aws` writes; needs boot_mode uefi.",
    )
    billing_products: tuple[BillingProduct, ...] = Field((), description="Billing product codes, if EC2 gave you any.")

    @model_validator(mode="after")
    def _key12(self) -> "Register":
        if not re.search(r"{{\s*key12\s*}}", self.name):
            raise ValueError("name must hold {{ key12 }}: two builds must never ask for one name")
        return self

    @model_validator(mode="after")
    def _uefi_with_its_data(self) -> "Register":
        # EC2 takes uefi-preferred too, and says itself that instances may start by BIOS then, without Secure Boot.
        if self.uefi_data and self.boot_mode != "uefi":
            raise ValueError(
                f'uefi_data needs boot_mode = "uefi", not "{self.boot_mode}": BIOS reads no such variables'
            )
        return self

    @model_validator(mode="after")
    def _few_tags(self) -> "Register":
        if len(self.tags) > MAX_TAGS:
            raise ValueError(f"{len(self.tags)} tags are more than the {MAX_TAGS} that EC2 leaves room for")
        return self


class Volume(Table):
    """The EBS volume that an instance of an hvm AMI gets as its root, and the snapshot that it is made of."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["kms_key"]},
            "then": {"required": ["encrypted"], "properties": {"encrypted": {"const": True}}},
        }
    )

    type: Literal["gp3", "gp2", "io2", "io1", "standard"] = Field("gp3", description="Volume type.")
    size: VolumeSize = Field(
        "auto", description='"auto", the disk\'s own size; or a size in GiB: the root grows to it.'
    )
    iops: Annotated[int, Field(ge=100, le=256000)] | None = Field(
        None, description="IOPS to pay for, of gp3, io1 and io2; EC2's default when left out."
    )
    throughput: Annotated[int, Field(ge=125, le=2000)] | None = Field(
        None, description="MiB/s to pay for, of gp3; EC2's default when left out."
    )
    encrypted: bool = Field(False, description="Encrypt the snapshot.")
    kms_key: KmsKey | None = Field(
        None,
        description="ARN of the KMS key to encrypt with, not of an alias; the account's own for EBS when left out.",
    )
    delete_on_termination: bool = Field(True, description="Delete the volume with its instance.")

    @model_validator(mode="after")
    def _key_of_encrypted(self) -> "Volume":
        if self.kms_key and not self.encrypted:
            raise ValueError("kms_key is of use only with encrypted = true")
        return self


class Publish(Table):
    """Where the AMI is to be used, and by whom. `build` ends with it, when the table is there; docs/publish.md."""

    regions: tuple[RegionName, ...] = Field(
        (), description="Regions that must have a copy; nothing is promoted before."
    )
    best_effort: tuple[RegionName, ...] = Field(
        (), description="Regions that should have one: when it fails there, the build goes on and says so."
    )
    kms_keys: dict[RegionName, KmsKeyOfCopies] = Field(
        default_factory=dict,
        description='By region, what its copy is encrypted with: the ARN of a KMS key there, or "default". Others are '
        "as their source is.",
    )
    accounts: tuple[Account, ...] = Field((), description="Accounts that may launch it.")
    organizations: tuple[OrganizationArn, ...] = Field((), description="Organizations that may, by their ARNs.")
    units: tuple[UnitArn, ...] = Field((), description="Organizational units that may, by their ARNs.")
    public: bool = Field(False, description="Everybody may; its snapshots are public as well, so never encrypted.")
    parameters: tuple[str, ...] = Field(
        (), description="Names of SSM parameters that get this AMI's id, in every region that has it; templates."
    )
    latest: tuple[str, ...] = Field(
        (), description="Names of those that say the newest one's id: written last, all of them or none; templates."
    )
    promote: Literal["build", "by-hand"] = Field(
        "build", description="Who writes the latest ones: every build, or only `ami-factory images promote`."
    )
    deprecate_after: str | None = Field(
        None, description='Deprecate the AMI that long after it was made: a number with d, w, m or y, such as "90d".'
    )
    deprecate_on: str | None = Field(None, description='Or on this day: "2027-01-31".')
    protect: Literal["no", "on", "cooldown"] = Field(
        "no", description="Deregistration protection; cooldown: for a day after it is switched off, too."
    )

    @field_validator("deprecate_after")
    @classmethod
    def _duration(cls, text: str | None) -> str | None:
        if text is not None:
            parse_days(text)
        return text

    @field_validator("deprecate_on")
    @classmethod
    def _date(cls, text: str | None) -> str | None:
        return None if text is None else parse_date(text)

    @model_validator(mode="after")
    def _one_date(self) -> "Publish":
        if self.deprecate_after and self.deprecate_on:
            raise ValueError("give deprecate_after or deprecate_on, not both")
        return self

    @model_validator(mode="after")
    def _regions_once(self) -> "Publish":
        for name in self.best_effort:
            if name in self.regions:
                raise ValueError(f'"{name}" stands under regions and under best_effort: it is one or the other')
        for name in self.kms_keys:
            key = self.kms_keys[name]
            if name not in (*self.regions, *self.best_effort):
                raise ValueError(f'kms_keys has "{name}", which no copy goes to')
            if key != "default" and key.split(":")[3] != name:
                raise ValueError(
                    f'the KMS key for "{name}" is one of {key.split(":")[3]}: a copy needs a key of its region'
                )
        return self

    @model_validator(mode="after")
    def _never_public_and_encrypted(self) -> "Publish":
        if self.public and self.kms_keys:
            raise ValueError(
                "an AMI with encrypted snapshots cannot be public (EC2 User Guide): drop public or kms_keys"
            )
        return self
