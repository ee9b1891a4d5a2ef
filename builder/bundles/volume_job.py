"""What is asked of the program that makes an image of a volume (volume_inside.py), and what it answers: plain data."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Paths of the volume are relative to its root; names that are no UTF-8 are escaped (os.fsdecode)."""

    volume: str
    image: str
    """To be made; in a directory that only we use."""
    scratch: str
    """An empty directory, to mount things below."""
    size: int
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    filtered: bool = True
    every_file_system: bool = False
    filesystem: str = ""
    """This and the next two: "" for the volume's own."""
    label: str = ""
    uuid: str = ""
    epoch: int | None = None
    """SOURCE_DATE_EPOCH: equal volumes give equal images then."""
    fstab: str | None = None
    generate_fstab: str = ""
    """The architecture that it is for."""
    grub_config: str | None = None
    script: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    """The script's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Some of what is not in the image."""

    why: str
    count: int
    first: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An image."""

    filesystem: str
    label: str
    uuid: str
    needed: int
    """Bytes of the smallest image that would have done."""
    left_out: tuple[LeftOut, ...]
    other_file_systems: tuple[str, ...]
    """Mounted in the volume and not in the image, with their kind."""
    changed: LeftOut
    """Files that were written to while they were read."""
    missing: tuple[str, ...]
    """Included by name, and not there."""
    script_output: str = ""
