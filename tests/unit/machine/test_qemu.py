"""QEMU's command lines."""

import pytest

from builder.machine import qemu


@pytest.mark.parametrize(
    ("cores", "load", "expected"), [(1, 0.0, 1), (2, 0.5, 2), (2, 2.0, 1), (8, 3.0, 2), (8, 20.0, 1)]
)
def test_a_busy_machine_gives_one_processor(cores: int, load: float, expected: int) -> None:
    assert qemu.processors_for(cores, load) == expected


def test_memory_is_private_unless_it_is_to_be_kept() -> None:
    options = qemu.machine_options(memory_file="/a,b/memory", shared=False, processors=1)
    assert options[3] == "memory-backend-file,id=memory,size=6144M,mem-path=/a,,b/memory,share=off,reserve=off"
    assert "share=on" in qemu.machine_options(memory_file="m", shared=True, processors=1)[3]
