"""Parameter Store of Systems Manager: where the ids of images are published."""
