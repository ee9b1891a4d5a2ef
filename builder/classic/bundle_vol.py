"""ec2-bundle-vol: a directory tree or a mounted volume, the running machine's root too, into an image and a bundle."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.classic import bundle_image, questions, signer
from builder.classic import place as places
from builder.classic.command import Command, Options, enter
from builder.classic.options import (
    COMMON,
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
from builder.formats.toml import printable
from builder.host.directories import state_directory

if TYPE_CHECKING:
    from builder.bundles.contract import Description
    from builder.bundles.volume import Volume
    from builder.bundles.volume_job import LeftOut, Made

_ARCHITECTURE = "i386 or x86_64; by default that of the volume's shell, else this machine's."
_TREE = "what goes into the image"
_FILE_SYSTEM = "the image"
_WHY = {
    "excluded": "left out as you said",
    "sensitive": "left out for names that secrets often have (--include PATH,... keeps some, --no-filter all)",
    "socket": "left out, being sockets",
    "whiteout": "left out, being whiteouts of container layers, which are broken without them (--exclude the layers)",
    "own": "left out, being of this machine or of the bundle itself",
    "changed": "changed while they were read, and may be half old and half new",
}


def _words(text: str) -> tuple[str, ...]:
    """A list as `find ... | tr '\\n' ','` makes it, with an empty place at its end."""
    return tuple(each for each in text.split(",") if each)


VOLUME = (
    *SIGNER,
    Option(
        names=("-d", "--destination"),
        value="DIR",
        help=f"The directory for the image and the bundle. [{bundle_image.TEMPORARY}]",
        default=bundle_image.TEMPORARY,
    ),
    Option(names=("-p", "--prefix"), value="NAME", help="Name of the image and the bundle. [image]", default="image"),
    *(replace(each, help=_ARCHITECTURE) if each.name == "arch" else each for each in DESCRIPTION),
    Option(
        names=("--inherit",),
        help="Take kernel, RAM disk, product codes, ancestry and mapping from the instance's metadata. [yes]",
        no=True,
    ),
    bundle_image.COMPRESSION,
    Option(
        names=("-v", "--volume"), value="DIR", help="The mounted volume or directory. [/]", default="/", heading=_TREE
    ),
    Option(
        names=("-a", "--all"),
        help="Take in other file systems that are mounted in the volume.",
        heading=_TREE,
    ),
    Option(
        names=("-e", "--exclude"),
        value="PATH,...",
        help="Leave these out: absolute paths in the volume.",
        read=_words,
        repeated=True,
        default=(),
        heading=_TREE,
    ),
    Option(
        names=("-i", "--include"),
        value="PATH,...",
        help="Keep these, though their names are filtered; of a directory all that is in it.",
        read=_words,
        repeated=True,
        default=(),
        heading=_TREE,
    ),
    Option(names=("--no-filter",), help="Keep files whose names secrets often have.", heading=_TREE),
    Option(names=("--fstab",), value="PATH", help="Put this fstab into the image.", heading=_TREE),
    Option(names=("--generate-fstab",), help="Put a fstab for the architecture into the image.", heading=_TREE),
    Option(names=("--grub-config",), value="PATH", help="Put this menu.lst into the image.", heading=_TREE),
    Option(
        names=("-S", "--script"),
        value="PATH",
        help="Run this on the tree before the image is made: its argument is where the tree is.",
        heading=_TREE,
    ),
    Option(
        names=("-s", "--size"),
        value="MIB",
        help="Size of the image, at most 10240; it is sparse. [10240]",
        read=whole,
        default=10240,
        heading=_FILE_SYSTEM,
    ),
    Option(
        names=("-P", "--partition"),
        value="TYPE",
        help="Only `none`: a file system without a partition table. [none]",
        choices=("none", "mbr", "gpt"),
        default="none",
        heading=_FILE_SYSTEM,
    ),
    Option(
        names=("--filesystem",),
        value="TYPE",
        help="ext2, ext3 or ext4; by default the volume's own, else ext3.",
        choices=("ext2", "ext3", "ext4"),
        default="",
        heading=_FILE_SYSTEM,
    ),
    Option(names=("--label",), value="TEXT", help="By default the volume's own.", default="", heading=_FILE_SYSTEM),
    Option(names=("--uuid",), value="UUID", help="By default the volume's own.", default="", heading=_FILE_SYSTEM),
    PROGRESS,
    *PLACE,
    YES,
    *COMMON,
)


def run(options: Options) -> None:
    """Make the image, then the bundle beside it; both are there at the end, or neither."""
    from builder.bundles.image import open_image
    from builder.bundles.volume import volume_image

    if options.partition != "none":
        raise RecipeError(
            f"--partition {options.partition} is not supported: the image is a file system without a partition table",
            hint="leave it out: EC2's paravirtual instances boot such an image with a pv-grub-hd0 kernel",
        )
    place = places.find(options, "s3")
    by = signer.load(options, place)
    _choose_architecture(options)
    said = _inherit(options, bundle_image.describe(options, by.account, options.prefix))
    volume = _volume(options, said.architecture)
    destination = Path(options.destination)
    force = _may_replace(options, destination, said.name)
    output.result(f"Copying {volume.path} into the image file {destination / said.name}...")
    meter = Meter("image", wanted=options.progress)
    with volume_image(volume, destination, said.name, private=_private(options), force=force, progress=meter) as image:
        meter.clear()
        _tell(image.made)
        with open_image(image.path) as opened:
            bundle_image.store(options, place, opened, said, by)
        image.keep()
    output.result(f"{COMMAND.name} complete.")


def _choose_architecture(options: Options) -> None:
    """The tree's, when nobody says another: it need not be this machine's."""
    from builder.bundles.volume import architecture

    found = architecture(Path(options.volume))
    if found and not options.arch:
        options.arch = found
        output.say(f"note: the architecture is that of the volume's shell, {found}; -r says another")
    elif found and found != options.arch:
        output.warn(f"the volume's shell is a program for {found}, and you said {options.arch}")


def _may_replace(options: Options, directory: Path, name: str) -> bool:
    """Whether an image or a bundle of that name is there, and may go. Asked, or refused, before the work, and once."""
    from builder.bundles.directory import DirectorySink

    there = [each for each in (directory / name, directory / f"{name}.manifest.xml") if each.exists()]
    if not there:
        with DirectorySink(directory, name):  # refuses parts that no manifest belongs to
            return False
    where = f"{' and '.join(map(str, there))} {'is' if len(there) == 1 else 'are'} there already"
    questions.agreed(f"{where}. Replace?", options, otherwise=where)
    options.yes = True
    return True


def _inherit(options: Options, said: "Description") -> "Description":
    if options.inherit is False:
        return said
    from builder.bundles.inherit import inherited, with_inherited
    from builder.cloud.metadata import InstanceMetadata

    found = inherited(InstanceMetadata(os.environ).get)
    for each in found.refused:
        output.warn(f"not inherited, EC2 would refuse it: {printable(each)}")
    return with_inherited(said, found)


def _volume(options: Options, architecture: str) -> "Volume":
    from builder.bundles.volume import Volume

    if options.fstab and options.generate_fstab:
        raise RecipeError("--fstab and --generate-fstab exclude each other", hint="give one of them")
    return Volume(
        path=Path(options.volume),
        size_mib=options.size,
        exclude=_joined(options.exclude),
        include=_joined(options.include),
        filtered=not options.no_filter,
        every_file_system=options.all,
        fstab=Path(options.fstab) if options.fstab else None,
        generate_fstab=architecture if options.generate_fstab else "",
        grub_config=Path(options.grub_config) if options.grub_config else None,
        script=Path(options.script) if options.script else None,
        filesystem=options.filesystem,
        label=options.label,
        uuid=options.uuid,
        epoch=_epoch(os.environ.get("SOURCE_DATE_EPOCH")),
    )


def _epoch(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 32):
        raise RecipeError(f'SOURCE_DATE_EPOCH: "{printable(text)}" is not a time in seconds', hint="see: date +%s")
    return int(text)


def _joined(given: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(word for words in given for word in words)


def _private(options: Options) -> tuple[Path, ...]:
    """The key that signs, and where ami-factory keeps its own."""
    given = (Path(options.privatekey).expanduser(),) if options.privatekey else ()
    return (*given, state_directory())


def _tell(made: "Made") -> None:
    """What is not in the image, and what may be wrong in it."""
    output.say(f"image: {made.filesystem}, label {made.label or '(none)'}, UUID {made.uuid}")
    if made.other_file_systems:
        listed = ", ".join(printable(each) for each in made.other_file_systems)
        output.warn(f"other file systems are left out: {listed}; --all takes them in")
    for each in made.left_out:
        output.say(_told(each))
    for path in made.missing:
        output.warn(f"--include: /{printable(path)} is not in the volume")
    if made.changed.count:
        output.warn(_told(made.changed))
    for line in made.script_output.splitlines():
        output.say(f"script: {printable(line, 200)}")


def _told(some: "LeftOut") -> str:
    first = ", ".join("/" + printable(each, 100) for each in some.first)
    more = f" and {some.count - len(some.first)} more" if some.count > len(some.first) else ""
    return f"{some.count} {_WHY[some.why]}: {first}{more}"


COMMAND = Command(
    name="ec2-bundle-vol",
    summary="Turn a mounted volume or a directory tree, or this machine itself, into an image and a bundle.",
    options=VOLUME,
    run=run,
    examples="""\
