"""Snapshots: their blocks, by the EBS direct API; their records, by EC2's calls (builder/region/ec2/snapshots).

For a hypervisor: disk.snapshot_disk.
"""
