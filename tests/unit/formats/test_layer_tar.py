"""The canonical tar: everything that is written is read back equal, and nothing else is read."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from builder.formats import layer_tar
from builder.formats.layer_tar import Entry, Kind, LayerFormatError, read_entries, write_header

names = some.binary(min_size=1, max_size=120).filter(lambda n: not set(n) & {0, 47} and n not in (b".", b".."))
paths = some.lists(names, min_size=1, max_size=4).map(b"/".join)
targets = some.binary(min_size=1, max_size=200).filter(lambda t: 0 not in t)
xattrs = some.dictionaries(
    some.text(some.characters(codec="utf-8", exclude_characters="=\n\0"), min_size=1, max_size=20).map("user.".__add__),
    some.binary(max_size=50),
    max_size=3,
)
numbers = some.integers(min_value=0, max_value=65534)


@some.composite
def entries(draw: some.DrawFn) -> tuple[Entry, bytes]:
    kind = draw(some.sampled_from(Kind))
    data = draw(some.binary(max_size=1500)) if kind is Kind.FILE else b""
    entry = Entry(
        path=draw(paths),
        kind=kind,
        mode=draw(some.integers(min_value=0, max_value=0o7777)),
        uid=draw(numbers),
        gid=draw(numbers),
        mtime=draw(some.integers(min_value=0, max_value=2**33 - 1)),
        size=len(data),
        target=draw(targets) if kind in (Kind.SYMLINK, Kind.HARD_LINK) else b"",
        xattrs=draw(xattrs),
    )
    return entry, data


def packed(*pairs: tuple[Entry, bytes]) -> bytes:
    sink = io.BytesIO()
    for entry, data in pairs:
        write_header(entry, sink)
        sink.write(data + layer_tar.padding(len(data)))
    return sink.getvalue() + layer_tar.END


def unpacked(layer: bytes) -> list[tuple[Entry, bytes]]:
    found = []
    for entry, copy in read_entries(io.BytesIO(layer)):
        sink = io.BytesIO()
        copy(sink)
        found.append((entry, sink.getvalue()))
    return found


@given(some.lists(entries(), max_size=5, unique_by=lambda pair: pair[0].path))
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read(pairs: list[tuple[Entry, bytes]]) -> None:
    pairs.sort(key=lambda pair: pair[0].path)
    assert unpacked(packed(*pairs)) == pairs
    assert [entry for entry, _ in read_entries(io.BytesIO(packed(*pairs)))] == [entry for entry, _ in pairs]


@given(some.lists(entries(), min_size=1, max_size=3, unique_by=lambda pair: pair[0].path))
@settings(max_examples=100, deadline=None)
def test_python_reads_the_same(pairs: list[tuple[Entry, bytes]]) -> None:
    pairs.sort(key=lambda pair: pair[0].path)
    with tarfile.open(fileobj=io.BytesIO(packed(*pairs))) as archive:
        read = [
            (
                each.name.encode(errors="surrogateescape"),
                each.type,
                each.mode,
                each.uid,
                each.gid,
                each.mtime,
                each.size,
            )
            for each in archive
        ]
    assert read == [
        (entry.path, entry.kind.value, entry.mode, entry.uid, entry.gid, entry.mtime, entry.size) for entry, _ in pairs
    ]


@given(some.data())
@settings(max_examples=200, deadline=None)
def test_damage_is_refused_or_seen(data: some.DataObject) -> None:
    """One changed byte: the reader says no, or gives other entries; it never fails in another way."""
    pair = (Entry(path=b"dir/" + b"n" * 110, kind=Kind.FILE, mode=0o644, size=3, xattrs={"user.a": b"b"}), b"abc")
    layer = bytearray(packed(pair))
    place = data.draw(some.integers(min_value=0, max_value=len(layer) - 1))
    layer[place] ^= data.draw(some.integers(min_value=1, max_value=255))
    try:
        found = unpacked(bytes(layer))
    except LayerFormatError:
        return
    assert found != [pair] or place >= len(layer) - 2048


@given(some.binary(max_size=3000))
@settings(max_examples=100, deadline=None)
def test_noise_is_refused(noise: bytes) -> None:
    if noise == bytes(1024):
        return
    with pytest.raises(LayerFormatError):
        unpacked(noise)


def test_a_size_that_ustar_cannot_say() -> None:
    sink = io.BytesIO()
    entry = Entry(path=b"huge", kind=Kind.FILE, mode=0o644, size=2**33)
    write_header(entry, sink)
    assert b"19 size=8589934592\n" in sink.getvalue()
    assert next(read_entries(io.BytesIO(sink.getvalue())))[0] == entry


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        pytest.param(layer_tar.whiteout(b"a/b"), b"a/.wh.b", id="whiteout"),
        pytest.param(layer_tar.whiteout(b"b"), b".wh.b", id="whiteout at the top"),
        pytest.param(layer_tar.opaque(b"a"), b"a/.wh..wh..opq", id="opaque"),
        pytest.param(layer_tar.opaque(b""), b".wh..wh..opq", id="opaque root"),
    ],
)
def test_marks(entry: Entry, path: bytes) -> None:
    assert (entry.path, entry.kind, entry.size) == (path, Kind.FILE, 0)


@pytest.mark.parametrize("wrong", [{"uid": -1}, {"gid": 2**21}, {"mtime": -1}])
def test_what_no_tar_can_say(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no tar can say"):
        write_header(Entry(path=b"a", kind=Kind.FILE, **wrong), io.BytesIO())
