"""Packages on top of an existing image, by its own package manager, exactly as locked."""

from builder.host.layers import commit_layer, root_tree
from builder.stages import guest_packages
from builder.stages.contract import Result, StageContext
from builder.stages.guest.spec import GuestSpec


def run(spec: GuestSpec, context: StageContext) -> Result:
    """Install exactly the lock, and write `layer.tar`."""
    with root_tree(context, writable=True) as tree:
        guest_packages.install(tree.path, spec.manager, spec.packages, scratch=context.scratch, epoch=spec.source_epoch)
    assert tree.upper is not None
    return {**commit_layer(context, tree.upper, spec.source_epoch), "packages": len(spec.packages)}
