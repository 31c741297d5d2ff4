"""Service levels as people write them, and when they are met."""

from __future__ import annotations

import pytest

from mlserve.core.slo import Slo, parse_slo
from mlserve.errors import UsageError


@pytest.mark.parametrize(
    ("text", "percentile", "limit_s"),
    [
        pytest.param("p50=1s", 50.0, 1.0, id="seconds"),
        pytest.param("p99=20ms", 99.0, 0.02, id="milliseconds"),
        pytest.param("p999=250us", 99.9, 250e-6, id="microseconds, and a percentile without its point"),
        pytest.param("p99.9=800us", 99.9, 800e-6, id="a percentile with its point"),
        pytest.param("p95=1.5µs", 95.0, 1.5e-6, id="the micro sign"),
        pytest.param(" p95 = 2.5 ms ", 95.0, 2.5e-3, id="spaces and a fraction"),
    ],
)
def test_a_level_is_a_percentile_and_a_time(text: str, percentile: float, limit_s: float) -> None:
    found = parse_slo(text)

    assert found == Slo(percentile, pytest.approx(limit_s))  # type: ignore[arg-type]  # approx has no type
    assert (found.share, found.text) == (pytest.approx(percentile / 100), text.strip())


@pytest.mark.parametrize(
    "text", ["", "p99", "20ms", "99=50ms", "p99=20", "p0=1ms", "p99=0ms", "p99=-1ms", "p99=20min", "p99=1h"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="not a percentile and a time") as refused:
        parse_slo(text)

    assert text in refused.value.message
    assert "p99=20ms" in (refused.value.hint or "")


def test_failures_count_against_a_level_and_nothing_meets_none() -> None:
    slo = parse_slo("p90=1ms")

    assert slo.is_met(10, 9)
    assert not slo.is_met(10, 8)
    assert not slo.is_met(0, 0)
