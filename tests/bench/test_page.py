"""The measured parts of the page are what a run left."""

from __future__ import annotations

from tests.bench.page import PAGE, current
from tests.bench.table import Demand, Line

RUN = {
    "began": "2026-01-02T03:04:05+00:00",
    "command": "python -m tests.bench",
    "load": 0.25,
    "rounds": 5,
    "seconds": 2.0,
    "machine": {"cores": 2, "machine": "a processor", "python": "3.11.7"},
    "lines": [
        Line("tabular", "FastAPI", Demand(7), "/s", [8.0, 9.0, 10.0], 900.0, 100.0).to_dict(),
        Line("gRPC", "an echo", Demand(0.6), reason="not built").to_dict(),
        Line("budget of a tabular request: decode", "the whole", Demand(None), "µs", [0.25], 3.0, 12.0).to_dict(),
    ],
}


def test_a_run_replaces_the_measured_parts_and_nothing_else() -> None:
    before = PAGE.read_text(encoding="utf-8")

    after = current(before, RUN)

    assert "| tabular | FastAPI | 900 /s | 100 /s | 9 | 8 – 10 | ≥ 7 | passed |" in after
    assert "not available: not built" in after
    assert "| decode | 3.00 | 25% |" in after
    assert "2 cores of a processor, Python 3.11.7; `python -m tests.bench`, 5 pairs of 2 s a row" in after
    assert current(after, RUN) == after
    assert "```text\n 60.0%  parse\n```" in current(after, RUN, " 60.0%  parse\n")
    assert after.startswith(before.partition("<!-- table")[0])
