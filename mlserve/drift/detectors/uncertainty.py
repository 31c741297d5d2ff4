"""How sure the model is of the window's rows, against the reference's: its answers are what is compared.

The model is whatever the caller gives (``Options.model``), such as a version in ONNX Runtime, asked once a sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from mlserve.drift.detectors.columns import check_alike
from mlserve.drift.detectors.detector import Array, Cost, Effect, Finding, Options, Sample, Takes
from mlserve.drift.detectors.engines import ALIBI, alibi, quiet
from mlserve.drift.detectors.finding import judged, safe, unanswered
from mlserve.errors import InvalidInput, UsageError
from mlserve.stats.effects import total_variation, wasserstein_sd


class _Uncertainty:
    """What they share: answers of both samples without rows that are not finite, and one finding."""

    name: ClassVar[str]
    takes: ClassVar[Takes] = Takes.INPUTS
    smallest_rows: ClassVar[int] = 30
    cost: ClassVar[Cost] = Cost.SORTING

    def __init__(self, options: Options) -> None:
        if options.model is None:
            raise UsageError(f"{self.name} asks the model, and none was given")
        self._options = options
        self._model: Callable[[Sample], Array] = options.model
        self._drift = alibi("alibi_detect.cd")

    def run(self, reference: Sample, window: Sample) -> tuple[Finding, ...]:
        check_alike(reference, window)
        one, gone = self._answers(reference)
        other, gone_too = self._answers(window)
        seen = (
            *(self.name, self._test(), ALIBI, tuple(reference)),
            *((len(one), len(other)), (gone, gone_too)),
        )
        if nothing := unanswered(*seen, self.smallest_rows):
            return (nothing,)
        with quiet():
            try:
                data = self._made(one).predict(other)["data"]
            except ValueError as error:
                raise InvalidInput(f"{self.name}: {str(error).lower()}", hint="answers that are logits") from error
        p_value, statistic = float(data["p_val"][0]), float(data["distance"][0])
        effect = self._effect(one, other)
        return (judged(*seen, statistic=statistic, p_value=p_value, p_safe=safe(p_value), effect=effect),)

    def _answers(self, sample: Sample) -> tuple[Array, int]:
        rows = len(next(iter(sample.values())))
        answers = self._shaped(np.asarray(self._model(sample)))
        if len(answers) != rows:
            raise InvalidInput(f"the model gave {len(answers)} answers to {rows} rows")
        whole = np.isfinite(answers).all(axis=1)
        return answers[whole], int((~whole).sum())

    def _test(self) -> str:
        return "ks"

    def _shaped(self, answers: Array) -> Array:
        raise NotImplementedError

    def _made(self, reference: Array) -> Any:
        raise NotImplementedError

    def _effect(self, reference: Array, window: Array) -> Effect:
        raise NotImplementedError


class ClassifierUncertainty(_Uncertainty):
    """The entropy of class probabilities by ks, or (``margin``) how many rows are a close decision by chi2."""

    name = "classifier-uncertainty"

    def _test(self) -> str:
        return "ks" if self._options.uncertainty == "entropy" else "chi2"

    def _shaped(self, answers: Array) -> Array:
        """(rows, classes); one probability a row is that of the second of two classes."""
        flat = answers.reshape(len(answers), -1)
        if flat.shape[1] == 1 and self._options.answers == "probs":
            return np.concatenate([1 - flat, flat], axis=1)
        if flat.shape[1] < 2:
            raise InvalidInput(
                "one logit a row says nothing of how sure a classifier is", hint="answers that are probs"
            )
        return flat

    def _made(self, reference: Array) -> Any:
        return self._drift.ClassifierUncertaintyDrift(
            reference,
            model=_as_they_are,
            backend=None,
            preds_type=self._options.answers,
            uncertainty_type=self._options.uncertainty,
        )

    def _effect(self, reference: Array, window: Array) -> Effect:
        one, other = (self._uncertain(part) for part in (reference, window))
        if self._options.uncertainty == "entropy":
            return Effect("wasserstein_sd", wasserstein_sd(one, other))
        counts = (np.bincount(part.astype(np.int64), minlength=2) for part in (one, other))
        return Effect("total_variation", total_variation(*counts))

    def _uncertain(self, answers: Array) -> Array:
        preprocess = alibi("alibi_detect.cd.preprocess")
        found: Array = preprocess.classifier_uncertainty(
            answers, _as_they_are, preds_type=self._options.answers, uncertainty_type=self._options.uncertainty
        )[:, 0]
        return found


class RegressorUncertainty(_Uncertainty):
    """The standard deviation of an ensemble's predictions, (rows, members), by ks."""

    name = "regressor-uncertainty"

    def _shaped(self, answers: Array) -> Array:
        flat = answers.reshape(len(answers), -1)
        if flat.shape[1] < 2:
            hint = "a model whose output has a prediction of each member of an ensemble"
            raise InvalidInput("one prediction a row says nothing of how sure a regressor is", hint=hint)
        return flat

    def _made(self, reference: Array) -> Any:
        return self._drift.RegressorUncertaintyDrift(
            reference, model=_as_they_are, backend=None, uncertainty_type="ensemble"
        )

    def _effect(self, reference: Array, window: Array) -> Effect:
        return Effect("wasserstein_sd", wasserstein_sd(reference.std(axis=1), window.std(axis=1)))


def _as_they_are(answers: Array) -> Array:
    """The model as alibi-detect sees it: the answers were asked for already."""
    return answers
