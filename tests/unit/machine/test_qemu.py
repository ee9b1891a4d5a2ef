"""QEMU's command lines."""

import pytest

from builder.machine import qemu


@pytest.mark.parametrize(
    ("cores", "load", "expected"), [(1, 0.0, 1), (2, 0.5, 2), (2, 2.0, 1), (8, 3.0, 2), (8, 20.0, 1)]
)
def test_a_busy_machine_gives_one_processor(cores: int, load: float, expected: int) -> None:
    assert qemu.processors_for(cores, load) == expected


def test_memory_is_no_file() -> None:
    """A file has no huge pages."""
    assert qemu.machine_options(processors=2)[:8] == [
        "-machine", "pc,memory-backend=memory,usb=off",
        "-object", "memory-backend-ram,id=memory,size=6144M,reserve=off",
        "-m", "6144",
        "-smp", "2",
    ]  # fmt: skip
