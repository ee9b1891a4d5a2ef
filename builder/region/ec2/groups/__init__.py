"""Security groups as EC2 had them before VPCs ("EC2-Classic"): known by name, inbound rules only, one address space.

What a rule permits is enforced in dom0 (builder/region/network.py, builder/machine/network.py). How clients fare that
think in VPCs: groups have no VpcId and no outbound rules, DescribeVpcs and DescribeSubnets find none, and
DescribeAccountAttributes says that this account's platform is EC2; a VpcId is refused as one that does not exist, and
outbound rules as EC2-Classic refused them. Protocol -1 (all) is taken, as it is in a VPC, since today's scripts say it.
"""
