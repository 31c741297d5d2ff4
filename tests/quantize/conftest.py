"""What tests of quantizing share."""

from __future__ import annotations

import pytest

from mlserve.quantize import trial


@pytest.fixture(autouse=True)
def short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting of the measuring time, not a stand-in: models are still run and timed."""
    monkeypatch.setattr(trial, "LATENCY_BUDGET_S", 0.01)
