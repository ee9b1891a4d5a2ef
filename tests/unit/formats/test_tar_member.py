import hashlib
import io
import tarfile

import pytest

from builder.formats import tar_member


@pytest.mark.parametrize(
    ("size", "length", "sha1"),
    [
        pytest.param(512, 10_240, "3f3e3e6dc0b19f41e2c500ff7f723a4ceb462432", id="512"),
        pytest.param(1 << 20, 1_054_720, "9709273bb29fd1f4dfad710b3bda39f8fb6d2c54", id="1MiB"),
        pytest.param(10 << 20, 10_496_000, "f9cab23e5a20d7745114de998f77539159d6b86b", id="10MiB"),
    ],
)
def test_vectors_of_the_reference(size: int, length: int, sha1: str) -> None:
    stream = tar_member.format_header("disk.img", size) + bytes(size + tar_member.padding_after(size))
    assert (len(stream), hashlib.sha1(stream).hexdigest()) == (length, sha1)


def test_checksum_field_of_the_reference() -> None:
    assert tar_member.format_header("disk.img", 1 << 20)[148:156] == b"007327\0 "


@pytest.mark.parametrize("size", [1, 511, 512, 513, 10_240 - 3 * 512, 10_241, 1_234_567])
def test_stream_is_read_back_and_ends_on_a_record(size: int) -> None:
    content = bytes(i % 251 for i in range(size))
    stream = tar_member.format_header("disk.img", size) + content + bytes(tar_member.padding_after(size))
    assert len(stream) % tar_member.RECORD == 0
    assert tar_member.padding_after(size) >= 2 * tar_member.BLOCK
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.size, member.mode, member.mtime, member.uid, member.gid) == (
            "disk.img", size, 0o644, 0, 0, 0
        )  # fmt: skip
        extracted = archive.extractfile(member)
        assert extracted is not None
        assert extracted.read() == content


def test_base_256_from_8_gib_on() -> None:
    assert tar_member.format_header("a", 8 * 1024**3 - 1)[124:136] == b"77777777777\0"
    assert tar_member.format_header("a", 10 * 1024**3)[124:136] == bytes.fromhex("800000000000000280000000")
    assert tarfile.TarInfo.frombuf(tar_member.format_header("a", 10 * 1024**3), "ascii", "strict").size == 10 * 1024**3


@pytest.mark.parametrize("name", ["", "a/b", "../x", "-x", ".x", "a b", "ä", "a" * 101, "a\n"])
def test_names_that_need_escaping_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="member's name"):
        tar_member.format_header(name, 1)
