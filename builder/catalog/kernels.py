"""Kernels: how an image boots, read from kernels/NAME.toml."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builder.canonical import digest_of
from builder.errors import RecipeError


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Pv(_Table):
    """Booting as a paravirtual guest, through PV-GRUB."""

    loader: str = "pv-grub-hd0"
    payloads: tuple[str, ...] = ("gzip", "none")
    menu: str = "/boot/grub/menu.lst"
    grub_root: str = "(hd0)"
    disks: Literal["sd", "xvd"] = "xvd"
    command_line: str = "ro console=hvc0"
    unsupported: dict[str, str] = Field(default_factory=dict)


class Filesystem(_Table):
    """What the loader can read: mke2fs -O by file system, and the inode size."""

    ext3: str = ""
    ext4: str = ""
    inode_size: Annotated[int, Field(ge=128, le=1024)] = 256


class Kernel(_Table):
    """One file under kernels/."""

    name: str
    description: str = ""
    initrd: Literal["initramfs-tools", "dracut"]
    modules: tuple[str, ...]
    packages: dict[str, tuple[str, ...]]
    pv: Pv = Pv()
    filesystem: Filesystem = Filesystem()
    aki: dict[str, dict[str, str]] = Field(default_factory=dict)

    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json"))

    def features(self, filesystem: str) -> str:
        return str(getattr(self.filesystem, filesystem))


def load_kernel(directory: Path, name: str) -> Kernel:
    """Read kernels/NAME.toml; RecipeError names the file and key, or the kernels that there are."""
    path = directory / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return Kernel.model_validate({"name": name, **table}, strict=False)
    except FileNotFoundError:
        known = ", ".join(sorted(each.stem for each in directory.glob("*.toml"))) or "none"
        raise RecipeError(f'kernel: "{name}" is not a file under {directory}', hint=f"there are: {known}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from None
    except ValidationError as error:
        found = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise RecipeError(found[0], detail="\n".join(found[1:])) from None
