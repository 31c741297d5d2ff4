"""The processor as the system tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlserve.runtime.processor import read_processor

INTEL = (
    "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n"
)
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp\n"
OLD = "model name\t: Old\nflags\t\t: fpu avx2\n"


@pytest.mark.parametrize(
    ("text", "flags", "has_vnni"),
    [
        pytest.param(INTEL, ("avx2", "avx512f", "avx512_vnni"), True, id="vnni"),
        pytest.param(ARM, ("asimd", "asimddp"), True, id="arm"),
        pytest.param(OLD, ("avx2",), False, id="without"),
    ],
)
def test_flags_that_matter_are_told(text: str, flags: tuple[str, ...], has_vnni: bool) -> None:
    Path("cpuinfo").write_text(text)

    found = read_processor(Path("cpuinfo"))

    assert (found.flags, found.has_vnni) == (flags, has_vnni)


def test_a_system_that_tells_nothing_is_no_trouble() -> None:
    found = read_processor(Path("nowhere"))

    assert found.name
    assert (found.flags, found.has_vnni) == ((), None)
