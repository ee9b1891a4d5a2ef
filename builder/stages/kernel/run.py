"""The kernel's packages on top of the layers, an initrd with what the guest needs, and a kernel the loader reads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from builder.host import tree_files
from builder.host.layers import commit_layer, root_tree
from builder.host.sandbox import run_in_tree
from builder.stages import archives, dnf, guest_packages, mmdebstrap
from builder.stages.contract import Result, StageContext
from builder.stages.kernel.boot_files import (
    INSIDE,
    check_initrd,
    find_initrd,
    find_versions,
    newest,
    readable_kernel,
    the_version,
)
from builder.stages.kernel.initrds import generator
from builder.stages.kernel.spec import KernelSpec


def run(spec: KernelSpec, context: StageContext) -> Result:
    """Install exactly the lock's kernel packages, and write `layer.tar`. Equal inputs give equal bytes."""
    with root_tree(context, writable=True) as tree:
        version = _installed(tree.path, spec, context)
        # Side by side: repacking a kernel takes as long as making an initrd, and neither looks at the other's file.
        with ThreadPoolExecutor(1) as pool:
            readable = pool.submit(readable_kernel, tree.path, version, spec.payloads)
            initrd = make_initrd(tree.path, spec, version)
        vmlinuz, repacked = readable.result()
        check_initrd(tree.path, version, initrd, spec.modules)
    assert tree.upper is not None
    layer = commit_layer(context, tree.upper, spec.source_epoch)
    return {**layer, "version": version, "vmlinuz": vmlinuz, "initrd": initrd, "repacked": repacked}


def _installed(tree: Path, spec: KernelSpec, context: StageContext) -> str:
    """Install what the lock has for the kernel; the version of the one to boot."""
    before = find_versions(tree)
    if spec.packages:
        with dnf.repositories(context, spec.repositories, database=spec.database) as repositories:
            dnf.install(
                tree,
                spec.packages,
                repositories,
                architecture=spec.architecture,
                release=spec.release,
                source_epoch=spec.source_epoch,
                database=spec.database,
                on_top=True,
            )
    elif spec.debs:
        files = archives.fetch(spec.debs, spec.archives, spec.architecture, context)
        mmdebstrap.add(tree, spec.debs, files, context.scratch, source_epoch=spec.source_epoch)
    elif spec.guest:
        guest_packages.install(tree, spec.manager, spec.guest, scratch=context.scratch, epoch=spec.source_epoch)
        if find_versions(tree) == before:  # it had the kernel already, and a boot loader came
            return newest(before)
    else:
        return newest(before)
    return the_version(before, find_versions(tree))


def make_initrd(tree: Path, spec: KernelSpec, version: str) -> str:
    """Run the distribution's own generator in the sandbox, or keep what the tree has; the path of the initrd.

    Files in it carry times no later than the epoch, and both generators write their archive sorted and with plain
    inode numbers when they see SOURCE_DATE_EPOCH (initramfs-tools 0.142) or are told so (dracut --reproducible).
    """
    if spec.initrd == INSIDE:
        return find_initrd(tree, version)
    with_what = generator(spec.initrd, version, spec.modules)
    for path, text in with_what.configuration:
        tree_files.write(tree, path, text.encode())
    environment = {"SOURCE_DATE_EPOCH": str(spec.source_epoch), "TMPDIR": "/tmp"}
    run_in_tree(tree, ["depmod", "--all", version], env=environment)
    run_in_tree(tree, with_what.command, env=environment)
    return with_what.output
