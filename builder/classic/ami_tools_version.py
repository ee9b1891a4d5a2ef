"""ec2-ami-tools-version: the version of the commands, and of the manifests that they write."""

from builder import __version__
from builder.classic.command import MANIFEST_VERSION, Command, Options, enter
from builder.classic.options import COMMON
from builder.cli import output


def run(options: Options) -> None:
    """The original's line: version, manifest version."""
    del options
    output.result(f"{__version__} {MANIFEST_VERSION}")


COMMAND = Command(
    name="ec2-ami-tools-version",
    summary="Print the version of the ec2-* commands, and that of the manifests that they write.",
    options=COMMON,
    run=run,
    examples="ec2-ami-tools-version",
)


def main() -> None:
    enter(COMMAND)


if __name__ == "__main__":
    main()
