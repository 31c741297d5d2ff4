"""What a card shows of a version, in words: numbers shortened, tensors as signatures, evidence as tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlserve.report.charts import Bar, bars, interval

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Proof:
    """One piece of evidence: its kind, its verdict in a word, its figures as pairs, and pictures (SVG) of them."""

    kind: str
    verdict: str
    figures: Sequence[tuple[str, str]]
    meta: str
    charts: Sequence[str] = field(default=())
    table: Sequence[Sequence[str]] = field(default=())
    table_of: str = "checks"


def number(value: Any) -> str:
    """A value as people read it: four significant digits, yes and no, a dash for nothing.

    >>> number(0.98765), number(12345), number(True), number(None), number(1e-8)
    ('0.9877', '12 345', 'yes', '–', '1e-08')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def share(value: float | None) -> str:
    """A share of 1 in percent; what is not all does not read as all, and what is not nothing not as nothing.

    >>> share(1.0), share(0.985), share(0.999996), share(0.0000012), share(None)
    ('100 %', '98.5 %', '99.9996 %', '0.0001 %', '–')
    """
    if value is None:
        return "–"
    percent = 100 * value
    for digits in range(2, 8):
        shown = f"{percent:.{digits}f}"
        if value in (0, 1) or float(shown) not in (0.0, 100.0):
            break
    return f"{shown.rstrip('0').rstrip('.')} %"


def size(size_bytes: float) -> str:
    """Bytes in the unit that fits.

    >>> size(900), size(165_882), size(2_500_000_000)
    ('900 B', '165.9 kB', '2.5 GB')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{size_bytes:.0f} B"


def tensor(spec: Fields) -> str:
    """A tensor as ``FP32 [batch, 30]``.

    >>> tensor({"name": "x", "datatype": "FP32", "dims": ["batch", 30, None]})
    'FP32 [batch, 30, ?]'
    """
    dims = spec.get("dims") or spec.get("shape") or []
    return f"{spec.get('datatype', '')} [{', '.join('?' if dim is None else str(dim) for dim in dims)}]"


def proofs(evidence: Sequence[Fields]) -> list[Proof]:
    """Evidence as a card shows it, in the order given."""
    return [_proof(item) for item in evidence]


def _proof(item: Fields) -> Proof:
    figures = item.get("figures") or {}
    passed = item.get("passed")
    loads = list(_loads(figures))
    verdict = "measured" if passed is None else "passed" if passed else "failed"
    return Proof(
        kind=str(item.get("kind", "")),
        verdict=verdict,
        figures=[(name.replace("_", " "), number(value)) for name, value in figures.items() if _is_plain(value)],
        meta=", ".join(str(item[key]) for key in ("origin", "measured_at", "measured_by") if item.get(key)),
        charts=list(_charts(figures)),
        table=loads or list(_checks(figures)),
        table_of="loads" if loads else "checks",
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= 80)


def _charts(figures: Fields) -> Iterator[str]:
    if _has_numbers(figures, "drop", "drop_low", "drop_high", "max_drop"):
        yield interval(
            figures["drop_low"], figures["drop_high"], figures["drop"], figures["max_drop"], "fall of the metric"
        )
    for entry in figures.get("latency") or ():
        if isinstance(entry, Mapping) and _has_numbers(entry, "rows", "before_ms", "after_ms"):
            rows = f"{entry['rows']} row" + ("s" if entry["rows"] != 1 else "")
            before, after = entry["before_ms"], entry["after_ms"]
            yield bars(
                [Bar(f"before, {rows}", before, f"{before:.3g} ms"), Bar(f"after, {rows}", after, f"{after:.3g} ms")],
                f"latency of {rows}",
            )


def _checks(figures: Fields) -> Iterator[Sequence[str]]:
    """The checks of a parity measurement, a row each, under a head."""
    checks = [check for check in figures.get("checks") or () if isinstance(check, Mapping)]
    if checks:
        yield ("check", "rows", "over tolerance", "largest difference", "verdict")
    for check in checks:
        verdict = "passed" if check.get("passed") else "failed" if check.get("is_required", True) else "differs"
        shown = [number(check.get(key)) for key in ("name", "rows", "rows_over", "max_abs")]
        yield (*shown, verdict)


def _loads(figures: Fields) -> Iterator[Sequence[str]]:
    """The loads of a bench, a row each, under a head: closed loops are ``c8``, open loops ``r500``."""
    loads = {
        name: load
        for name, load in figures.items()
        if isinstance(load, Mapping) and _has_numbers(load, "requests", "errors", "rps")
    }
    if loads:
        yield ("load", "requests", "errors", "requests/s", "p50 ms", "p99 ms")
    for name, load in loads.items():
        shown = f"{name[1:]} clients" if name.startswith("c") else f"{name[1:]}/s due"
        yield (shown, *(number(load.get(key)) for key in ("requests", "errors", "rps", "p50_ms", "p99_ms")))


def _has_numbers(figures: Fields, *names: str) -> bool:
    return all(isinstance(figures.get(name), int | float) for name in names)
