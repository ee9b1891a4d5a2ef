"""The rules of PV-GRUB's disk, by one that keeps them and one fault at a time."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.formats.mbr import FIRST, LINUX, SECTOR, Partition, format_mbr
from builder.stages.verify import rules
from builder.stages.verify.mbr_rules import read_partitions
from builder.stages.verify.run import held
from tests.unit.stages.verify.test_rules import GOOD as WITHOUT
from tests.unit.stages.verify.test_rules import SPEC as SPEC_WITHOUT
from tests.unit.stages.verify.test_rules import regular

ROOT = Partition(number=1, kind=LINUX, first=FIRST, sectors=204800)
SPEC = dataclasses.replace(SPEC_WITHOUT, grub_root="(hd0,0)", mbr=True)
MENU = WITHOUT.files[SPEC.menu].data.decode()
GOOD = dataclasses.replace(
    WITHOUT,
    files={**WITHOUT.files, SPEC.menu: regular(MENU.replace("(hd0)", "(hd0,0)"))},
    partitions=(ROOT,),
)


def found(facts: Any) -> list[tuple[str, str, str]]:
    return [(each.id, each.path, each.why) for each in rules.judge(SPEC, facts)]


def test_a_good_disk() -> None:
    assert found(GOOD) == []
    assert set(held(SPEC, ())) == {*rules.RULES, "partition-table"}


@pytest.mark.parametrize(
    ("partitions", "why"),
    [
        pytest.param(
            (dataclasses.replace(ROOT, kind=0x82),), "the first partition's type is 0x82, not Linux's", id="swap"
        ),
        pytest.param(
            (ROOT, Partition(number=2, kind=LINUX, first=206848, sectors=10)),
            "there are 2 partitions, and the image has only its root",
            id="two",
        ),
    ],
)
def test_a_bad_table(partitions: tuple[Partition, ...], why: str) -> None:
    assert found(dataclasses.replace(GOOD, partitions=partitions)) == [("partition-table", "/dev", why)]


def test_the_menu_of_an_image_without_partitions() -> None:
    files = {**GOOD.files, SPEC.menu: regular(MENU)}
    assert found(dataclasses.replace(GOOD, files=files)) == [
        ("boot-menu", SPEC.menu, "it boots from (hd0), and the image is (hd0,0)")
    ]


@pytest.mark.parametrize(
    ("sector", "said"),
    [
        pytest.param(bytes(SECTOR), "there are no partitions to look into: its first sector ends without", id="none"),
        pytest.param(
            format_mbr("0badcafe", dataclasses.replace(ROOT, number=2)),
            "there is no first partition, which PV-GRUB hd00 starts from",
            id="no first",
        ),
    ],
)
def test_nothing_to_look_into(tmp_path: Path, sector: bytes, said: str) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(sector.ljust((ROOT.first + ROOT.sectors) * SECTOR, b"\0"))
    with pytest.raises(BuilderError) as caught:
        read_partitions(image)
    assert caught.value.brief.startswith(said)
