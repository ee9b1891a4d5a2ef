import io
import itertools
import tarfile
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.formats import tar_member, tar_sparse
from builder.formats.tar_reader import read_image
from builder.formats.tar_sparse import TarError
from tests.support.tars import END, archive, extension, header, member, octal, old_sparse, padded, pairs, pax

BODY = bytes(range(256)) * 5


class Sink:
    """Keeps the image, and holds what a sink may rely on."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.writes: list[tuple[int, int]] = []

    def write(self, offset: int, data: memoryview) -> None:
        assert offset >= len(self.data), "not ascending"
        self.data += bytes(offset - len(self.data)) + data
        self.writes.append((offset, len(data)))


def pieces(stream: bytes, step: int = 1 << 20) -> Iterator[bytes]:
    return (stream[at : at + step] for at in range(0, len(stream), step))


def image_of(stream: bytes, size: int, step: int = 1 << 20) -> bytes:
    sink = Sink()
    rest = pieces(stream, step)
    read_image(rest, size, sink)
    assert next(rest, None) is None, "not read to its end"
    assert len(sink.data) <= size
    return bytes(sink.data).ljust(size, b"\0")


def refused(stream: bytes, size: int = len(BODY)) -> str:
    with pytest.raises(TarError) as caught:
        image_of(stream, size)
    return caught.value.brief


# What is read.


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(archive(BODY), id="gnu"),
        pytest.param(archive(BODY, magic=b"ustar\x0000"), id="ustar"),
        pytest.param(archive(BODY, magic=b"", kind=b"\0"), id="v7"),
        pytest.param(archive(BODY, size=b"\x80" + len(BODY).to_bytes(11, "big")), id="base-256"),
        pytest.param(archive(BODY, size=b"%11o " % len(BODY)), id="blanks-before-and-after"),
        pytest.param(archive(BODY, size=b"%012o" % len(BODY)), id="digits-to-the-end"),
        pytest.param(archive(BODY, name=b"n" * 100), id="name-without-nul"),
        pytest.param(archive(BODY, name=b"\xe9t\xe9", magic=b"ustar\x0000", at={345: b"pre/fix"}), id="prefix"),
        pytest.param(archive(BODY, name=b"./disk.img"), id="name-from-here"),
        pytest.param(member(BODY) + END, id="no-padding"),
        pytest.param(member(BODY) + END + bytes(3), id="padding-of-any-length"),
        pytest.param(member(b"x" * 300 + b"\0", kind=b"L", name=b"././@LongLink") + archive(BODY), id="long-name"),
        pytest.param(pax((b"path", b"y" * 300), (b"mtime", b"1.5")) + archive(BODY), id="pax-path"),
        pytest.param(pax((b"size", b"1280")) + archive(BODY, size=0), id="pax-size"),
        pytest.param(pax((b"comment", b"one\ntwo"), kind=b"g") + archive(BODY), id="pax-global"),
    ],
)
@pytest.mark.parametrize("step", [1, 511, 513, 1 << 20])
def test_reads(stream: bytes, step: int) -> None:
    assert image_of(stream, len(BODY), step) == BODY


def test_reads_a_signed_checksum() -> None:
    block = bytearray(header(name=b"\xe9t\xe9", size=len(BODY)))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(byte - 256 if byte > 127 else byte for byte in block)
    assert image_of(bytes(block) + padded(BODY) + END, len(BODY)) == BODY


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 10240])
def test_reads_what_python_writes(form: int, size: int) -> None:
    stream = io.BytesIO()
    content = b"z" * size
    with tarfile.open(fileobj=stream, mode="w", format=form) as written:
        info = tarfile.TarInfo("disk.img" if form == tarfile.USTAR_FORMAT else "disk.img" * 30)
        info.size = size
        info.mtime = 1.25
        written.addfile(info, io.BytesIO(content))
    assert image_of(stream.getvalue(), size) == content


def test_reads_what_our_writer_writes_beyond_8_gib() -> None:
    """Sizes that need base-256; of the data only the amount is looked at."""
    size = 10 << 30
    zeros = bytes(1 << 20)
    seen = 0

    class Count:
        def write(self, offset: int, data: memoryview) -> None:
            nonlocal seen
            assert offset == seen
            seen += len(data)

    stream = itertools.chain(
        (tar_member.format_header("disk.img", size),),
        itertools.repeat(zeros, size // len(zeros)),
        (bytes(tar_member.padding_after(size)),),
    )
    read_image(stream, size, Count())
    assert seen == size


# Sparse files: the image is b"A" * 512, a hole, b"B" * 512, a hole.

PARTS = b"A" * 512 + b"B" * 512
SPARSE = b"A" * 512 + bytes(7680) + b"B" * 512 + bytes(3584)
REAL = len(SPARSE)
MAP = ((0, 512), (8192, 512), (REAL, 0))


def numbers(*values: int) -> bytes:
    return padded(b"".join(b"%d\n" % value for value in values))


def pax_0_0(*extents: tuple[int, int], size: int = REAL, blocks: int | None = None) -> bytes:
    entries = itertools.chain.from_iterable(
        ((b"GNU.sparse.offset", b"%d" % offset), (b"GNU.sparse.numbytes", b"%d" % length)) for offset, length in extents
    )
    count = len(extents) if blocks is None else blocks
    return pax((b"GNU.sparse.size", b"%d" % size), (b"GNU.sparse.numblocks", b"%d" % count), *entries)


def pax_0_1(text: bytes, size: int = REAL, blocks: int = 3) -> bytes:
    return pax(
        (b"GNU.sparse.size", b"%d" % size),
        (b"GNU.sparse.numblocks", b"%d" % blocks),
        (b"GNU.sparse.name", b"disk.img"),
        (b"GNU.sparse.map", text),
    )


def pax_1_0(size: int = REAL, minor: bytes = b"0") -> bytes:
    return pax(
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", minor),
        (b"GNU.sparse.name", b"disk.img"),
        (b"GNU.sparse.realsize", b"%d" % size),
    )


QUARTERS = ((0, 128), (128, 128), (256, 128), (384, 128))  # as many as a header holds
FLAT = tuple(itertools.chain.from_iterable(MAP))


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(old_sparse(REAL, MAP, 1024) + PARTS + END, id="old"),
        pytest.param(old_sparse(REAL, QUARTERS, 1024, extension(*MAP[1:])) + PARTS + END, id="old-extended"),
        pytest.param(pax_0_0(*MAP) + archive(PARTS), id="0.0"),
        pytest.param(pax_0_1(b"0,512,8192,512,12288,0") + archive(PARTS), id="0.1"),
        pytest.param(pax_1_0() + archive(numbers(3, *FLAT) + PARTS), id="1.0"),
    ],
)
@pytest.mark.parametrize("step", [7, 1 << 20])
def test_reads_sparse_files(stream: bytes, step: int) -> None:
    assert image_of(stream, REAL, step) == SPARSE


def test_a_hole_is_not_written() -> None:
    sink = Sink()
    read_image(iter([old_sparse(REAL, MAP, 1024) + PARTS + END]), REAL, sink)
    assert sink.writes == [(0, 512), (8192, 512)]


def test_a_file_that_is_one_hole() -> None:
    assert image_of(old_sparse(1 << 20, ((1 << 20, 0),), 0) + END, 1 << 20) == bytes(1 << 20)
    assert image_of(old_sparse(1 << 20, (), 0) + END, 1 << 20) == bytes(1 << 20)


@settings(max_examples=100, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 9000), min_size=1, max_size=80),
    form=st.sampled_from(["old", "0.0", "0.1", "1.0"]),
    step=st.integers(1, 5000),
)
def test_every_map_in_every_format(cuts: list[int], form: str, step: int) -> None:
    """Data and holes by turns."""
    extents, image, stored = [], bytearray(), bytearray()
    for number, length in enumerate(cuts):
        if number % 2:
            image += bytes(length)
            continue
        data = bytes([number % 255 + 1]) * length
        extents.append((len(image), length))
        image += data
        stored += data
    extents.append((len(image), 0))
    flat = tuple(itertools.chain.from_iterable(extents))
    if form == "old":
        rest = [extents[at : at + 21] for at in range(4, len(extents), 21)]
        blocks = [extension(*each, more=number < len(rest)) for number, each in enumerate(rest, start=1)]
        stream = old_sparse(len(image), tuple(extents[:4]), len(stored), *blocks) + padded(bytes(stored)) + END
    elif form == "0.0":
        stream = pax_0_0(*extents, size=len(image)) + archive(bytes(stored))
    elif form == "0.1":
        stream = pax_0_1(b",".join(b"%d" % n for n in flat), len(image), len(extents)) + archive(bytes(stored))
    else:
        stream = pax_1_0(len(image)) + archive(numbers(len(extents), *flat) + bytes(stored))
    assert image_of(stream, len(image), step) == bytes(image)


# What is refused.


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        pytest.param(archive(BODY, name=b"../x"), "points out of its directory", id="up"),
        pytest.param(archive(BODY, name=b"a/../../x"), "points out of its directory", id="up-within"),
        pytest.param(archive(BODY, name=b"/etc/passwd"), "points out of its directory", id="absolute"),
        pytest.param(archive(BODY, name=b""), "points out of its directory", id="no-name"),
        pytest.param(archive(BODY, name=b"d/"), "points out of its directory", id="name-of-a-directory"),
        pytest.param(
            archive(BODY, name=b"x", magic=b"ustar\x0000", at={345: b"/etc"}),
            "points out of its directory",
            id="absolute-by-prefix",
        ),
        pytest.param(pax((b"path", b"../x")) + archive(BODY), "points out of its directory", id="up-by-pax"),
        pytest.param(pax((b"path", b"a\0b")) + archive(BODY), "points out of its directory", id="nul-in-pax-path"),
        pytest.param(
            member(b"/x\0", kind=b"L", name=b"././@LongLink") + archive(BODY),
            "points out of its directory",
            id="absolute-by-long-name",
        ),
        pytest.param(
            pax((b"GNU.sparse.name", b"/x"), (b"GNU.sparse.size", b"0")) + archive(BODY),
            "points out of its directory",
            id="absolute-by-sparse-name",
        ),
        pytest.param(header(kind=b"1", link=b"/etc/passwd") + END, "a hard link", id="hard-link"),
        pytest.param(header(kind=b"2", link=b"/etc/passwd") + END, "a symbolic link", id="symlink"),
        pytest.param(header(kind=b"3") + END, "a character device", id="character-device"),
        pytest.param(header(kind=b"4") + END, "a block device", id="block-device"),
        pytest.param(header(kind=b"5", name=b"d") + END, "a directory", id="directory"),
        pytest.param(header(kind=b"6") + END, "a fifo", id="fifo"),
        pytest.param(archive(BODY, kind=b"7"), "a contiguous file", id="contiguous"),
        pytest.param(archive(BODY, kind=b"M"), "a piece of a file", id="multi-volume"),
        pytest.param(archive(BODY, kind=b"V"), "a volume label", id="label"),
        pytest.param(member(b"x\0", kind=b"K") + archive(BODY), "a link with a long target", id="long-link"),
        pytest.param(archive(BODY, kind=b"?"), "something, not a regular file", id="unknown-kind"),
        pytest.param(member(BODY) + archive(BODY), "a second member", id="second-member"),
        pytest.param(archive(BODY) + archive(BODY), "goes on after its end", id="second-archive"),
        pytest.param(member(BODY) + END + b"x", "goes on after its end", id="byte-after-the-end"),
        pytest.param(member(BODY) + END + bytes(3 << 20) + b"x", "goes on after its end", id="byte-long-after-the-end"),
        pytest.param(member(BODY) + bytes(512) + b"x" * 512, "two blocks of zeros", id="lone-block-of-zeros"),
        pytest.param(member(BODY) + bytes(512), "ends early", id="one-block-of-zeros"),
        pytest.param(member(BODY), "ends early", id="no-end"),
        pytest.param(member(BODY)[:-1], "ends early", id="cut-in-the-padding"),
        pytest.param(member(BODY)[:700], "ends early", id="cut-in-the-data"),
        pytest.param(header()[:511], "ends early", id="cut-in-the-header"),
        pytest.param(b"", "ends early", id="nothing"),
        pytest.param(bytes(10240), "the tar stream is empty", id="no-member"),
        pytest.param(archive(BODY, checksum=b"000000\0 "), "its checksum is another", id="checksum"),
        pytest.param(archive(BODY, checksum=b"        "), "checksum is b'", id="no-checksum"),
        pytest.param(archive(BODY, size=b"0000000128x\0"), "size is b'", id="no-number"),
        pytest.param(archive(BODY, size=b"-0000000128\0"), "size is b'", id="minus"),
        pytest.param(archive(BODY, size=b"\xff" * 12), "size is b'", id="negative-base-256"),
        pytest.param(archive(BODY, size=bytes(12)), "size is b'", id="empty-size"),
        pytest.param(archive(BODY + b"x"), "has 1281 bytes, the manifest says 1280", id="longer"),
        pytest.param(archive(BODY[1:]), "has 1279 bytes, the manifest says 1280", id="shorter"),
        pytest.param(archive(BODY, size=1792), "has 1792 bytes", id="lying-size-of-whole-blocks"),
        pytest.param(archive(BODY, size=b"\x80" + b"\x7f" * 11), "bytes, the manifest says", id="huge"),
        pytest.param(pax((b"size", b"9" * 19)) + archive(BODY), "has 9999999999999999999 bytes", id="huge-by-pax"),
        pytest.param(pax((b"size", b"9" * 20)) + archive(BODY), "size is b'", id="too-huge-by-pax"),
        pytest.param(pax((b"size", b"-1")) + archive(BODY), "size is b'", id="negative-by-pax"),
        pytest.param(
            pax((b"size", b"1280"), (b"size", b"1279")) + archive(BODY), "says twice what size is", id="size-twice"
        ),
        pytest.param(member(b"12 path=x\n", kind=b"x") + archive(BODY), "is damaged", id="record-too-long"),
        pytest.param(member(b"3 path=x\n", kind=b"x") + archive(BODY), "is damaged", id="record-too-short"),
        pytest.param(member(b"0 path=x\n", kind=b"x") + archive(BODY), "is damaged", id="record-of-no-length"),
        pytest.param(member(b"-5 path=x\n", kind=b"x") + archive(BODY), "is damaged", id="record-of-negative-length"),
        pytest.param(member(b"9 =valu\n\n", kind=b"x") + archive(BODY), "is damaged", id="record-without-keyword"),
        pytest.param(member(b"7 path\n", kind=b"x") + archive(BODY), "is damaged", id="record-without-value"),
        pytest.param(member(b"path=x\n", kind=b"x") + archive(BODY), "is damaged", id="record-without-length"),
        pytest.param(member(b"9" * 40, kind=b"x") + archive(BODY), "is damaged", id="record-of-digits"),
        pytest.param(header(kind=b"x", size=9 << 20), "more than 8388608", id="extended-header-without-end"),
        pytest.param(pax((b"path", b"x")) * 9 + archive(BODY), "twice what path is", id="pax-headers"),
        pytest.param(
            pax(kind=b"g") * 9 + archive(BODY), "one extended header after another", id="endless-extended-headers"
        ),
    ],
)
def test_refuses(stream: bytes, why: str) -> None:
    assert why in refused(stream)


def with_table(table: bytes, *, real: int = REAL, stored: int = 1024, more: bytes = b"\0") -> bytes:
    fields = {386: table, 482: more, 483: octal(real)}
    return header(kind=b"S", size=stored, at=fields)


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        pytest.param(old_sparse(REAL, ((0, 512), (256, 512)), 1024), "overlaps the one before it", id="overlap"),
        pytest.param(old_sparse(REAL, ((8192, 512), (0, 512)), 1024), "overlaps the one before it", id="descending"),
        pytest.param(old_sparse(REAL, ((0, 512), (REAL, 512)), 1024), "after the file's 12288 bytes", id="beyond-size"),
        pytest.param(old_sparse(REAL + 1, MAP, 1024), "has 12289 bytes", id="other-size"),
        pytest.param(old_sparse(1 << 60, MAP, 1024), "bytes, the manifest says 12288", id="huge"),
        pytest.param(old_sparse(REAL, MAP, 512), "have 1024 bytes, and 512 are stored", id="too-little-stored"),
        pytest.param(old_sparse(REAL, MAP, 1536), "have 1024 bytes, and 1536 are stored", id="too-much-stored"),
        pytest.param(with_table(pairs((0, 512)) + bytes(24) + pairs((8192, 512))), "goes on after its end", id="gap"),
        pytest.param(
            with_table(pairs((0, 512)), more=b"\1") + extension((8192, 512)), "goes on after its end", id="gap-of-block"
        ),
        pytest.param(with_table(b"x" * 24), "an offset of the map of holes is b'xxx", id="no-numbers"),
        pytest.param(with_table(octal(0) + b"\xff" * 12), "a length of the map of holes is", id="negative"),
        pytest.param(
            with_table((b"\x80" + b"\xff" * 11) + octal(1)), "beyond what a file can hold", id="beyond-all-files"
        ),
        pytest.param(
            header(kind=b"S", magic=b"ustar\x0000", size=1024, at={386: pairs(*MAP), 483: octal(REAL)}),
            "a header that knows none",
            id="not-of-gnu",
        ),
        pytest.param(
            pax_0_0(*MAP) + old_sparse(REAL, MAP, 1024), "it is given twice, in two formats", id="old-and-pax"
        ),
        pytest.param(pax_0_0(*MAP, blocks=2) + archive(PARTS), "not as many as it says", id="0.0-count"),
        pytest.param(
            pax((b"GNU.sparse.offset", b"0"), (b"GNU.sparse.offset", b"1")), "an offset has no length", id="0.0-offsets"
        ),
        pytest.param(pax((b"GNU.sparse.numbytes", b"0")), "a length has no offset", id="0.0-length"),
        pytest.param(
            pax((b"GNU.sparse.numblocks", b"0")) + archive(b""), "GNU.sparse.size is missing", id="0.0-without-size"
        ),
        pytest.param(pax((b"GNU.sparse.size", b"0")) + archive(b""), "numblocks is missing", id="0.0-without-count"),
        pytest.param(pax_0_1(b"0,512,8192") + archive(PARTS), "a length of the map of holes is b''", id="0.1-odd"),
        pytest.param(pax_0_1(b"0,512,,") + archive(PARTS), "an offset of the map of holes is b''", id="0.1-empty"),
        pytest.param(pax_0_1(b"0,512,256,512") + archive(PARTS), "overlaps", id="0.1-overlap"),
        pytest.param(pax_0_1(b"0,-512") + archive(PARTS), "is b'-512'", id="0.1-negative"),
        pytest.param(
            pax(
                (b"GNU.sparse.offset", b"0"),
                (b"GNU.sparse.numbytes", b"1"),
                (b"GNU.sparse.map", b"0,1"),
                (b"GNU.sparse.size", b"1"),
                (b"GNU.sparse.numblocks", b"1"),
            )
            + archive(b"x"),
            "it is given twice",
            id="0.0-and-0.1",
        ),
        pytest.param(pax_1_0(minor=b"1") + archive(PARTS), "format 1.1 is not known", id="1.1"),
        pytest.param(
            pax((b"GNU.sparse.major", b"1")) + archive(numbers(0)), "realsize is missing", id="1.0-without-size"
        ),
        pytest.param(
            pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.map", b"0,1")) + archive(numbers(0)),
            "it is given twice",
            id="1.0-and-0.1",
        ),
        pytest.param(pax_1_0() + archive(b"x" * 512 + PARTS), "a number does not end", id="1.0-no-number"),
        pytest.param(pax_1_0() + archive(padded(b"-1\n")), "is b'-1'", id="1.0-negative"),
        pytest.param(pax_1_0() + archive(numbers(9, 0, 512)), "a number does not end", id="1.0-count"),
        pytest.param(
            pax_1_0() + member(b"", size=0) + archive(PARTS), "a number does not end", id="1.0-nothing-stored"
        ),
        pytest.param(pax_1_0() + archive(numbers(1, 0, 512) + PARTS), "have 512 bytes", id="1.0-too-much-stored"),
    ],
)
def test_refuses_wrong_maps(stream: bytes, why: str) -> None:
    assert why in refused(stream + END, REAL)


def test_a_map_of_too_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_sparse, "_EXTENTS_LIMIT", 2)
    assert "more than 2 entries" in refused(old_sparse(REAL, MAP, 1024) + PARTS + END, REAL)


def test_a_map_that_goes_on_for_ever_is_stopped_by_its_own_entries() -> None:
    """Entries of no length at one offset are no progress; they are counted like any."""
    stream = old_sparse(0, ((0, 0),) * 4, 0, *[extension(*[(0, 0)] * 21, more=True)] * 1000)
    assert "ends early" in refused(stream, 0)


def test_a_long_map_takes_little_more_memory_than_its_text() -> None:
    """Cut at its commas all at once, it took twenty times as much."""
    text = b",".join(b"%d,1" % (2 * at) for at in range(50_000))
    tracemalloc.start()
    try:
        assert len(tar_sparse.parse_map(text)) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 4 * len(text)
    finally:
        tracemalloc.stop()


@settings(max_examples=300, deadline=None)
@given(
    stream=st.sampled_from(
        [
            archive(BODY),
            old_sparse(REAL, MAP, 1024) + PARTS + END,
            pax_0_0(*MAP) + archive(PARTS),
            pax_0_1(b"0,512,8192,512,12288,0") + archive(PARTS),
            pax_1_0() + archive(numbers(3, *FLAT) + PARTS),
        ]
    ),
    changes=st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=30)), min_size=1, max_size=4),
    fix=st.booleans(),
)
def test_damage_is_refused_or_harmless(stream: bytes, changes: list[tuple[int, bytes]], fix: bool) -> None:
    """Whatever stands there: an image of the right size, or TarError."""
    damaged = bytearray(stream)
    for at, data in changes:
        damaged[at : at + len(data)] = data
    if fix:  # as an attacker would
        for at in range(0, min(len(damaged) - 511, 2048), 512):
            if any(damaged[at : at + 512]):
                damaged[at + 148 : at + 156] = b" " * 8
                damaged[at + 148 : at + 156] = b"%06o\0 " % sum(damaged[at : at + 512])
    size = len(BODY) if stream == archive(BODY) else REAL
    try:
        assert len(image_of(bytes(damaged), size)) == size
    except BuilderError as error:
        assert isinstance(error, TarError)
