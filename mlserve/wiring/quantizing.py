"""``mlserve quantize --report``: what was measured, as a page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from mlserve.core.files import check_writable, replacing
from mlserve.quantize.reporting import QuantizeReport


def check_report(file: Path) -> None:
    """Refuse a page that could not be written, before the work. Raises MissingExtra, InvalidInput."""
    from mlserve.report.page import check_available

    check_available()
    check_writable(file)


def write_report(report: QuantizeReport, model: str, max_drop: float, file: Path) -> None:
    """Write ``report`` of ``model`` as one page. Raises MissingExtra without the extra ``report``, InvalidInput."""
    from mlserve.report.quantization import render_quantization

    errors = report.errors
    page = render_quantization(
        model,
        report.to_dict(),
        max_drop,
        [] if errors is None else errors.values.tolist(),
        [] if errors is None else [asdict(row) for row in errors.worst],
    )
    with replacing(file) as partial:
        partial.write_text(page, encoding="utf-8")
