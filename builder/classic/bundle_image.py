"""ec2-bundle-image: an image into a bundle, in a directory or straight in S3."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.classic import bucket, questions, signer
from builder.classic import place as places
from builder.classic.command import Command, Options, enter
from builder.classic.options import (
    ACL,
    COMMON,
    CREDENTIALS,
    DESCRIPTION,
    PLACE,
    PROGRESS,
    SIGNER,
    YES,
    Option,
    whole,
)
from builder.cli import output
from builder.cli.meter import Meter
from builder.errors import RecipeError

if TYPE_CHECKING:
    from builder.bundles.contract import Description
    from builder.bundles.image import Image
    from builder.classic.place import Place
    from builder.classic.signer import Signer

TEMPORARY = "/tmp"
"""Where bundles go that are given no destination: the manual's default."""

DESTINATION = Option(
    names=("-d", "--destination"),
    value="PATH",
    help=f"The directory for the bundle, or s3://BUCKET/PREFIX to store it there at once. [{TEMPORARY}]",
    default=TEMPORARY,
)
COMPRESSION = Option(
    names=("--compression",),
    value="LEVEL",
    help="`fast`, or `small`: an eighth less to store, for several times the work. [fast]",
    choices=("fast", "small"),
    default="fast",
)
IMAGE = (
    Option(
        names=("-i", "--image"),
        value="PATH",
        help="The image: a file, a block device, or - for standard input.",
        required=True,
    ),
    *SIGNER,
    DESTINATION,
    Option(names=("-p", "--prefix"), value="NAME", help="Name of the bundle; by default the image's file name."),
    *DESCRIPTION,
    COMPRESSION,
    Option(names=("--image-size",), value="BYTES", help="The size of an image from standard input.", read=whole),
    Option(names=("--size-checks",), help="Refuse an image that EC2 does not take: over 10 GiB.", no=True),
    replace(ACL, help="With s3://: who may read. [aws-exec-read]"),
    PROGRESS,
    *CREDENTIALS,
    *PLACE,
    YES,
    *COMMON,
)


def run(options: Options) -> None:
    """Bundle the image; the original's lines go to stdout."""
    from builder.bundles.contract import SIZE_LIMIT
    from builder.bundles.image import STDIN, open_image

    path = Path(options.image)
    if path == STDIN and options.prefix is None:
        raise RecipeError("an image from standard input has no name", hint="give the bundle one with -p")
    limit = None if options.size_checks is False else SIZE_LIMIT
    with open_image(path, options.image_size, limit=limit) as image:
        place = places.find(options, "s3")
        by = signer.load(options, place)
        store(options, place, image, describe(options, by.account, options.prefix or path.name), by)
    output.result(f"{COMMAND.name} complete.")


def describe(options: Options, account: str, name: str) -> "Description":
    """What the manifest will say of the image."""
    from builder.bundles.contract import Description
    from builder.bundles.write import ARCHITECTURES, check

    said = Description(
        name=name,
        account=account,
        architecture=options.arch or _architecture(options, ARCHITECTURES),
        kernel_id=options.kernel,
        ramdisk_id=options.ramdisk,
        block_device_mapping=options.block_device_mapping,
        product_codes=options.productcodes,
    )
    check(said)
    return said


def store(options: Options, place: "Place", image: "Image", said: "Description", by: "Signer") -> None:
    """Put the bundle where --destination says, and say its files."""
    target = bucket.address(options.destination)
    if target is None:
        _into_directory(options, image, said, by)
    else:
        _into_bucket(options, place, target, image, said, by)


def _into_directory(options: Options, image: "Image", said: "Description", by: "Signer") -> None:
    from builder.bundles import write
    from builder.formats.manifest_reader import read_manifest

    directory = Path(options.destination)
    if not directory.is_dir():
        raise RecipeError(f"{directory} is no directory", hint="make it first: -d names a directory that is there")
    force = _may_replace(options, directory, said.name)
    output.result("Bundling image file...")
    with Meter("bundle", wanted=options.progress) as meter:
        manifest = write.bundle_to_directory(
            image, said, by.keys, directory, level=options.compression, progress=meter, force=force
        )
    for part in read_manifest(manifest.read_bytes()).parts:
        output.result(f"Created {part.filename}")
    output.result(f"Created {manifest.name}")


def _into_bucket(
    options: Options,
    place: "Place",
    target: bucket.Address,
    image: "Image",
    said: "Description",
    by: "Signer",
) -> None:
    from builder.bundles import send

    stored = bucket.ready(place, target)
    output.result("Bundling image file...")
    with Meter("bundle", wanted=options.progress) as meter:
        sent = send.bundle_to_s3(
            image,
            said,
            by.keys,
            stored,
            target.prefix,
            level=options.compression,
            acl=options.acl,
            progress=meter,
            note=output.warn,
        )
    output.result(f"Uploaded {sent.location}")
    bucket.say_registration(options, sent.location)


def _may_replace(options: Options, directory: Path, name: str) -> bool:
    """Whether a bundle of that name is there and may go; parts without a manifest go with -y only."""
    if not (directory / f"{name}.manifest.xml").exists():
        return bool(options.yes)
    where = f"{directory} holds a bundle {name} already"
    questions.agreed(f"{where}. Replace it?", options, otherwise=where)
    return True


def _architecture(options: Options, known: tuple[str, ...]) -> str:
    """As the original: this machine's, or what is answered at a terminal. What was assumed is said."""
    machine = os.uname().machine
    own = "i386" if machine[:1] == "i" and machine.endswith("86") else machine
    if own not in known:
        raise RecipeError(f"the image's architecture is not known, and this machine is {machine}", hint="give it: -r")
    found = questions.chosen("Please specify a value for arch", own, known, options)
    if not questions.can_ask(options):
        output.say(f"note: the architecture is this machine's, {found}; -r says another")
    return found


COMMAND = Command(
    name="ec2-bundle-image",
    summary="Turn an image into a bundle: encrypted parts and a signed manifest, ready to upload and register.",
    options=IMAGE,
    run=run,
    examples="""\
ec2-bundle-image -u $EC2_USER -k $EC2_PRIVATE_KEY -c $EC2_CERT -i disk.img -d bundles -r x86_64
ec2-bundle-image -i /dev/vg0/root -p root -d s3://my-bucket/root --region us-east-1
make-image | ec2-bundle-image -i - --image-size 1073741824 -p disk.img -d bundles""",
    manual="""\
details:
  The bundle appears in its directory when it is whole: part files and, last, PREFIX.manifest.xml.
  A bundle of the same name there is replaced after a question, or with -y; else nothing is done.
  With -d s3:// no file is written here; the parts go to S3 while later ones are being made.
  EC2's certificate (--ec2cert) is chosen by --region; a bundle made with another region's would
  register and never start. Without -c and -k a pair is made for you once, and used from then on.
  --no-size-checks lets images pass that are larger than 10 GiB; EC2 refuses them.""",
    interrupted="nothing of the bundle is left: run it again",
)


def main() -> None:
    enter(COMMAND)


if __name__ == "__main__":
    main()
