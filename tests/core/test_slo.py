"""Latency objectives as text."""

import pytest

from mlserve.core.slo import Slo, parse_slo
from mlserve.errors import UsageError


@pytest.mark.parametrize(
    ("text", "percentile", "limit_s"),
    [
        pytest.param("p50=1s", 50.0, 1.0, id="seconds"),
        pytest.param("p99=20ms", 99.0, 0.02, id="milliseconds"),
        pytest.param("p999=250us", 99.9, 250e-6, id="microseconds"),
        pytest.param(" p95 = 2.5 ms ", 95.0, 2.5e-3, id="spaces and a fraction"),
    ],
)
def test_an_objective_is_a_percentile_and_a_time(text: str, percentile: float, limit_s: float):
    assert parse_slo(text) == Slo(percentile, pytest.approx(limit_s))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "p99", "20ms", "p98=20ms", "p99=20", "p99=0ms", "p99=-1ms", "p99=20min"])
def test_anything_else_is_refused_with_an_example(text: str):
    with pytest.raises(UsageError) as refusal:
        parse_slo(text)

    assert text in refusal.value.message
    assert "p99=20ms" in (refusal.value.hint or "")
