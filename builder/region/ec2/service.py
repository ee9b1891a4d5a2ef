"""EC2's and STS's front: the operations that there are, and honest words for those that are not."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from builder.region import protocol
from builder.region.ec2 import (
    attributes,
    copy,
    describe,
    iam,
    instance_types,
    key_pairs,
    places,
    platform,
    register,
    retire,
    settings,
    tags,
)
from builder.region.ec2.groups import change as groups
from builder.region.ec2.groups import describe as described_groups
from builder.region.ec2.instances import attributes as instance_attributes
from builder.region.ec2.instances import change, console, run, volumes
from builder.region.ec2.instances import describe as instances
from builder.region.ec2.region import NAME, Region
from builder.region.ec2.snapshots import attributes as snapshot_attributes
from builder.region.ec2.snapshots import change as snapshots
from builder.region.ec2.snapshots import copy as copied_snapshots
from builder.region.ec2.snapshots import describe as described_snapshots
from builder.region.ec2.snapshots import imports
from builder.region.errors import ServiceError
from builder.region.http import Answer

Operation = Callable[[Region, Mapping[str, Any]], dict[str, Any]]
OPERATIONS: Mapping[str, Mapping[str, Operation]] = {
    "ec2": {
        "RegisterImage": register.register_image,
        "DeregisterImage": register.deregister_image,
        "CopyImage": copy.copy_image,
        "EnableImageDeprecation": retire.enable_image_deprecation,
        "DisableImageDeprecation": retire.disable_image_deprecation,
        "EnableImageDeregistrationProtection": retire.enable_protection,
        "DisableImageDeregistrationProtection": retire.disable_protection,
        "GetImageBlockPublicAccessState": settings.get_image_block,
        "EnableImageBlockPublicAccess": settings.enable_image_block,
        "DisableImageBlockPublicAccess": settings.disable_image_block,
        "GetSnapshotBlockPublicAccessState": settings.get_snapshot_block,
        "EnableSnapshotBlockPublicAccess": settings.enable_snapshot_block,
        "DisableSnapshotBlockPublicAccess": settings.disable_snapshot_block,
        "GetEbsEncryptionByDefault": settings.get_encryption,
        "EnableEbsEncryptionByDefault": settings.enable_encryption,
        "DisableEbsEncryptionByDefault": settings.disable_encryption,
        "GetEbsDefaultKmsKeyId": settings.get_default_key,
        "DescribeImages": describe.describe_images,
        "DescribeImageAttribute": attributes.describe_image_attribute,
        "ModifyImageAttribute": attributes.modify_image_attribute,
        "ResetImageAttribute": attributes.reset_image_attribute,
        "DescribeSnapshots": described_snapshots.describe_snapshots,
        "DeleteSnapshot": snapshots.delete_snapshot,
        "CopySnapshot": copied_snapshots.copy_snapshot,
        "ImportSnapshot": imports.import_snapshot,
        "DescribeImportSnapshotTasks": imports.describe_import_snapshot_tasks,
        "CancelImportTask": imports.cancel_import_task,
        "DescribeSnapshotAttribute": snapshot_attributes.describe_snapshot_attribute,
        "ModifySnapshotAttribute": snapshot_attributes.modify_snapshot_attribute,
        "ResetSnapshotAttribute": snapshot_attributes.reset_snapshot_attribute,
        "CreateTags": tags.create_tags,
        "DeleteTags": tags.delete_tags,
        "DescribeTags": tags.describe_tags,
        "DescribeRegions": places.describe_regions,
        "DescribeAvailabilityZones": places.describe_availability_zones,
        "CreateKeyPair": key_pairs.create_key_pair,
        "ImportKeyPair": key_pairs.import_key_pair,
        "DescribeKeyPairs": key_pairs.describe_key_pairs,
        "DeleteKeyPair": key_pairs.delete_key_pair,
        "DescribeAccountAttributes": platform.describe_account_attributes,
        "DescribeVpcs": platform.describe_vpcs,
        "DescribeSubnets": platform.describe_subnets,
        "CreateSecurityGroup": groups.create_security_group,
        "DeleteSecurityGroup": groups.delete_security_group,
        "DescribeSecurityGroups": described_groups.describe_security_groups,
        "DescribeSecurityGroupRules": described_groups.describe_security_group_rules,
        "AuthorizeSecurityGroupIngress": groups.authorize_security_group_ingress,
        "RevokeSecurityGroupIngress": groups.revoke_security_group_ingress,
        "UpdateSecurityGroupRuleDescriptionsIngress": groups.update_security_group_rule_descriptions_ingress,
        "AuthorizeSecurityGroupEgress": groups.refuse_egress,
        "RevokeSecurityGroupEgress": groups.refuse_egress,
        "DescribeInstanceTypes": instance_types.describe_instance_types,
        "RunInstances": run.run_instances,
        "DescribeInstances": instances.describe_instances,
        "DescribeInstanceStatus": instances.describe_instance_status,
        "TerminateInstances": change.terminate_instances,
        "RebootInstances": change.reboot_instances,
        "StopInstances": change.stop_instances,
        "StartInstances": change.start_instances,
        "DescribeVolumes": volumes.describe_volumes,
        "GetConsoleOutput": console.get_console_output,
        "DescribeInstanceAttribute": instance_attributes.describe_instance_attribute,
        "ModifyInstanceAttribute": instance_attributes.modify_instance_attribute,
        "ModifyInstanceMetadataOptions": instance_attributes.modify_instance_metadata_options,
    },
    "sts": {"GetCallerIdentity": places.get_caller_identity},
    "iam": {"SimulatePrincipalPolicy": iam.simulate_principal_policy},
}


# Instances, and what they are started with, are in the first region of this process alone.
AT_HOME = re.compile(r"Instance(s|Status|Attribute|Metadata)|KeyPair|SecurityGroup|ConsoleOutput")


def serve(region: Region, service: str, parameters: protocol.Parameters, request_id: str) -> Answer:
    action = str(parameters.get("Action", ""))
    operation = OPERATIONS[service].get(action)
    if operation is None and action in protocol.service(service).operation_names:
        raise ServiceError("UnsupportedOperation", f"The local region does not offer {action} yet")
    if operation is None:
        raise ServiceError("InvalidAction", f"The action {action} is not valid for this web service.")
    if region.name != NAME and AT_HOME.search(action):
        raise ServiceError(
            "UnsupportedOperation",
            f"{region.name} has images and snapshots; the local region's instances are in {NAME}",
        )
    wanted = protocol.parse_query(service, action, parameters)
    if wanted.get("DryRun"):
        raise ServiceError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
    status, headers, body = protocol.serialize(service, action, operation(region, wanted), request_id)
    return Answer(status=status, headers={**headers, "x-amzn-RequestId": request_id}, body=body)
