"""What is settled before a server starts."""

from __future__ import annotations

import pytest

from mlserve.core.settings import ServeSettings
from mlserve.wiring import serving


def test_traces_go_where_opentelemetrys_own_variables_say_if_its_packages_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warnings: list[str] = []

    assert serving._traced(ServeSettings(), warnings.append).traces == "otel"
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    assert serving._traced(ServeSettings(), warnings.append).traces is None

    assert len(warnings) == 1
    assert "mlserve[otel]" in warnings[0]
