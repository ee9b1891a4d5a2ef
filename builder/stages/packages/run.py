"""The base layer: an empty tree, and the packages of the lock."""

from builder.host.layers import commit_layer, root_tree
from builder.stages import archives, dnf, mmdebstrap
from builder.stages.contract import Result, StageContext
from builder.stages.packages.spec import PackagesSpec


def run(spec: PackagesSpec, context: StageContext) -> Result:
    """Install exactly the lock, and write `layer.tar`. Equal specs and repositories give equal bytes."""
    if spec.debs:
        return _from_debs(spec, context)
    with (
        root_tree(context, writable=True) as tree,
        dnf.repositories(context, spec.repositories, database=spec.database) as repositories,
    ):
        dnf.install(
            tree.path,
            spec.packages,
            repositories,
            architecture=spec.architecture,
            release=spec.release,
            source_epoch=spec.source_epoch,
            database=spec.database,
        )
    assert tree.upper is not None
    return {**commit_layer(context, tree.upper, spec.source_epoch), "packages": len(spec.packages)}


def _from_debs(spec: PackagesSpec, context: StageContext) -> Result:
    files = archives.fetch(spec.debs, spec.archives, spec.architecture, context)
    with root_tree(context, writable=True) as tree:
        mmdebstrap.bootstrap(
            tree.path,
            spec.debs,
            files,
            context.scratch,
            architecture=spec.architecture,
            source_epoch=spec.source_epoch,
        )
    assert tree.upper is not None
    return {**commit_layer(context, tree.upper, spec.source_epoch), "packages": len(spec.debs)}
