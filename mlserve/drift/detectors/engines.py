"""Who computes: alibi-detect where it is installed, else scipy for the tests of single columns.

    engine_named("auto") ──► AlibiTests   ks, cvm, chi2, fisher; and all detectors of whole rows
                         └─► ScipyTests   ks, cvm, chi2, fisher

alibi-detect is imported when the first test is asked for, never before: it brings torch and transformers with it.
"""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from mlserve.core.plugins import missing_extra
from mlserve.drift.detectors.detector import Array
from mlserve.drift.detectors.licence import tell_once
from mlserve.errors import MissingExtra, UsageError

ALIBI, SCIPY = "alibi-detect", "scipy"
Tested = tuple[float, float]
"""A statistic and its p-value."""


class ColumnTests(Protocol):
    """The tests of one column, (rows,) in each sample, without missing values."""

    name: str

    def ks(self, reference: Array, window: Array) -> Tested:
        """Kolmogorov–Smirnov: the largest distance of the two distribution functions."""

    def cvm(self, reference: Array, window: Array) -> Tested:
        """Cramér–von Mises: their squared distance, summed."""

    def chi2(self, reference: Array, window: Array) -> Tested:
        """Pearson's χ² of categories, which are numbered from 0; of a 2 × 2 table with Yates' correction."""

    def fisher(self, reference: Array, window: Array) -> Tested:
        """Fisher's exact test of 0 and 1, two-sided; the statistic is the odds ratio, NaN where it is none."""


class AlibiTests:
    """As alibi-detect computes them; p-values of ks, cvm and chi2 are float32."""

    name = ALIBI

    def __init__(self) -> None:
        self._drift = alibi("alibi_detect.cd")

    def ks(self, reference: Array, window: Array) -> Tested:
        return self._score(self._drift.KSDrift, reference, window)

    def cvm(self, reference: Array, window: Array) -> Tested:
        return self._score(self._drift.CVMDrift, reference, window)

    def chi2(self, reference: Array, window: Array) -> Tested:
        return self._score(self._drift.ChiSquareDrift, reference, window)

    def fisher(self, reference: Array, window: Array) -> Tested:
        return self._score(self._drift.FETDrift, reference, window, alternative="two-sided")

    def tabular(self, reference: Array, window: Array, *, is_categorical: bool) -> Tested:
        """Its mixed test of one column: χ² of categories, else ks."""
        categories = {0: None} if is_categorical else {}
        return self._score(self._drift.TabularDrift, reference, window, categories_per_feature=categories)

    def _score(self, kind: Callable[..., Any], reference: Array, window: Array, **options: object) -> Tested:
        with quiet():
            p_values, statistics = kind(reference[:, None], **options).score(window[:, None])
        return float(statistics[0]), float(p_values[0])


class ScipyTests:
    """As scipy computes them; ks is exact for small samples."""

    name = SCIPY

    def __init__(self) -> None:
        try:
            self._stats = importlib.import_module("scipy.stats")
        except ModuleNotFoundError as error:
            raise missing_extra("scipy", "drift-lite") from error

    def ks(self, reference: Array, window: Array) -> Tested:
        with quiet():
            found = self._stats.ks_2samp(reference, window)
        return float(found.statistic), float(found.pvalue)

    def cvm(self, reference: Array, window: Array) -> Tested:
        with quiet():
            found = self._stats.cramervonmises_2samp(reference, window)
        return float(found.statistic), float(found.pvalue)

    def chi2(self, reference: Array, window: Array) -> Tested:
        size = int(max(reference.max(), window.max())) + 1
        table = np.array([np.bincount(part, minlength=size) for part in (reference, window)])
        # A category that neither sample has would expect nothing, by which χ² divides.
        found = self._stats.chi2_contingency(table[:, table.sum(axis=0) > 0])
        return float(found.statistic), float(found.pvalue)

    def fisher(self, reference: Array, window: Array) -> Tested:
        ones, twos = int(window.sum()), int(reference.sum())
        with quiet():
            found = self._stats.fisher_exact([[ones, twos], [len(window) - ones, len(reference) - twos]])
        return float(found.statistic), float(found.pvalue)


def engine_named(name: str = "auto") -> ColumnTests:
    """The engine called ``name``; ``auto`` is the best that is installed. Raises UsageError, MissingExtra."""
    if name == "auto":
        name = engine_in_use() or SCIPY
    if name not in (ALIBI, SCIPY):
        raise UsageError(f"no drift engine '{name}'", hint=f"there are {ALIBI} and {SCIPY}")
    return AlibiTests() if name == ALIBI else ScipyTests()


def engine_in_use() -> str | None:
    """The engine that ``auto`` means here, None where neither is installed; nothing is imported to find out."""
    if find_spec("alibi_detect") is not None:
        return ALIBI
    return SCIPY if find_spec("scipy") is not None else None


def alibi(module: str) -> ModuleType:
    """A module of alibi-detect, its licence told if it never was. Raises MissingExtra where it is not installed."""
    if find_spec("alibi_detect") is None:
        raise missing_extra("alibi_detect", "drift")
    tell_once()
    with quiet():
        return importlib.import_module(module)


def torch_module() -> ModuleType:
    """torch, which alibi-detect's detectors of whole rows compute with. Raises MissingExtra."""
    if find_spec("torch") is None:
        raise MissingExtra("this needs 'torch', which is not installed", hint="pip install 'mlserve[drift,torch]'")
    return importlib.import_module("torch")


@contextmanager
def quiet() -> Iterator[None]:
    """What the engines say beside their answers is kept back, and transformers, which they import, fetches nothing."""
    before, level = os.environ.get("HF_HUB_OFFLINE"), logging.root.manager.disable
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before
