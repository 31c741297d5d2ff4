"""Whole rows given their context: drift that the hour or the region explains is none (context-aware MMD).

alibi-detect 0.13 calibrates a classifier with ``cv="prefit"``, which scikit-learn 1.9 no longer takes. ``prefit_shim``
gives it the same calibration by the words of today: a classifier that is frozen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Any, ClassVar

import numpy as np

from mlserve.drift.detectors.columns import Rows, drawn, side_by_side
from mlserve.drift.detectors.detector import Cost, Effect, Finding, Options, Sample, Takes
from mlserve.drift.detectors.engines import ALIBI, alibi, quiet, torch_module
from mlserve.drift.detectors.finding import judged, permuted, unanswered
from mlserve.drift.detectors.kernels import BACKEND, DEVICE
from mlserve.drift.detectors.seeding import seeded
from mlserve.errors import InvalidInput, UsageError

_BYTES_A_PAIR = 480
"""Twenty regularisations are tried at once, each with three matrices of float64."""


class ContextMmd:
    """MMD between rows of alike context; the columns ``Options.given`` are the context, all others what is judged."""

    name: ClassVar[str] = "context-mmd"
    takes: ClassVar[Takes] = Takes.ROWS
    smallest_rows: ClassVar[int] = 100
    cost: ClassVar[Cost] = Cost.QUADRATIC

    def __init__(self, options: Options) -> None:
        if not options.given:
            raise UsageError("context-mmd needs the columns that are the context", hint="--given hour")
        self._options = options
        torch_module()
        self._drift = alibi("alibi_detect.cd")

    def run(self, reference: Sample, window: Sample) -> tuple[Finding, ...]:
        rows = side_by_side(reference, window, scaled=True)
        rows, notes = drawn(rows, isqrt(self._options.max_bytes // _BYTES_A_PAIR), self._options.seed)
        is_context = self._contexts(rows, reference)
        judged_columns = tuple(name for name in reference if name not in self._options.given)
        sizes = len(rows.reference), len(rows.window)
        seen = self.name, self.name, ALIBI, judged_columns, sizes, rows.missing
        if nothing := unanswered(*seen, self.smallest_rows):
            return (nothing,)
        with seeded(self._options.seed), quiet(), prefit_shim():
            detector = self._drift.ContextMMDDrift(
                np.ascontiguousarray(rows.reference[:, ~is_context]),
                np.ascontiguousarray(rows.reference[:, is_context]),
                backend=BACKEND,
                n_permutations=self._options.permutations,
                device=DEVICE,
            )
            window_rows, context = rows.window[:, ~is_context], rows.window[:, is_context]
            data = detector.predict(np.ascontiguousarray(window_rows), np.ascontiguousarray(context))["data"]
        p_value, statistic = float(data["p_val"]), float(data["distance"])
        p_value = p_value if np.isfinite(statistic) else float("nan")
        return (
            judged(
                *seen,
                statistic=statistic,
                p_value=p_value,
                p_safe=permuted(p_value, self._options.permutations) if np.isfinite(p_value) else 1.0,
                effect=Effect("mmd2", max(statistic, 0.0)),
                notes=(f"given {', '.join(self._options.given)}", *notes),
                figures={"permutations": self._options.permutations, "threshold": float(data["distance_threshold"])},
            ),
        )

    def _contexts(self, rows: Rows, reference: Sample) -> Any:
        """Which of the matrix's features are context, (features,) bool."""
        unknown = [name for name in self._options.given if name not in reference]
        if unknown or len(self._options.given) == len(reference):
            said = f"no column '{unknown[0]}'" if unknown else "every column is context, and none is judged"
            raise InvalidInput(said, hint=f"there are {', '.join(reference)}")
        of = [name for name, column in reference.items() for _ in range(int(np.prod(column.shape[1:], dtype=int)))]
        assert len(of) == len(rows.names)
        return np.array([name in self._options.given for name in of])


@contextmanager
def prefit_shim() -> Iterator[None]:
    """alibi-detect's ``CalibratedClassifierCV(…, cv="prefit")`` means a frozen classifier, while this lasts.

    Source: scikit-learn 1.6's notes on the deprecation of ``cv="prefit"``, which name this as its equal.
    """
    module = alibi("alibi_detect.cd._domain_clf")
    original = module.CalibratedClassifierCV

    def calibrated(estimator: Any, *, method: str, cv: str) -> Any:
        from sklearn.frozen import FrozenEstimator

        assert cv == "prefit"
        return original(FrozenEstimator(estimator), method=method)

    module.CalibratedClassifierCV = calibrated  # type: ignore[attr-defined]  # the one place that it is looked up
    try:
        yield
    finally:
        module.CalibratedClassifierCV = original  # type: ignore[attr-defined]
