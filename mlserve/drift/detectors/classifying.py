"""Whole rows by a classifier that tries to tell window from reference: classifier, spot-the-diff.

Every row is scored by a network that has not seen it (five folds), so the scores also say which rows are unlike.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mlserve.drift.detectors.columns import Rows, drawn, side_by_side
from mlserve.drift.detectors.detector import Array, Cost, Effect, Finding, Options, Sample, Takes
from mlserve.drift.detectors.engines import ALIBI, alibi, quiet, torch_module
from mlserve.drift.detectors.finding import judged, safe, unanswered
from mlserve.drift.detectors.kernels import BACKEND, DEVICE
from mlserve.drift.detectors.seeding import one_thread, seeded
from mlserve.stats.effects import auc

FOLDS = 5
BATCH_ROWS = 64
LEARNING_RATE = 3e-3


class _Trained:
    """What they share: scaled rows, a network trained on four fifths at a time, one finding with the AUC as effect."""

    name: ClassVar[str]
    takes: ClassVar[Takes] = Takes.ROWS
    smallest_rows: ClassVar[int] = 100
    cost: ClassVar[Cost] = Cost.TRAINING

    def __init__(self, options: Options) -> None:
        self._options = options
        torch_module()
        self._drift = alibi("alibi_detect.cd")

    def run(self, reference: Sample, window: Sample) -> tuple[Finding, ...]:
        rows, notes = drawn(
            side_by_side(reference, window, scaled=True), 2 * self._options.max_rows, self._options.seed
        )
        sizes = len(rows.reference), len(rows.window)
        seen = self.name, self.name, ALIBI, tuple(reference), sizes, rows.missing
        if nothing := unanswered(*seen, self.smallest_rows):
            return (nothing,)
        with seeded(self._options.seed), quiet(), one_thread():
            data = self._made(rows.reference).predict(rows.window)["data"]
        p_value = float(data["p_val"])
        return (
            judged(
                *seen,
                statistic=float(data["distance"]),
                p_value=p_value,
                p_safe=safe(p_value),
                effect=Effect("auc", auc(data["probs_ref"], data["probs_test"])),
                notes=notes,
                figures={
                    "reference_scores": np.asarray(data["probs_ref"], np.float64),
                    "window_scores": np.asarray(data["probs_test"], np.float64),
                    **self._more(rows, data),
                },
            ),
        )

    def _made(self, reference: Array) -> Any:
        raise NotImplementedError

    def _more(self, rows: Rows, data: dict[str, Any]) -> dict[str, Any]:
        del rows, data
        return {}

    def _training(self) -> dict[str, Any]:
        return {
            "backend": BACKEND,
            "n_folds": FOLDS,
            "train_size": None,
            "seed": self._options.seed,
            "epochs": self._options.epochs,
            "batch_size": BATCH_ROWS,
            "learning_rate": LEARNING_RATE,
            "verbose": 0,
            "device": DEVICE,
        }


class Classifier(_Trained):
    """A small network; its scores of window and reference are compared by a one-sided ks."""

    name = "classifier"

    def _made(self, reference: Array) -> Any:
        model = network(reference.shape[1])
        return self._drift.ClassifierDrift(reference, model, preds_type="logits", **self._training())


class SpotTheDiff(_Trained):
    """A classifier that measures the way to one learned row: ``differences`` is how the reference's mean would change.

    Its figures are by feature, in standard deviations of the reference, those of the last fold.
    """

    name = "spot-the-diff"

    def _made(self, reference: Array) -> Any:
        return self._drift.SpotTheDiffDrift(reference, **self._training())

    def _more(self, rows: Rows, data: dict[str, Any]) -> dict[str, Any]:
        difference = np.asarray(data["diffs"], np.float64)[0] * np.sign(float(data["diff_coeffs"][0]))
        return {"differences": dict(zip(rows.names, difference.tolist(), strict=True))}


def network(features: int) -> Any:
    """Two layers to two logits; drawn from torch's generator."""
    torch = torch_module()
    return torch.nn.Sequential(torch.nn.Linear(features, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
