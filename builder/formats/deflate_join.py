"""Makes of a whole deflate stream one that others can follow.

libdeflate deflates twice as fast as zlib and smaller, but whole streams only. To put another stream after one, the bit
that calls its last block the last has to be cleared, and the end be brought to a byte. Where that block starts, only
inflating tells: zlib's inflate() can stop after every block and say at which bit (Z_BLOCK), which Python's zlib module
does not offer. So zlib is called here directly; it is the library that the module itself is made of.
"""

import ctypes
import functools

from builder.errors import HostError

_Z_OK, _Z_STREAM_END, _Z_BLOCK = 0, 1, 5
# Of z_stream.data_type after Z_BLOCK: the count of bits not used yet, and two flags.
_UNUSED_BITS, _IN_LAST_BLOCK, _AFTER_BLOCK = 7, 64, 128


class _Stream(ctypes.Structure):
    """z_stream of zlib.h, whose layout has been the same since zlib 1.0."""

    _fields_ = (
        ("next_in", ctypes.c_void_p),
        ("avail_in", ctypes.c_uint),
        ("total_in", ctypes.c_ulong),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint),
        ("total_out", ctypes.c_ulong),
        ("msg", ctypes.c_char_p),
        ("state", ctypes.c_void_p),
        ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("data_type", ctypes.c_int),
        ("adler", ctypes.c_ulong),
        ("reserved", ctypes.c_ulong),
    )


def open_ended(packed: bytes | bytearray, length: int) -> bytes:
    """A raw deflate stream of `length` bytes, without its end: another can be put after it. ValueError if it is none.

    An empty stored block brings it to a byte, as zlib's Z_SYNC_FLUSH does.
    """
    data = bytearray(packed)
    start, end = _last_block(data, length)
    data[start // 8] ^= 1 << start % 8
    # Three zero bits begin the stored block; where they do not fit into the last byte they take one more.
    return bytes(data) + (b"\0\0\xff\xff" if -end % 8 >= 3 else b"\0\0\0\xff\xff")


def _last_block(packed: bytearray, length: int) -> tuple[int, int]:
    """The bits where the last block starts and ends."""
    library = _zlib()
    source = (ctypes.c_char * len(packed)).from_buffer(packed)
    room = ctypes.create_string_buffer(length + 1)
    stream = _Stream(
        next_in=ctypes.addressof(source),
        avail_in=len(packed),
        next_out=ctypes.addressof(room),
        avail_out=length + 1,
    )
    if library.inflateInit2_(ctypes.byref(stream), -15, b"1", ctypes.sizeof(_Stream)) != _Z_OK:
        raise MemoryError
    try:
        start = 0
        while True:
            status = library.inflate(ctypes.byref(stream), _Z_BLOCK)
            at = stream.total_in * 8 - (stream.data_type & _UNUSED_BITS)
            if status not in (_Z_OK, _Z_STREAM_END):
                raise ValueError(f"no deflate stream: {status} at bit {at}")
            if stream.data_type & _AFTER_BLOCK:
                if stream.data_type & _IN_LAST_BLOCK:
                    break
                start = at
        if (stream.total_out, -(-at // 8)) != (length, len(packed)):
            raise ValueError(f"the deflate stream is {stream.total_out} bytes in {at} bits")
        return start, at
    finally:
        library.inflateEnd(ctypes.byref(stream))


@functools.cache
def _zlib() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libz.so.1")
    except OSError as error:
        raise HostError("zlib (libz.so.1) is not on this machine", detail=str(error)) from error
