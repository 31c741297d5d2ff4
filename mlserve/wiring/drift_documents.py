"""The parts of a check's document that say what was read; its evidence; and the document of nothing to read."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlserve.core.evidence import Evidence, tool_versions
from mlserve.wiring.drift_windows import Opened

if TYPE_CHECKING:
    from mlserve.drift.arriving import WindowRows
    from mlserve.drift.checking import Checked
    from mlserve.drift.profile import Profile
    from mlserve.drift.windows import Against, Bounds, WindowWords

EVIDENCE = "drift"


def said_window(words: WindowWords) -> str:
    """``kind`` of the document's window.

    >>> from mlserve.drift.windows import parse_window
    >>> [said_window(parse_window(text)) for text in ("24h", "n=5000", "since-last", "rows.parquet")]
    ['24h', 'n=5000', 'since-last', 'data']
    """
    from mlserve.drift.windows import LastRows, LastSpan, SinceLast

    match words:
        case LastSpan(span):
            seconds = span / timedelta(seconds=1)
            return f"{seconds / 3600:g}h" if seconds >= 3600 else f"{seconds:g}s"
        case LastRows(rows):
            return f"n={rows}"
        case SinceLast():
            return "since-last"
        case _:
            return "data"


def window_part(words: WindowWords, opened: Opened, window: WindowRows) -> dict[str, Any]:
    """``window`` of the document."""
    from mlserve.drift.checking import moment

    return {
        "kind": said_window(words),
        "start": moment(opened.bounds.start or window.arrived.start),
        "end": moment(opened.bounds.end or window.arrived.end),
        "rows": window.rows,
        "sampled": window.sample.rows,
        "labelled": window.labelled,
        "digest": window.digest,
        "sources": [str(opened.path.absolute())],
        "newest_at": moment(window.arrived.last),
    }


def reference_part(against: Against, profile: Profile) -> dict[str, Any]:
    """``reference`` of the document."""
    from mlserve.drift.checking import moment

    reference = profile.reference
    return {
        "kind": against,
        "rows": reference.rows,
        "sampled": profile.sample.rows,
        "digest": reference.data_digest,
        "start": moment(reference.start),
        "end": moment(reference.end),
    }


def missing_window(words: WindowWords, bounds: Bounds) -> dict[str, Any]:
    """``window`` of the document where there is no source."""
    from mlserve.drift.checking import moment
    from mlserve.drift.windows import DataAt

    return {
        "kind": said_window(words),
        "start": moment(bounds.start),
        "end": moment(bounds.end),
        "rows": 0,
        "sampled": 0,
        "labelled": 0,
        "digest": None,
        "sources": [str(words.path.absolute())] if isinstance(words, DataAt) else [],
        "newest_at": None,
    }


def empty_document(why: str, *, engine: str | None) -> dict[str, Any]:
    """What there is to say without a source: that it is stale, and ``why``."""
    from mlserve.drift.checking import SCHEMA_ID

    lists: dict[str, Any] = {name: [] for name in ("quality", "features", "multivariate", "embedding", "actions")}
    parts = dict.fromkeys(("prediction", "performance", "evidence", "localisation", "naive"))
    return {"schema": SCHEMA_ID, "engine": engine, "verdict": "stale", "reasons": [why], **lists, **parts}


def evidence_of(checked: Checked, window: WindowRows, *, digest: str, profile: str, by: str, now: datetime) -> Evidence:
    """Flat figures for a policy to ask for; neither passed nor failed where nobody could judge."""
    from mlserve.drift.describing import as_json

    alerting = [one for one in checked.features if one.drift]
    times = [one.effect / one.threshold for one in checked.features if one.effect is not None and one.threshold]
    measured = (checked.performance or {}).get("measured")
    figures = {
        "verdict": checked.verdict,
        "rows": window.rows,
        "features": len(checked.features),
        "drifting": len({one.name for one in alerting}),
        "largest_effect": max(times, default=None),
        "p_value": checked.p_value,
        "quality": sum(1 for one in checked.quality if one.drift),
        "prediction_drift": int(checked.prediction is not None and checked.prediction.drift),
        "performance": measured,
        "profile": profile,
    }
    judged = checked.verdict not in ("insufficient", "stale")
    return Evidence(
        kind=EVIDENCE,
        digest=digest,
        passed=checked.verdict == "ok" if judged else None,
        figures=as_json(figures),
        measured_at=now,
        measured_by=by,
        data_digest=window.digest,
        tools=tool_versions("numpy", "pyarrow", "scipy", "alibi-detect"),
    )
