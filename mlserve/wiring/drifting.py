"""``mlserve drift fit``: a version of the registry, its reference and the model itself become a stored profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlserve.core.evidence import Evidence, tool_versions
from mlserve.core.progress import Progress, silent
from mlserve.core.refs import ModelRef
from mlserve.wiring.connecting import App
from mlserve.wiring.predicting import PIECE_ROWS, Answering, answering

if TYPE_CHECKING:
    from mlserve.drift.answering import Run
    from mlserve.drift.profile import Profile
    from mlserve.drift.said import Said
    from mlserve.registry.records import DriftProfile, Version
    from mlserve.rows.reading import Roles

Arrays = dict[str, np.ndarray[Any, Any]]
EVIDENCE = "drift_profile"
SHOWN_ROWS = 1000
"""The size of window that thresholds are shown for."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A profile that is in force now, where it is recorded, and whether this call learned something new."""

    ref: str
    recorded: DriftProfile
    profile: Profile
    created: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "ref": self.ref,
            "profile": self.recorded.profile_digest,
            "created": self.created,
            "reference": self.profile.reference.to_dict(),
            "features": features_of(self.profile),
            "prediction": None if self.profile.prediction is None else self.profile.prediction.to_dict(),
            "sample_rows": self.profile.sample.rows,
            "detectors": list(self.profile.detectors),
        }


def fit_version(
    app: App,
    ref: ModelRef,
    reference: Path,
    *,
    said: Said,
    roles: Roles,
    detectors: tuple[str, ...] = (),
    ignore_extra: bool = False,
    registry: str | None = None,
    config_file: Path | None = None,
    progress: Progress = silent,
) -> Fitted:
    """Learn the reference of the version that ``ref`` names from the data at ``reference``, and put it in force.

    The same data and schema are the same profile. Raises NotFound; InvalidInput for data that does not fit the model.
    """
    from mlserve.drift.captured_source import CaptureSource
    from mlserve.drift.fitting import FitPlan, fit
    from mlserve.drift.profile import to_bytes
    from mlserve.drift.sources import FileSource, Source
    from mlserve.registry.drifting import attach_profile, profiles_of
    from mlserve.registry.versions import get_version
    from mlserve.rows.capture_format import is_capture
    from mlserve.rows.reading import open_rows

    version = get_version(app.store, ref)
    exact = ModelRef(version.name, version.version)
    with ExitStack() as stack:
        model = stack.enter_context(answering(version.ref, flags={"registry": registry}, config_file=config_file))
        source: Source
        if is_capture(reference):
            source = CaptureSource(reference, answers_of=version.version, signature=model.signature)
        else:
            source = FileSource(open_rows(reference, model.signature, roles=roles, ignore_extra=ignore_extra))
        plan = FitPlan(version.digest, model.signature, said, detectors)
        profile = fit(source, plan, run_of(model), progress=progress)
    progress("recording it", 0, 1)
    known = {one.profile_digest for one in profiles_of(app.store, version.digest)}
    entry = app.artefacts.put_bytes(to_bytes(profile))
    recorded = attach_profile(
        app.store,
        exact,
        entry,
        profile.reference.data_digest,
        by=app.user,
        now=app.clock(),
        evidence=[_evidence(app, version, profile, entry.digest)] if entry.digest not in known else [],
    )
    return Fitted(version.ref, recorded, profile, entry.digest not in known)


def run_of(model: Answering) -> Run:
    """The model for any number of rows: in pieces, or one row at a time where answers may depend on other rows."""

    def run(inputs: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        fixed = {spec.dims[0] for spec in model.signature.inputs if spec.dims and isinstance(spec.dims[0], int)}
        step = int(fixed.pop()) if len(fixed) == 1 else (PIECE_ROWS if model.is_row_wise() else 1)
        parts = [model.run(piece) for piece in _pieces(inputs, step, must_be_full=bool(step != PIECE_ROWS))]
        rows = max(len(array) for array in inputs.values() if np.ndim(array))
        return {
            name: np.concatenate([np.asarray(part[name]) for part in parts])[:rows]
            for name, array in parts[0].items()
            if np.ndim(array)
        }

    return run


def features_of(profile: Profile) -> list[dict[str, Any]]:
    """Each watched column as a line: what it holds, and what it takes to alert in a window of ``SHOWN_ROWS`` rows."""
    return [
        {
            "name": name,
            **_shown(summary),
            "effect": profile.noise[name].effect,
            "threshold": profile.noise[name].threshold(SHOWN_ROWS),
        }
        for name, summary in profile.summaries.items()
    ]


def _shown(summary: Any) -> dict[str, Any]:
    from mlserve.drift.numeric import NumericSummary

    nulls = summary.nulls / summary.rows if summary.rows else None
    if isinstance(summary, NumericSummary):
        quantiles = {f"p{round(100 * share):02d}": summary.quantile(share) for share in (0.05, 0.5, 0.95)}
        return {"kind": "numeric", "nulls": nulls, "mean": summary.mean if summary.finite else None} | quantiles
    top = sorted(summary.counts.items(), key=lambda item: (-item[1], item[0]))[:5]
    return {"kind": "categorical", "nulls": nulls, "values": len(summary.counts), "top": [name for name, _ in top]}


def _pieces(inputs: Mapping[str, np.ndarray[Any, Any]], step: int, *, must_be_full: bool) -> Iterator[Arrays]:
    """``step`` rows at a time; the last filled up with its own last row where a call takes exactly so many."""
    rows = max(len(array) for array in inputs.values() if np.ndim(array))
    for start in range(0, rows, step):
        index = np.arange(start, start + step if must_be_full else min(start + step, rows))
        index = np.minimum(index, rows - 1)
        yield {name: array[index] if np.ndim(array) else array for name, array in inputs.items()}


def _evidence(app: App, version: Version, profile: Profile, digest: str) -> Evidence:
    reference = profile.reference
    figures = {
        "profile": digest,
        "rows": reference.rows,
        "labelled": reference.labelled,
        "columns": len(profile.summaries),
        "duplicate_share": profile.duplicate_share,
    }
    return Evidence(
        kind=EVIDENCE,
        digest=version.digest,
        passed=None,
        figures=figures,
        measured_at=app.clock(),
        measured_by=app.user,
        data_digest=reference.data_digest,
        tools=tool_versions("numpy", "pyarrow"),
    )
