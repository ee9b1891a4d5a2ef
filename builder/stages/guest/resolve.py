"""What an image's own package manager would install today: tried out in a copy that is thrown away."""

from builder.canonical import to_plain
from builder.host.layers import root_tree
from builder.stages import guest_packages
from builder.stages.contract import Result, StageContext
from builder.stages.guest.spec import GuestResolveSpec


def run(spec: GuestResolveSpec, context: StageContext) -> Result:
    """Each group on top of the one before."""
    with root_tree(context, writable=True) as tree:
        return {
            group: to_plain(
                guest_packages.resolve(tree.path, spec.manager, names, scratch=context.scratch, epoch=spec.source_epoch)
            )
            for group, names in (
                ("packages", spec.packages),
                ("kernel_packages", spec.kernel_packages),
                ("hvm_packages", spec.hvm_packages),
            )
        }
