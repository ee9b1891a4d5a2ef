"""What is fuzzed: a reader, what to begin from, and what has to hold of every answer.

A target takes any bytes and returns; BuilderError is an answer, any other exception is a find. Where there is a second
opinion (Python's own gzip and tarfile), what both read must be equal. `python -m tests.fuzz` drives these with atheris;
test_targets.py holds, without it, that they take their own seeds.
"""

import contextlib
import gzip
import io
import itertools
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from builder.errors import BuilderError
from builder.formats import gzip_reader, manifest_reader, tar_reader
from builder.formats.bundle_cipher import SessionKey
from builder.formats.manifest_reader import read_manifest
from builder.formats.unseal import unseal
from tests.support.forged import IV, KEY, Held, encrypt, forge, pack, private_key
from tests.support.tars import END, archive, extension, octal, old_sparse, padded, pax

SIZE = 2048
MAP = ((0, 512), (1024, 512), (SIZE, 0))
DATA = b"A" * 512 + b"B" * 512
STEPS = (7, 512, 1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One reader."""

    one: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


class _Image:
    """Holds what is promised to sinks."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.data = bytearray()

    def write(self, offset: int, data: memoryview) -> None:
        assert len(self.data) <= offset
        assert offset + len(data) <= self.size
        self.data += bytes(offset - len(self.data)) + data

    def whole(self) -> bytes:
        return bytes(self.data).ljust(self.size, b"\0")


def _pieces(data: bytes, step: int) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))


# Tar.


def _tar(data: bytes) -> None:
    """The first byte says in what pieces the rest comes. Checksums are put right, or little would get past them."""
    step, stream = STEPS[data[0] % len(STEPS)] if data else 1, _with_checksums(data[1:])
    image = _Image(SIZE)
    try:
        tar_reader.read_image(_pieces(stream, step), SIZE, image)
    except BuilderError:
        return
    # The second opinion also minds fields that say nothing of the content.
    with contextlib.suppress(tarfile.TarError), tarfile.open(fileobj=io.BytesIO(stream)) as read:
        member = read.next()
        assert member is not None
        file = read.extractfile(member)
        assert file is not None
        assert file.read() == image.whole()


def _with_checksums(stream: bytes) -> bytes:
    fixed = bytearray(stream)
    for at in range(0, min(len(fixed) - 511, 4 * 512), 512):
        if fixed[at + 257 : at + 262] == b"ustar":
            fixed[at + 148 : at + 156] = b" " * 8
            fixed[at + 148 : at + 156] = b"%06o\0 " % sum(fixed[at : at + 512])
    return bytes(fixed)


