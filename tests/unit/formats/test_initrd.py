"""Initrds: archives after one another, packed or not, and hostile ones."""

import contextlib
import gzip
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.formats import initrd
from builder.formats.initrd import Entry, format_cpio, read_initrd


def member(name: str, data: bytes = b"", mode: int = 0o100644) -> bytes:
    fields = (1, mode, 0, 0, 1, 7, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def archive(*members: bytes) -> bytes:
    return b"".join(members) + member("TRAILER!!!")


MICROCODE = archive(member("kernel/x86/microcode/AuthenticAMD.bin", b"code!")) + bytes(300)
MAIN = archive(member(".", mode=0o40755), member("./init", b"#!/bin/sh\n", 0o100755), member("usr/x.ko", b"abc"))
OVERLAY = archive(member("late", b"1"))


@pytest.mark.parametrize(
    ("data", "names"),
    [
        pytest.param(MAIN, [".", "init", "usr/x.ko"], id="plain"),
        pytest.param(gzip.compress(MAIN), [".", "init", "usr/x.ko"], id="gzip"),
        pytest.param(
            MICROCODE + gzip.compress(MAIN + bytes(64)) + gzip.compress(OVERLAY),
            ["kernel/x86/microcode/AuthenticAMD.bin", ".", "init", "usr/x.ko", "late"],
            id="microcode-main-overlay",
        ),
        pytest.param(
            MICROCODE + lzma.compress(MAIN) + bytes(4),
            ["kernel/x86/microcode/AuthenticAMD.bin", ".", "init", "usr/x.ko"],
            id="xz",
        ),
        pytest.param(MAIN + OVERLAY, [".", "init", "usr/x.ko", "late"], id="two-plain"),
    ],
)
def test_reads_all_archives(data: bytes, names: list[str]) -> None:
    entries = initrd.read_initrd(data)
    assert [entry.name for entry in entries] == names
    script = next((entry for entry in entries if entry.name == "init"), None)
    assert script == initrd.Entry(name="init", mode=0o100755, mtime=7, data=b"#!/bin/sh\n")


def test_zstd_by_the_given_program() -> None:
    assert len(initrd.read_initrd(MICROCODE + b"\x28\xb5\x2f\xfd...", zstd=lambda data: MAIN)) == 4
    with pytest.raises(BuilderError, match=r"no cpio archive \(zstd\)"):
        initrd.read_initrd(b"\x28\xb5\x2f\xfd...")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(bytes(512), "empty", id="zeros"),
        pytest.param(b"\x7fELF", "at byte 0 that is no cpio archive", id="elf"),
        pytest.param(MICROCODE + b"garbage", "at byte 580 that is no cpio archive", id="garbage-after"),
        pytest.param(MAIN[:200], "damaged at byte|cut short at byte", id="cut"),
        pytest.param(member("x") + b"070701" + b"zz" * 60, "damaged at byte", id="not-hex"),
        pytest.param(b"070701" + b"%08x" % 1 * 6 + b"ffffffff" * 7, "cut short at byte", id="huge-sizes"),
        pytest.param(gzip.compress(MAIN)[:-20], "damaged gzip data", id="gzip-cut"),
        pytest.param(archive() * 100, "more than 64 archives", id="many"),
        pytest.param(gzip.compress(archive() * 100), "more than 64 archives", id="many-packed"),
    ],
)
def test_hostile_initrds_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(BuilderError, match=why):
        initrd.read_initrd(data)


@given(st.binary(max_size=300), st.integers(0, len(MAIN) - 1), st.binary(min_size=1, max_size=8))
def test_no_bytes_make_a_traceback(noise: bytes, at: int, patch: bytes) -> None:
    for data in (noise, MICROCODE + noise, MAIN[:at] + patch + MAIN[at + len(patch) :]):
        with contextlib.suppress(BuilderError):
            initrd.read_initrd(data)


def test_modules_by_name() -> None:
    present = initrd.modules_in(
        ["usr/lib/modules/6.1/kernel/drivers/block/xen-blkfront.ko", "kernel/fs/ext4/ext4.ko.xz", "init", "a.ko.d/x"]
    )
    assert present == {"xen_blkfront", "ext4"}
    assert initrd.missing_modules(("xen-blkfront", "xen-netfront", "ext4"), present) == ("xen-netfront",)


def test_an_archive_that_is_written_can_be_read() -> None:
    entries = [
        Entry(name="dev", mode=0o040755, mtime=0, data=b""),
        Entry(name="dev/console", mode=0o020600, mtime=0, data=b"", device=(5, 1)),
        Entry(name="init", mode=0o100755, mtime=7, data=b"#!/bin/sh\n"),
    ]
    archive = format_cpio(entries)
    assert [(each.name, each.mode, each.mtime, each.data) for each in read_initrd(archive)] == [
        (each.name, each.mode, each.mtime, each.data) for each in entries
    ]
    assert len(archive) % 4 == 0
    assert b"0000000500000001" in archive