ec2-bundle-vol -u $EC2_USER -k $EC2_PRIVATE_KEY -c $EC2_CERT -d /mnt -r x86_64
ec2-bundle-vol -v /srv/tree -d bundles -p web --no-inherit --generate-fstab -s 2048""",
    manual="""\
details:
  The tree is read where it is, without a copy or a loop device; the volume is not changed, and
  no mount is left. DESTINATION/PREFIX is the image, and its bundle lies beside it.
  Always left empty: /dev (but for console, null, tty and zero), /media, /mnt, /proc, /sys, the
  destination, and every directory that something else is mounted on.
  Left out for their names, unless --include or --no-filter says otherwise: keys, certificates,
  key rings and shell histories, and what editors leave behind. This takes /etc/pki/tls/cert.pem
  and Debian's /etc/apt key rings as well; what was left out is said. Certificates come back with
  --include /etc/pki/tls,/etc/ssl/certs for instance.
  The private key of -k is never in the image, whatever its name, nor is ami-factory's own state.
  With --all other file systems are taken in, but none that live in memory (tmpfs, proc, ...).
  Root bundles any volume; others their own trees, which then belong to root in the image.
  A volume that is neither ext2, ext3 nor ext4 becomes ext3: look at its fstab and its initrd.
  --script gets a tree that it may change; the changes go to the image alone.
  With SOURCE_DATE_EPOCH equal trees give equal images.
  Only --partition none is supported.""",
    interrupted="nothing of the image or the bundle is left: run it again",
)


def main() -> None:
    """The program ec2-bundle-vol."""
    enter(COMMAND)
