"""EC2's calls about snapshots. What is in a snapshot goes by the EBS direct API (builder/region/ebs)."""