def _tar_seeds() -> Iterator[bytes]:
    numbers = padded(b"".join(b"%d\n" % each for each in (3, *itertools.chain.from_iterable(MAP))))
    size, count = (b"GNU.sparse.size", b"%d" % SIZE), (b"GNU.sparse.numblocks", b"3")
    entries = itertools.chain.from_iterable(
        ((b"GNU.sparse.offset", b"%d" % at), (b"GNU.sparse.numbytes", b"%d" % length)) for at, length in MAP
    )
    version = ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % SIZE))
    quarters = tuple((at, 128) for at in range(0, 512, 128))
    content = bytes(range(256)) * (SIZE // 256)
    for stream in (
        archive(content),
        archive(content, magic=b"ustar\x0000", at={345: b"prefix"}),
        archive(content, size=b"\x80" + SIZE.to_bytes(11, "big")),
        pax((b"path", b"long" * 50), (b"size", b"%d" % SIZE)) + archive(content, size=octal(0)),
        old_sparse(SIZE, MAP, 1024) + DATA + END,
        old_sparse(SIZE, quarters, 1024, extension(*MAP[1:])) + DATA + END,
        pax(size, count, *entries) + archive(DATA),
        pax(size, count, (b"GNU.sparse.map", b"0,512,1024,512,2048,0")) + archive(DATA),
        pax(*version, (b"GNU.sparse.name", b"disk.img")) + archive(numbers + DATA),
    ):
        for step in range(len(STEPS)):
            yield bytes([step]) + stream


# gzip.


def _gzip(data: bytes) -> None:
    limit = 1 << 16
    step, packed = STEPS[data[0] % len(STEPS)] if data else 1, data[1:]
    try:
        plain = b"".join(gzip_reader.inflate(_pieces(packed, step), limit))
    except BuilderError:
        # igzip and zlib agree on what deflate is, for a stream that is nothing but one member without options.
        if packed[:4] == b"\x1f\x8b\x08\x00":
            with contextlib.suppress(zlib.error, EOFError):
                one = zlib.decompressobj(wbits=31)
                found = one.decompress(packed, limit + 1) + one.flush()
                assert not one.eof or one.unused_data or len(found) > limit, "zlib reads it"
        return
    assert len(plain) <= limit
    with contextlib.suppress(zlib.error):  # which minds codes that igzip takes; the CRC held
        assert gzip.decompress(packed) == plain


def _gzip_seeds() -> Iterator[bytes]:
    text = b"a tar stream " * 20
    for packed in (
        gzip.compress(text, 9, mtime=0),
        gzip.compress(text, 1, mtime=0) + gzip.compress(bytes(9000), mtime=0),
        gzip.compress(text, 0, mtime=0) + bytes(20),
        gzip.compress(b"", mtime=0),
        b"\x1f\x8b\x08\x1c" + bytes(6) + b"\2\0ab" + b"name\0comment\0" + gzip.compress(text)[10:],
    ):
        for step in range(len(STEPS)):
            yield bytes([step]) + packed


# Manifests.


def _manifest(data: bytes) -> None:
    plain = manifest_reader.open_manifest(data, private_key("user"))
    manifest = manifest_reader.read_manifest(plain)
    assert manifest.parts
    assert len({part.filename for part in manifest.parts}) == len(manifest.parts)
    assert all("/" not in part.filename for part in manifest.parts)
    assert isinstance(manifest_reader.objections(plain), tuple)
    assert manifest_reader.signed_bytes(plain) in plain or b"<machine_configuration>" in plain
    manifest_reader.verify_signature(plain, private_key("user").public_key())


def _manifest_seeds() -> Iterator[bytes]:
    plain = forge(b"x", part_size=30).manifest
    yield plain
    yield plain.replace(b"'", b'"')
    yield plain.replace(b"><", b">\n <")
    yield plain.replace(b"<?xml version='1.0'?>", b"<?xml version='1.0' encoding='ASCII'?>\n")
    yield plain.replace(b"<type>", b"<kernel_name>vmlinuz</kernel_name><ancestry/><type>")
    yield plain.replace(
        b"</architecture>",
        b"</architecture><block_device_mapping><mapping><virtual>ami</virtual><device>sda1</device></mapping>"
        b"</block_device_mapping><kernel_id>aki-1</kernel_id><product_codes><product_code>A</product_code>"
        b"</product_codes>",
    )


# All of it.


def _unseal(data: bytes) -> None:
    """The bytes are what was encrypted, cut into parts; the manifest's digests are theirs, so that all depends on the
    streams within. The first two bytes choose the part size and whether a part is damaged."""
    if len(data) < 2:
        return
    part_size, damage, packed = (64, 333, 1 << 20)[data[0] % 3], data[1], data[2:]
    bundle = forge(b"", cipher=encrypt(packed), size=SIZE, part_size=part_size)
    parts = dict(bundle.parts)
    if damage:
        name = sorted(parts)[damage % len(parts)]
        parts[name] = bytes([parts[name][0] ^ damage]) + parts[name][1:]
    image = _Image(SIZE)
    digest = "0" * 40
    with contextlib.suppress(BuilderError):
        manifest = replace(read_manifest(bundle.manifest), digest=digest)
        unseal(manifest, Held(parts, 100), SessionKey(key=KEY, iv=IV), image)
        raise AssertionError("a digest of zeros was found")


def _unseal_seeds() -> Iterator[bytes]:
    for stream in _tar_seeds():
        for start in (b"\0\0", b"\1\0", b"\2\0", b"\0\7"):
            yield start + pack(stream[1:])


def _answered(one: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def act(data: bytes) -> None:
        with contextlib.suppress(BuilderError):
            one(data)

    return act


TARGETS = {
    "manifest": Target(one=_answered(_manifest), seeds=_manifest_seeds),
    "tar": Target(one=_tar, seeds=_tar_seeds),
    "gzip": Target(one=_gzip, seeds=_gzip_seeds),
    "unseal": Target(one=_unseal, seeds=_unseal_seeds),
}
