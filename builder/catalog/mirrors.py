"""What the variable of the environment is called that names a mirror."""

import re


def mirror_variable(repository: str) -> str:
    """Of a repository, by its id in the recipe."""
    return "AMI_FACTORY_MIRROR_" + re.sub(r"[^A-Z0-9]", "_", repository.upper())
