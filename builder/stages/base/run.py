"""The root tree of an existing image as a layer. Nothing of the image is run, mounted or unpacked here."""

from pathlib import Path

from builder.canonical import to_plain
from builder.errors import BuilderError
from builder.formats.file_tree import FileTree, TreeError
from builder.host.layers import LayerSink
from builder.stages.base import oci, remote, source
from builder.stages.base.directory import read_directory
from builder.stages.base.disk import format_of, read_disk
from builder.stages.base.facts import read_facts
from builder.stages.base.spec import BaseSpec
from builder.stages.base.tars import LeftOut, read_tar
from builder.stages.contract import Result, StageContext


def run(spec: BaseSpec, context: StageContext) -> Result:
    """Write `layer.tar`. Equal pins give equal bytes. BuilderError when the image is not the one that was locked."""
    location = context.surroundings.sources.get(spec.pin)
    if location is None:
        raise BuilderError(f"where the image {spec.pin[:12]} is was not said")
    tree, left_out = FileTree(), LeftOut()
    for each in _read(spec, location, tree, left_out, context):
        context.note(each)
    facts = read_facts(tree, location, context.scratch)
    _note_left_out(left_out, context)
    layer = _write(tree, location, context)
    if spec.kind == "directory" and layer["digest"] != spec.pin:
        raise remote.changed(location, str(layer["digest"]), spec.pin)
    return {**layer, **to_plain(facts)}


def tree_digest(directory: Path, context: StageContext) -> str:
    """What pins a directory: the digest of its layer."""
    tree = FileTree()
    read_directory(directory, tree, LeftOut(), scratch=context.scratch)
    packed = context.output / "layer.tar"
    digest = str(_write(tree, str(directory), context)["digest"])
    packed.unlink()
    return digest


def _read(spec: BaseSpec, location: str, tree: FileTree, left_out: LeftOut, context: StageContext) -> tuple[str, ...]:
    """Fill the tree; notes."""
    scratch, path = context.scratch, Path(location)
    if spec.kind == "directory":
        read_directory(path, tree, left_out, scratch=scratch)
        return ()
    if spec.kind == "oci":
        oci.read_oci(oci.opened(path, scratch), spec.architecture, spec.pin, tree, left_out, scratch=scratch)
        return ()
    if spec.kind == "bundle":
        path = remote.image_of_bundle(location, spec.region, spec.pin, context)
    elif spec.kind == "snapshot":
        path = remote.volume_of_snapshot(spec.pin, spec.region, context)
    elif (found := source.digest(path)) != spec.pin:
        raise remote.changed(location, found, spec.pin)
    if spec.kind == "tar":
        read_tar(path, tree, left_out, scratch=scratch)
        return ()
    if spec.format == "qcow2" and format_of(path) != "qcow2":
        raise BuilderError(f"{path} is no qcow2 image any more")
    cache = context.surroundings.cache / "appliance"
    return read_disk(path, spec.format, tree, left_out, cache=cache, scratch=scratch)


def _write(tree: FileTree, what: str, context: StageContext) -> dict[str, object]:
    packed = context.output / "layer.tar"
    try:
        with packed.open("wb", buffering=0) as file:
            sink = LayerSink(file)
            entries = tree.write(sink, lambda done, total: context.progress("pack", done, total, "entries"))
            digest, size = sink.finish()
    except TreeError as error:
        raise BuilderError(f"{what}: {error}") from None
    return {"digest": digest, "size": size, "entries": entries, "digests": {"layer.tar": digest}}


def _note_left_out(left_out: LeftOut, context: StageContext) -> None:
    count = len(left_out.devices)
    if count:
        context.note(f"{count} device node{'s' * (count > 1)} in /dev left out: the guest's kernel makes its own")
    if left_out.labels:
        context.note("its SELinux labels are left out: the guest labels its files anew ([selinux] says how)")
