"""The stages, in the order of the way of a recipe. A new stage is a folder and a line here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """How a kind of step is run. `module` is imported in the worker only."""

    name: str
    module: str
    namespace: bool = True
    """Run as root of a private user, mount and PID namespace."""
    remote: bool = False
    """The effect is in a region: an object in the store is a receipt, and the region has the last word."""
    says: str = ""
    """What it makes, for people."""


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(name="repository", module="builder.stages.repository", says="RPM repository"),
        Stage(name="packages", module="builder.stages.packages", says="base layer"),
        # Not in the namespace: libguestfs (see verify), and the owners of a directory's files are this machine's.
        Stage(name="base", module="builder.stages.base", namespace=False, says="root tree of an existing image"),
        Stage(name="guest", module="builder.stages.guest", says="packages by the image's own manager"),
        Stage(name="customise", module="builder.stages.customise", says="layer of files or of one script"),
        Stage(name="kernel", module="builder.stages.kernel", says="kernel and initrd layer"),
        Stage(name="configure", module="builder.stages.configure", says="layer bound to the variant"),
        Stage(name="image", module="builder.stages.image", says="disk.raw and its blocks"),
        # Not in the namespace: an ordinary user's has no id for the host's root, so the appliance would be made of
        # nobody's files, and its setuid mount would refuse to mount. libguestfs ends QEMU with its caller.
        Stage(name="verify", module="builder.stages.verify", namespace=False, says="static lint of the image"),
        # Not in the namespace: QEMU needs none, and its guests' disks are its user's.
        Stage(name="boot", module="builder.stages.boot", namespace=False, says="proof that the image boots"),
        Stage(
            name="bundle", module="builder.stages.bundle", namespace=False, says="encrypted parts and bundle manifest"
        ),
        Stage(name="upload", module="builder.stages.upload", namespace=False, remote=True, says="bundle in S3"),
        Stage(name="snapshot", module="builder.stages.snapshot", namespace=False, remote=True, says="EBS snapshot"),
        Stage(name="register", module="builder.stages.register", namespace=False, remote=True, says="AMI"),
        Stage(
            name="publish",
            module="builder.stages.publish",
            namespace=False,
            remote=True,
            says="copies, sharing, SSM parameters",
        ),
    )
}
