"""libext2fs again, for reading: the inodes, names, contents and attributes of a file system that somebody else made.

Prototypes: ext2fs/ext2fs.h and ext2_fs.h of e2fsprogs 1.47.0. The library is C, and the file system may be hostile: run
this in a process of its own.
"""

import ctypes
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from builder.errors import BuilderError, HostError
from builder.host.ext_image import Place

ROOT = 2
_64BITS = 0x20000
_INODE = 256
_FAST_SYMLINK = 60
_PIECE = 1 << 20
_Handle = ctypes.c_void_p
_OnName = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, _Handle
)
_OnAttribute = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, _Handle)
_FUNCTIONS: Mapping[str, Sequence[type]] = {
    "open2": (
        ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_uint, _Handle, ctypes.c_void_p,
    ),
    "close_free": (ctypes.c_void_p,),
    "read_inode_full": (_Handle, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_int),
    "dir_iterate2": (_Handle, ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p, _OnName, ctypes.c_void_p),
    "file_open2": (_Handle, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p),
    "file_read": (_Handle, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p),
    "file_close": (_Handle,),
    "xattrs_open": (_Handle, ctypes.c_uint32, ctypes.c_void_p),
    "xattrs_read": (_Handle,),
    "xattrs_iterate": (_Handle, _OnAttribute, ctypes.c_void_p),
    "xattrs_close": (ctypes.c_void_p,),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An inode, as far as a guest sees it."""

    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    links: int
    blocks: bytes = field(repr=False)
    """i_block: what a short symbolic link and a device have their meaning in."""

    @property
    def device(self) -> str:
        """`major:minor`, of the old form or the new one (fs/ext4/inode.c)."""
        old, new = struct.unpack_from("<II", self.blocks)
        if old:
            return f"{old >> 8 & 0xFF}:{old & 0xFF}"
        return f"{new >> 8 & 0xFFF}:{new & 0xFF | new >> 12 & 0xFFF00}"


class Reader:
    """An open file system. `reading` makes one. Every method raises BuilderError for what is damaged."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._library = library
        self._handle = handle
        self._buffer = ctypes.create_string_buffer(_PIECE)

    def node(self, number: int) -> Node:
        data = ctypes.create_string_buffer(_INODE)
        self._call("read_inode_full", number, data, 128)
        mode, uid, low, _, _, mtime, _, gid, links = struct.unpack_from("<HHIIIiIHH", data)
        (high,) = struct.unpack_from("<I", data, 108)
        uid_high, gid_high = struct.unpack_from("<HH", data, 120)
        return Node(
            mode=mode,
            uid=uid | uid_high << 16,
            gid=gid | gid_high << 16,
            size=low | high << 32,
            mtime=mtime,
            links=links,
            blocks=data.raw[40:100],
        )

    def names(self, directory: int) -> list[tuple[bytes, int]]:
        """The names in a directory but its own two, each with its inode."""
        found: list[tuple[bytes, int]] = []

        def on_name(_dir: int, _which: int, entry: int, _at: int, _size: int, _block: int, _private: int) -> int:
            number, _, length = struct.unpack("<IHB", ctypes.string_at(entry, 7))
            name = ctypes.string_at(entry + 8, length)
            if name not in (b".", b".."):
                found.append((name, number))
            return 0

        self._call("dir_iterate2", directory, 0, None, _OnName(on_name), None)
        return found

    def content(self, number: int) -> Iterator[memoryview]:
        """A file's bytes; each piece is valid until the next is asked for."""
        file, got = ctypes.c_void_p(), ctypes.c_uint()
        self._call("file_open2", number, None, 0, ctypes.byref(file))
        try:
            view = memoryview(self._buffer).cast("B")
            while True:
                _checked(self._library, "file_read", file, self._buffer, _PIECE, ctypes.byref(got))
                if not got.value:
                    return
                yield view[: got.value]
        finally:
            self._library.ext2fs_file_close(file)

    def target(self, number: int, node: Node) -> bytes:
        """Where a symbolic link points."""
        if 0 < node.size < _FAST_SYMLINK:
            return node.blocks[: node.size]
        return b"".join(bytes(piece) for piece in self.content(number))

    def attributes(self, number: int) -> dict[str, bytes]:
        """Extended attributes, as the file system holds them."""
        found: dict[str, bytes] = {}

        def on_attribute(name: bytes, value: int | None, length: int, _private: int) -> int:
            found[name.decode(errors="surrogateescape")] = ctypes.string_at(value, length) if value else b""
            return 0

        handle = ctypes.c_void_p()
        self._call("xattrs_open", number, ctypes.byref(handle))
        try:
            _checked(self._library, "xattrs_read", handle)
            _checked(self._library, "xattrs_iterate", handle, _OnAttribute(on_attribute), None)
        finally:
            self._library.ext2fs_xattrs_close(ctypes.byref(handle))
        return found

    def _call(self, name: str, *arguments: object) -> None:
        _checked(self._library, name, self._handle, *arguments)


@contextmanager
def reading(place: Place) -> Iterator[Reader]:
    """A file system, opened to be read only. BuilderError when it is none of ext2, ext3 and ext4."""
    library = _load()
    handle = ctypes.c_void_p()
    manager = ctypes.c_void_p.in_dll(library, "unix_io_manager")
    options = f"offset={place.offset}".encode() if place.offset else None
    _checked(library, "open2", os.fsencode(place.file), options, _64BITS, 0, 0, manager, ctypes.byref(handle))
    try:
        yield Reader(library, handle)
    finally:
        library.ext2fs_close_free(ctypes.byref(handle))


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libext2fs.so.2")
    except OSError as error:
        raise HostError("libext2fs.so.2 cannot be loaded", detail=str(error), hint="install e2fsprogs") from None
    for name, arguments in _FUNCTIONS.items():
        function = getattr(library, f"ext2fs_{name}")
        function.restype, function.argtypes = ctypes.c_long, arguments
    return library


def _checked(library: ctypes.CDLL, name: str, *arguments: object) -> None:
    function: Callable[..., int] = getattr(library, f"ext2fs_{name}")
    if number := function(*arguments):
        raise BuilderError("the file system is damaged", detail=f"ext2fs_{name} answered {number}")
