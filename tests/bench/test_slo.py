"""Service levels as people write them."""

from __future__ import annotations

import pytest

from mlserve.bench.slo import parse_slo
from mlserve.errors import UsageError


@pytest.mark.parametrize(
    ("text", "share", "limit_s"),
    [
        pytest.param("p99=50ms", 0.99, 0.05, id="milliseconds"),
        pytest.param(" p50 = 2s ", 0.5, 2.0, id="spaces and seconds"),
        pytest.param("p99.9=800us", 0.999, 800e-6, id="a finer percentile"),
        pytest.param("p95=1.5µs", 0.95, 1.5e-6, id="the micro sign"),
    ],
)
def test_a_level_is_a_share_and_a_limit(text: str, share: float, limit_s: float) -> None:
    slo = parse_slo(text)

    assert (slo.share, slo.limit_s) == pytest.approx((share, limit_s))
    assert slo.text == text.strip()


@pytest.mark.parametrize("text", ["", "p99", "99=50ms", "p99=50", "p0=1ms", "p100=1ms", "p99=0ms", "p99=1h"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="not a percentile and a time") as refused:
        parse_slo(text)

    assert refused.value.hint == "such as p99=50ms"


def test_failures_count_against_a_level_and_nothing_meets_none() -> None:
    slo = parse_slo("p90=1ms")

    assert slo.is_met(10, 9)
    assert not slo.is_met(10, 8)
    assert not slo.is_met(0, 0)
