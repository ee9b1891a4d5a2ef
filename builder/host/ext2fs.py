"""libext2fs, e2fsprogs' own library, as far as a tree is written with it: it keeps bitmaps, counts and checksums right.

Prototypes: ext2fs/ext2fs.h of e2fsprogs 1.47.0. Which inodes and blocks are used is for the caller to say.
"""

import ctypes
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from builder.errors import BuilderError, HostError
from builder.formats.ext_format import EXTENTS, Inode, format_inode
from builder.formats.placement import Run
from builder.host.ext_image import Place

_RW, _64BITS = 0x1, 0x20000
_BMAP_ALLOC, _BMAP_SET = 1, 2
_INSERT_AFTER = 1
_LONGEST_EXTENT = 32768


class _Extent(ctypes.Structure):
    _fields_ = (
        ("physical", ctypes.c_uint64),
        ("logical", ctypes.c_uint64),
        ("length", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


_Handle = ctypes.c_void_p
_Block = ctypes.c_uint64
_Number = ctypes.c_uint32
_Allocate = ctypes.CFUNCTYPE(ctypes.c_long, _Handle, _Block, ctypes.POINTER(_Block))
_FUNCTIONS: Mapping[str, tuple[type | None, Sequence[type]]] = {
    "open2": (
        ctypes.c_long,
        (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_uint, _Handle, ctypes.c_void_p),
    ),
    "read_bitmaps": (ctypes.c_long, (_Handle,)),
    "close_free": (ctypes.c_long, (ctypes.c_void_p,)),
    "write_inode_full": (ctypes.c_long, (_Handle, _Number, ctypes.c_char_p, ctypes.c_int)),
    "inode_alloc_stats2": (None, (_Handle, _Number, ctypes.c_int, ctypes.c_int)),
    "block_alloc_stats_range": (None, (_Handle, _Block, _Number, ctypes.c_int)),
    "set_alloc_block_callback": (None, (_Handle, _Allocate, ctypes.c_void_p)),
    "bmap2": (
        ctypes.c_long,
        (_Handle, _Number, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, _Block, ctypes.c_void_p, ctypes.c_void_p),
    ),
    "extent_open2": (ctypes.c_long, (_Handle, _Number, ctypes.c_char_p, ctypes.c_void_p)),
    "extent_insert": (ctypes.c_long, (_Handle, ctypes.c_int, ctypes.c_void_p)),
    "extent_free": (None, (_Handle,)),
    "write_dir_block4": (ctypes.c_long, (_Handle, _Block, ctypes.c_char_p, ctypes.c_int, _Number)),
    "xattrs_open": (ctypes.c_long, (_Handle, _Number, ctypes.c_void_p)),
    "xattr_set": (ctypes.c_long, (_Handle, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)),
    "xattrs_close": (ctypes.c_long, (ctypes.c_void_p,)),
}


class FileSystem:
    """An open file system. `opened` makes one."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p, inode_size: int) -> None:
        self._library = library
        self._handle = handle
        self._inode_size = inode_size
        self._spare: Iterator[int] = iter(())
        self._callback = _Allocate(self._allocate)
        library.ext2fs_set_alloc_block_callback(handle, self._callback, None)

    def write_inode(self, number: int, inode: Inode, mapped: Sequence[tuple[int, Run]], spare: Iterator[int]) -> None:
        """An inode with its blocks: (block of the file, where they are). Its map takes what it needs from `spare`."""
        self._spare = spare
        data = ctypes.create_string_buffer(format_inode(inode, self._inode_size), self._inode_size)
        self._call("write_inode_full", number, data, self._inode_size)
        if inode.flags & EXTENTS:
            self._map_extents(number, data, mapped)
        else:
            self._map_blocks(number, data, mapped)

    def use_inode(self, number: int, *, directory: bool) -> None:
        """It was free before."""
        self._library.ext2fs_inode_alloc_stats2(self._handle, number, 1, int(directory))

    def use_blocks(self, run: Run) -> None:
        """They were free before."""
        self._library.ext2fs_block_alloc_stats_range(self._handle, run.start, run.length, 1)

    def write_directory_block(self, number: int, block: int, data: bytes) -> None:
        """Its checksum is filled in."""
        self._call("write_dir_block4", block, ctypes.create_string_buffer(data, len(data)), 0, number)

    def set_attributes(self, number: int, attributes: Mapping[str, bytes], spare: Iterator[int]) -> None:
        """Extended attributes; what does not fit into the inode takes a block from `spare`."""
        self._spare = spare
        handle = ctypes.c_void_p()
        self._call("xattrs_open", number, ctypes.byref(handle))
        try:
            for name, value in sorted(attributes.items()):
                self._check("xattr_set", handle, name.encode(), value, len(value))
        finally:
            self._check("xattrs_close", ctypes.byref(handle))

    def block_of(self, number: int, logical: int) -> int:
        """Where a block of a file is."""
        found = _Block()
        self._call("bmap2", number, None, None, 0, logical, None, ctypes.byref(found))
        return found.value

    def _map_extents(self, number: int, data: ctypes.Array[ctypes.c_char], mapped: Iterable[tuple[int, Run]]) -> None:
        handle = ctypes.c_void_p()
        self._call("extent_open2", number, data, ctypes.byref(handle))
        try:
            for logical, run in mapped:
                for done in range(0, run.length, _LONGEST_EXTENT):
                    length = min(_LONGEST_EXTENT, run.length - done)
                    extent = _Extent(run.start + done, logical + done, length, 0)
                    self._check("extent_insert", handle, _INSERT_AFTER, ctypes.byref(extent))
        finally:
            self._library.ext2fs_extent_free(handle)

    def _map_blocks(self, number: int, data: ctypes.Array[ctypes.c_char], mapped: Iterable[tuple[int, Run]]) -> None:
        for logical, run in mapped:
            for done in range(run.length):
                block = _Block(run.start + done)
                flags = _BMAP_ALLOC | _BMAP_SET
                self._call("bmap2", number, data, None, flags, logical + done, None, ctypes.byref(block))

    def _allocate(self, _handle: int, _goal: int, block: "ctypes._Pointer[ctypes.c_uint64]") -> int:
        found = next(self._spare, None)
        if found is None:
            return errno.ENOSPC
        block[0] = found
        return 0

    def _call(self, name: str, *arguments: object) -> None:
        self._check(name, self._handle, *arguments)

    def _check(self, name: str, *arguments: object) -> None:
        _checked(self._library, name, *arguments)


@contextmanager
def opened(place: Place, *, inode_size: int, epoch: int) -> Iterator[FileSystem]:
    """A file system to write to, which nobody else has open. Its time of writing will be `epoch`."""
    library = _load()
    handle = ctypes.c_void_p()
    manager = ctypes.c_void_p.in_dll(library, "unix_io_manager")
    options = f"offset={place.offset}".encode() if place.offset else None
    with _clock(epoch):
        name, flags = os.fsencode(place.file), _RW | _64BITS
        _checked(library, "open2", name, options, flags, 0, 0, manager, ctypes.byref(handle))
        try:
            _checked(library, "read_bitmaps", handle)
            yield FileSystem(library, handle, inode_size)
        finally:
            _checked(library, "close_free", ctypes.byref(handle))


@contextmanager
def _clock(epoch: int) -> Iterator[None]:
    """The library asks the environment for the time when it opens (lib/ext2fs/openfs.c)."""
    before = os.environ.get("E2FSPROGS_FAKE_TIME")
    os.environ["E2FSPROGS_FAKE_TIME"] = str(epoch)
    try:
        yield
    finally:
        if before is None:
            del os.environ["E2FSPROGS_FAKE_TIME"]
        else:
            os.environ["E2FSPROGS_FAKE_TIME"] = before


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libext2fs.so.2")
    except OSError as error:
        raise HostError("libext2fs.so.2 cannot be loaded", detail=str(error), hint="install e2fsprogs") from None
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, f"ext2fs_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def _checked(library: ctypes.CDLL, name: str, *arguments: object) -> None:
    function: Callable[..., int] = getattr(library, f"ext2fs_{name}")
    if number := function(*arguments):
        raise BuilderError("the file system could not be written", detail=f"ext2fs_{name} answered {number}")
