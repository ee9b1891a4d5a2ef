"""Bundles that lie: every part, every field of the manifest, the streams within. Each is refused, and nothing is left.

Manifests are signed again after the change, so that it is never the signature that refuses.
"""

import gzip
import hashlib
import random
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.bundles import read
from builder.bundles.directory import DirectorySource
from builder.errors import BuilderError
from tests.support.forged import IV, KEY, NAME, Forged, encrypt, forge, pack, private_key, wrap
from tests.support.tars import END, archive, header, member, octal, old_sparse, pax

ROOT = Path(__file__).parents[3]
CONTENT = random.Random(5).randbytes(2300)
GOOD = forge(CONTENT, part_size=500)
NAMES = tuple(GOOD.parts)


def refused(bundle: Forged, directory: Path) -> str:
    """Why it is; holds that nothing is left, and that reading without writing says the same."""
    parts, out = directory / "bundle", directory / "out"
    for each in (parts, out):
        each.mkdir(exist_ok=True)
    for each in parts.iterdir():
        each.unlink()
    for name, data in bundle.parts.items():
        (parts / name).write_bytes(data)
    key, certificate = private_key("user"), private_key("user").public_key()
    with pytest.raises(BuilderError) as caught:
        read.unbundle(bundle.manifest, DirectorySource(parts), key, out, certificate=certificate)
    assert list(out.iterdir()) == []
    assert {each.name: each.read_bytes() for each in parts.iterdir()} == dict(bundle.parts)
    with pytest.raises(BuilderError) as checked:
        read.check(bundle.manifest, DirectorySource(parts), key, certificate)
    assert checked.value.brief == caught.value.brief
    return caught.value.brief


def test_the_bundle_itself_is_good(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception):
        refused(GOOD, tmp_path)
    assert len(NAMES) >= 4


# Parts.


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)


