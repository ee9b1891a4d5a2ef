"""The user of S3 as whom EC2 reads bundles.

S3's documents know it only through the canned list `aws-exec-read` ("Amazon EC2 gets READ access to GET an AMI
bundle"); public code names it, display name za-team. Where a bucket allows no lists, a policy must name it.
"""

EC2_USER = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
"""Canonical user id."""
