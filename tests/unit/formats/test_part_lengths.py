import pytest

from builder.errors import BuilderError
from builder.formats.bundle_manifest import BundleManifest, Part, part_names
from builder.formats.part_lengths import USUAL, check_lengths


def manifest(count: int, bundled_size: int) -> BundleManifest:
    return BundleManifest(
        name="disk", account="1" * 12, architecture="x86_64", digest="0" * 40, size=1, bundled_size=bundled_size,
        ec2_encrypted_key="00", user_encrypted_key="00", ec2_encrypted_iv="00", user_encrypted_iv="00",
        parts=tuple(Part(filename=name, sha1="0" * 40) for name in part_names("disk", count)),
    )  # fmt: skip


def files(*lengths: int) -> dict[str, int]:
    return dict(zip(part_names("disk", len(lengths)), lengths, strict=True))


def refused(bundled_size: int, found: dict[str, int], count: int | None = None) -> tuple[str, str]:
    with pytest.raises(BuilderError) as caught:
        check_lengths(manifest(count or len(found), bundled_size), found)
    return caught.value.brief, caught.value.detail


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param((1,), id="one"),
        pytest.param((USUAL, USUAL, 5), id="usual"),
        pytest.param((USUAL, USUAL, 0), id="empty-last"),
        pytest.param((100, 100, 7), id="other-size"),
        pytest.param((5, 100, 7), id="no-two-alike"),
    ],
)
def test_what_adds_up(lengths: tuple[int, ...]) -> None:
    found = files(*lengths)
    assert check_lengths(manifest(len(lengths), sum(lengths)), {**found, "disk.part.77": 9, "x.part.0": 1}) == found


@pytest.mark.parametrize(
    ("right", "found", "why"),
    [
        pytest.param((9,), (8,), "part disk.part.0 is truncated: it has 8 bytes, not 9", id="only-one"),
        pytest.param((9,), (10,), "part disk.part.0 is extended: it has 10 bytes, not 9", id="only-one-longer"),
        pytest.param(
            (USUAL, 9),
            (USUAL - 1, 9),
            f"part disk.part.0 is truncated: it has {USUAL - 1} bytes, not {USUAL}",
            id="first",
        ),
        pytest.param((USUAL, 9), (USUAL, 8), "part disk.part.1 is truncated: it has 8 bytes, not 9", id="last"),
        pytest.param((USUAL, 0), (USUAL, 8), "part disk.part.1 is extended: it has 8 bytes, not 0", id="empty-last"),
        pytest.param((50, 50, 50, 9), (50, 51, 50, 9), "part disk.part.1 is extended: it has 51 bytes, not 50"),
        pytest.param((50, 50, 50, 9), (50, 50, 50, 0), "part disk.part.3 is truncated: it has 0 bytes, not 9"),
        pytest.param((50, 50, 9), (1, 2, 3), "the parts have 6 bytes together, the manifest says 109", id="unknown"),
    ],
)
def test_the_wrong_one_is_named(right: tuple[int, ...], found: tuple[int, ...], why: str) -> None:
    brief, detail = refused(sum(right), files(*found))
    assert brief == why
    sums = f"the parts have {sum(found)} bytes together, the manifest says {sum(right)}"
    assert detail == ("" if brief == sums else sums)


def test_all_wrong_ones_are_listed() -> None:
    brief, detail = refused(3 * USUAL + 1, files(USUAL, 3, 4, 1))
    assert brief == f"part disk.part.1 is truncated: it has 3 bytes, not {USUAL}"
    assert detail.splitlines() == [
        f"part disk.part.2 is truncated: it has 4 bytes, not {USUAL}",
        f"the parts have {USUAL + 8} bytes together, the manifest says {3 * USUAL + 1}",
    ]


def test_missing() -> None:
    found = files(*[1] * 20)
    assert refused(20, {name: 1 for name in found if name != "disk.part.07"}, 20) == (
        "part disk.part.07 is missing",
        "",
    )
    brief, detail = refused(20, {"disk.part.03": 1}, 20)
    assert brief == "part disk.part.00 is missing (19 of 20 parts are)"
    assert detail.splitlines()[:2] == ["disk.part.01", "disk.part.02"]
    assert detail.splitlines()[-1] == "... and 8 more"


def test_any_bundled_size_is_held() -> None:
    for size in (0, 1, 10**18):
        assert refused(size, files(USUAL, USUAL, 5))[0]
