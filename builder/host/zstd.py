"""Zstandard, which Python 3.11 has nothing of its own for, by the zstd program."""

from builder.errors import BuilderError
from builder.host import process

LIMIT = 512 * 1024**2


def unpack(data: bytes) -> bytes:
    """All that is in `data`, at most 512 MiB. BuilderError if it is damaged or holds more."""
    zstd = process.require("zstd", "zstd")
    packed = process.run(
        ["sh", "-c", '"$1" --decompress --stdout --quiet | head -c "$2"', "sh", zstd, str(LIMIT + 1)],
        stdin=data,
        capture=True,
    )
    if packed.stderr or not packed.stdout:
        raise BuilderError("damaged zstd data", detail=packed.stderr.decode(errors="replace").strip())
    if len(packed.stdout) > LIMIT:
        raise BuilderError(f"zstd data unpacks to more than {LIMIT >> 20} MiB")
    return packed.stdout