DAMAGED = "is damaged: its SHA-1 is not the one that the manifest gives"
# Every change, and how the message goes on after the part's name.
CHANGES: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "missing": (lambda data: None, "is missing"),
    "empty": (lambda data: b"", "is truncated: it has 0 bytes"),
    "truncated": (lambda data: data[:-1], "is truncated"),
    "without-its-first-byte": (lambda data: data[1:], "is truncated"),
    "extended": (lambda data: data + b"\0", "is extended"),
    "doubled": (lambda data: data + data, "is extended"),
    "first-bit-flipped": (lambda data: flipped(data, 0), DAMAGED),
    "middle-bit-flipped": (lambda data: flipped(data, len(data) // 2), DAMAGED),
    "last-bit-flipped": (lambda data: flipped(data, -1), DAMAGED),
    "zeros": (lambda data: bytes(len(data)), DAMAGED),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_part(name: str, change: str, tmp_path: Path) -> None:
    act, why = CHANGES[change]
    data = act(GOOD.parts[name])
    parts = {each: data if each == name else GOOD.parts[each] for each in NAMES}
    brief = refused(replace(GOOD, parts={each: held for each, held in parts.items() if held is not None}), tmp_path)
    assert brief.startswith(f"part {name} {why}")


@pytest.mark.parametrize("one", range(len(NAMES) - 1))
@pytest.mark.parametrize("other", [-1, -2])
def test_parts_swapped(one: int, other: int, tmp_path: Path) -> None:
    first, second = NAMES[one], NAMES[other]
    if first == second:
        pytest.skip("one and the same")
    parts = {**GOOD.parts, first: GOOD.parts[second], second: GOOD.parts[first]}
    brief = refused(replace(GOOD, parts=parts), tmp_path)
    assert brief == f"part {min(first, second)} holds what belongs in {max(first, second)}"


def test_a_part_in_the_place_of_another(tmp_path: Path) -> None:
    brief = refused(replace(GOOD, parts={**GOOD.parts, NAMES[1]: GOOD.parts[NAMES[0]]}), tmp_path)
    assert brief == f"part {NAMES[1]} holds what belongs in {NAMES[0]}"


def test_all_parts_of_another_bundle(tmp_path: Path) -> None:
    """As after a second build under the same name: fresh keys, stale manifest."""
    other = forge(CONTENT, cipher=encrypt(pack(archive(CONTENT)), key=IV, iv=KEY), part_size=500)
    assert refused(replace(GOOD, parts=other.parts), tmp_path) == f"part {NAMES[0]} {DAMAGED}"


def test_no_part_at_all(tmp_path: Path) -> None:
    assert refused(replace(GOOD, parts={}), tmp_path) == (
        f"part {NAMES[0]} is missing ({len(NAMES)} of {len(NAMES)} parts are)"
    )


# Fields of the manifest.


def edit(pattern: str, new: str, count: int = 1) -> Callable[[str], str]:
    def act(text: str) -> str:
        changed, found = re.subn(pattern, new, text, count=count)
        assert found
        return changed

    return act


def element(tag: str, new: str) -> Callable[[str], str]:
    return edit(rf"(<{tag}[^>]*>)[^<]*<", rf"\g<1>{new}<")


SHA1 = hashlib.sha1(b"something else").hexdigest()
LENGTH = sum(map(len, GOOD.parts.values()))
FIELDS: dict[str, tuple[Callable[[str], str], str]] = {
    "name-up": (element("name", "../disk.img"), "name"),
    "name-absolute": (element("name", "/etc/passwd"), "name"),
    "name-empty": (element("name", ""), "name"),
    "user": (element("user", "12345678901"), "user"),
    "type": (element("type", "floppy"), "type"),
    "digest": (element("digest", SHA1), f"the manifest says {SHA1}"),
    "digest-short": (element("digest", SHA1[1:]), "digest"),
    "digest-of-another-kind": (edit("<digest algorithm='SHA1'", "<digest algorithm='MD5'"), "algorithm"),
    "size-less": (element("size", str(len(CONTENT) - 1)), f"the manifest says {len(CONTENT) - 1}"),
    "size-more": (element("size", str(len(CONTENT) + 1)), f"the manifest says {len(CONTENT) + 1}"),
    "size-zero": (element("size", "0"), "0 bytes"),
    "size-huge": (element("size", "9" * 18), f"the manifest says {'9' * 18}"),
    "size-negative": (element("size", "-1"), "size"),
    "size-no-number": (element("size", "0x10"), "size"),
    "bundled-size-less": (element("bundled_size", str(LENGTH - 1)), f"part {NAMES[-1]} is extended"),
    "bundled-size-more": (element("bundled_size", str(LENGTH + 1)), f"part {NAMES[-1]} is truncated"),
    "bundled-size-zero": (element("bundled_size", "0"), "the manifest says 0"),
    "key-of-another": (element("user_encrypted_key", wrap(KEY.hex(), "other")), "does not open the bundle"),
    "key-changed": (element("user_encrypted_key", wrap(IV.hex(), "user")), "no gzip where a gzip stream"),
    "key-raw": (element("user_encrypted_key", wrap("k" * 16, "user")), "does not open the bundle"),
    "key-short": (element("user_encrypted_key", wrap(KEY.hex()[:30], "user")), "does not open the bundle"),
    "key-long": (element("user_encrypted_key", wrap(KEY.hex() + "00", "user")), "does not open the bundle"),
    "key-no-hex": (element("user_encrypted_key", "xyz"), "user_encrypted_key"),
    "key-too-long-for-rsa": (element("user_encrypted_key", "ab" * 300), "does not open the bundle"),
    "key-algorithm": (edit("(<user_encrypted_key algorithm='AES-)128", r"\g<1>256"), "algorithm"),
    "iv-changed": (element("user_encrypted_iv", wrap(KEY.hex(), "user")), "no gzip where a gzip stream"),
    "iv-of-another": (element("user_encrypted_iv", wrap(IV.hex(), "other")), "does not open the bundle"),
    "iv-no-hex": (element("user_encrypted_iv", wrap("z" * 32, "user")), "does not open the bundle"),
    "count-less": (edit("count='[0-9]+'", f"count='{len(NAMES) - 1}'"), "count"),
    "count-more": (edit("count='[0-9]+'", f"count='{len(NAMES) + 1}'"), "count"),
    "count-huge": (edit("count='[0-9]+'", f"count='{'9' * 30}'"), "count"),
    "last-part-left-out": (
        edit("count='[0-9]+'(.*)<part index.*?</part></parts>", rf"count='{len(NAMES) - 1}'\1</parts>"),
        "the manifest says",
    ),
    "index-twice": (edit("index='1'", "index='0'"), "ind"),
    "index-gap": (edit(f"index='{len(NAMES) - 1}'", f"index='{len(NAMES)}'"), "ind"),
    "indices-exchanged": (
        lambda text: edit("index='0'", "index='1'")(edit("index='1'", "index='x'")(text)).replace("'x'", "'0'"),
        "",
    ),
    "part-digest": (
        edit(r"(<filename>[^<]*</filename><digest[^>]*>)[^<]*", rf"\g<1>{SHA1}"),
        f"part {NAMES[0]} {DAMAGED}",
    ),
    "filename-missing-file": (element("filename", "other.part.0"), "part other.part.0 is missing"),
    "filename-twice": (element("filename", NAMES[1]), "twice"),
    "filename-up": (element("filename", "../" + NAMES[0]), "filename"),
    "filename-absolute": (element("filename", "/etc/disk.part.0"), "filename"),
    "filename-hidden-directory": (element("filename", "..part.0/x.part.0"), "filename"),
}  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_a_field(field: str, tmp_path: Path) -> None:
    change, why = FIELDS[field]
    assert why in refused(forge(CONTENT, part_size=500, edit=change), tmp_path)


def test_every_element_is_needed_or_does_not_matter(tmp_path: Path) -> None:
    """Without the architecture, of all of them, an image can be read."""
    plain = forge(CONTENT, part_size=500).manifest.decode()
    signed = plain[plain.index("<machine_configuration>") : plain.index("<signature>")]
    for tag in ("name", "user", "digest", "size", "bundled_size", "user_encrypted_key", "user_encrypted_iv", "parts"):
        assert re.search(rf"<{tag}[ >]", signed)
        change = edit(rf"<{tag}( [^>]*)?>.*?</{tag}>", "")
        assert refused(forge(CONTENT, part_size=500, edit=change), tmp_path), tag


# What is in the parts.


def tar_of(tar: bytes, size: int = len(CONTENT)) -> Forged:
    return forge(CONTENT, tar=tar, size=size, part_size=500)


STREAMS: dict[str, tuple[Forged, str]] = {
    "member-up": (tar_of(archive(CONTENT, name=b"../../x")), "points out of its directory"),
    "member-absolute": (tar_of(archive(CONTENT, name=b"/etc/cron.d/x")), "points out of its directory"),
    "member-up-by-pax": (tar_of(pax((b"path", b"../x")) + archive(CONTENT)), "points out of its directory"),
    "symlink": (tar_of(header(kind=b"2", link=b"/etc/passwd") + END), "a symbolic link"),
    "hard-link": (tar_of(header(kind=b"1", link=b"/etc/passwd") + END), "a hard link"),
    "device": (tar_of(header(kind=b"4") + END), "a block device"),
    "directory": (tar_of(header(kind=b"5") + END), "a directory"),
    "symlink-then-file": (tar_of(header(kind=b"2", link=b"/etc") + archive(CONTENT)), "a symbolic link"),
    "two-members": (tar_of(member(CONTENT) + archive(CONTENT, name=b"two")), "a second member"),
    "two-archives": (tar_of(archive(CONTENT) + archive(CONTENT)), "goes on after its end"),
    "lying-size": (tar_of(archive(CONTENT, size=len(CONTENT) + 1024)), f"has {len(CONTENT) + 1024} bytes"),
    "size-beyond-the-stream": (tar_of(archive(CONTENT, size=1 << 30), 1 << 30), "the tar stream ends early"),
    "sparse-beyond-the-manifest": (
        tar_of(old_sparse(1 << 32, ((0, 512),), 512) + bytes(512) + END),
        f"has {1 << 32} bytes, the manifest says",
    ),
    "sparse-overlap": (
        tar_of(old_sparse(8192, ((0, 512), (0, 512)), 1024) + bytes(1024) + END, 8192),
        "overlaps the one before it",
    ),
    "sparse-beyond-every-file-system": (
        tar_of(
            header(kind=b"S", size=512, at={386: b"\x80" + b"\xff" * 11 + octal(512), 483: octal(8192)})
            + bytes(512)
            + END,
            8192,
        ),
        "beyond what a file can hold",
    ),
    "truncated-tar": (tar_of(archive(CONTENT)[: len(CONTENT) // 2]), "the tar stream ends early"),
    "header-damaged": (tar_of(b"x" + archive(CONTENT)[1:]), "its checksum is another"),
    "bytes-after-the-end": (tar_of(archive(CONTENT) + b"x"), "goes on after its end"),
    "no-tar": (tar_of(CONTENT), "a header of the tar stream is damaged"),
    "empty-tar": (tar_of(bytes(10240)), "the tar stream is empty"),
    "no-gzip": (forge(CONTENT, packed=archive(CONTENT)), "no gzip where a gzip stream should begin"),
    "gzip-cut": (forge(CONTENT, packed=pack(archive(CONTENT))[:-1]), "the gzip stream ends early"),
    "gzip-goes-on": (forge(CONTENT, packed=pack(archive(CONTENT)) + b"xyz"), "no gzip where"),
    "gzip-crc": (forge(CONTENT, packed=flipped(pack(archive(CONTENT)), -8)), "the gzip stream is damaged"),
    "other-tar": (forge(CONTENT, packed=pack(archive(CONTENT, name=b"other"))), "the tar stream in the bundle has the"),
    "cipher-cut": (forge(CONTENT, cipher=encrypt(pack(archive(CONTENT)))[:-16]), "does not decrypt"),
    "no-bytes": (forge(CONTENT, cipher=b"", parts={f"{NAME}.part.0": b""}), "does not decrypt"),
    "bomb-after-the-image": (
        forge(CONTENT, packed=pack(archive(CONTENT) + bytes(64 << 20))),
        "the gzip stream inflates to more than",
    ),
}  # fmt: skip


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream(stream: str, tmp_path: Path) -> None:
    bundle, why = STREAMS[stream]
    assert why in refused(bundle, tmp_path)


@pytest.mark.parametrize(
    ("tar", "why"),
    [
        pytest.param(
            "archive(b'x' * (1 << 20))[:-512]", "the gzip stream inflates to more than", id="behind-the-image"
        ),
        pytest.param("header(size=10 << 30)", "bytes, the manifest says 1048576", id="as-the-image"),
        pytest.param("header(kind=b'x', size=8 << 20)", "inflates to more than", id="as-an-extended-header"),
        pytest.param("b''", "the tar stream is empty", id="instead-of-all"),
        pytest.param(
            "pax((b'GNU.sparse.major', b'1'), (b'GNU.sparse.realsize', b'1048576')) + header(size=1 << 32)",
            "a number does not end",
            id="as-a-map-of-holes",
        ),
    ],
)
def test_ten_gib_of_zeros_where_one_mib_is_declared(tar: str, why: str, tmp_path: Path) -> None:
    """Bounded memory and time, seen from outside."""
    script = textwrap.dedent(f"""
        import resource, sys, time
        from pathlib import Path
        from isal import igzip_lib
        from builder.bundles import read
        from builder.errors import BuilderError
        from tests.support.forged import Held, forge, pack, private_key
        from tests.support.tars import archive, header, pax

        zeros = igzip_lib.compress(bytes(64 << 20), flag=igzip_lib.COMP_GZIP)
        bundle = forge(bytes(1 << 20), packed=pack({tar}) + zeros * 160)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        try:
            read.unbundle(bundle.manifest, Held(bundle.parts), private_key("user"), Path(sys.argv[1]))
        except BuilderError as error:
            print(error.brief)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.monotonic() - began)
    """)
    said = subprocess.run(
        [sys.executable, "-c", script, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    assert why in said[0]
    kilobytes, seconds = map(float, said[1].split())
    assert kilobytes < 100_000
    assert seconds < 10
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_byte_of_any_part(data: st.DataObject, tmp_path: Path) -> None:
    name = data.draw(st.sampled_from(NAMES))
    held = bytearray(GOOD.parts[name])
    at = data.draw(st.integers(0, len(held) - 1))
    held[at] ^= data.draw(st.integers(1, 255))
    assert refused(replace(GOOD, parts={**GOOD.parts, name: bytes(held)}), tmp_path) == f"part {name} {DAMAGED}"


def test_gzip_has_room_for_lies(tmp_path: Path) -> None:
    """A length that is right modulo 4 GiB only is held by the tar stream's own end."""
    packed = gzip.compress(archive(CONTENT)[:-1]) + gzip.compress(b"")
    assert "the tar stream in the bundle has the SHA-1" in refused(forge(CONTENT, packed=packed), tmp_path)
