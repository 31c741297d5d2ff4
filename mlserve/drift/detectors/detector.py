"""What every drift detector offers: two samples in, findings out. Nothing is kept from one run to the next.

    reference, window  (columns by name, rows on axis 0)
          │
          ├─ a detector of single columns (ks, cvm, chi2, fisher, tabular) ──► a finding for each column
          └─ a detector of whole rows (mmd, lsdd, classifier, …) ──► one finding for all columns together

A finding says what the test saw. Whether that is drift is decided above, over all findings and over time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

Sample = Mapping[str, Array]
"""Columns by name, all with the same number of rows on axis 0."""


class Takes(StrEnum):
    """The kind of columns that a detector is made for."""

    NUMERIC = "numeric"
    """Numbers, (rows,) each; every column by itself."""
    CATEGORICAL = "categorical"
    """Integers, booleans or texts of few values, (rows,) each; every column by itself."""
    BINARY = "binary"
    """Two values at most in both samples, (rows,) each; every column by itself."""
    MIXED = "mixed"
    """Numbers and categories side by side; every column by itself, by the test of its kind."""
    ROWS = "rows"
    """Numbers of any shape (rows, …): tables, embeddings, images; all columns together."""
    INPUTS = "inputs"
    """Whatever the model takes: it is asked for its answers, and those are judged."""


class Cost(StrEnum):
    """How a detector's time and memory grow with the number of rows n of both samples."""

    SORTING = "n log n"
    TRAINING = "trains a model on n rows"
    QUADRATIC = "n squared, capped"


class State(StrEnum):
    """Whether a finding is an answer. Only ``JUDGED`` ones have a p-value; the others are never "no drift"."""

    JUDGED = "judged"
    INSUFFICIENT = "insufficient"
    """Fewer rows than the detector can judge by."""
    MISSING = "missing"
    """Not one value is there in the window or in the reference: nulls throughout."""


@dataclass(frozen=True, slots=True)
class Effect:
    """How large a difference is, whatever the number of rows: what it is called, and its value (0 for none)."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What one detector saw in one column, or (``feature`` None) in all of ``features`` together.

    ``p_value`` is the engine's own figure, bit for bit. ``p_safe`` is the one to decide by: at least ``p_value``, never
    zero; for permutations (k + 1) / (n + 1), which holds its level at any n. Both are None unless ``state`` is JUDGED.
    ``rows`` are those judged, (reference, window), after ``missing`` ones were taken out and after any subsample, which
    ``notes`` tell. ``figures`` has what only this detector knows, such as the window's rows by how unlike the reference
    they are.
    """

    detector: str
    test: str
    engine: str
    features: tuple[str, ...]
    feature: str | None
    state: State
    rows: tuple[int, int]
    missing: tuple[int, int] = (0, 0)
    statistic: float | None = None
    p_value: float | None = None
    p_safe: float | None = None
    effect: Effect | None = None
    notes: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """What a detector is made with; each heeds what concerns it.

    ``engine`` names who computes the tests of single columns (``engines``). ``seed`` fixes everything drawn.
    ``categorical`` are the columns that ``tabular`` takes for categories, None for texts and booleans; ``given`` those
    that ``context-mmd`` conditions on. ``model`` answers a sample, rows on axis 0, for the uncertainty detectors: class
    probabilities (``logits`` if ``answers`` says so), or an ensemble's predictions. Kernel matrices take ``max_bytes``
    at most, and classifiers ``max_rows`` a sample: of more, rows are drawn, which the finding tells. ``epochs`` is how
    long classifiers and kernels are trained.
    """

    engine: str = "auto"
    seed: int = 0
    categorical: frozenset[str] | None = None
    given: tuple[str, ...] = ()
    model: Callable[[Sample], Array] | None = None
    answers: Literal["probs", "logits"] = "probs"
    uncertainty: Literal["entropy", "margin"] = "entropy"
    permutations: int = 200
    max_bytes: int = 96 << 20
    max_rows: int = 5000
    epochs: int = 10


class Detector(Protocol):
    """A way to ask whether two samples differ. Made anew for each check; the same seed gives the same findings.

    ``name`` is what ``--detector`` calls it, ``takes`` the kind of columns, ``smallest_rows`` the fewest rows of either
    sample that it judges, ``cost`` how it grows.
    """

    name: ClassVar[str]
    takes: ClassVar[Takes]
    smallest_rows: ClassVar[int]
    cost: ClassVar[Cost]

    def __init__(self, options: Options) -> None: ...

    def run(self, reference: Sample, window: Sample) -> tuple[Finding, ...]:
        """A finding for each column in ``reference``'s order, or one for all.

        Missing values (NaN, null) are taken out and told: what they mean is judged before any detector is asked.
        Raises InvalidInput where the samples' columns differ or are not of the kind taken, Unsupported where the
        engine cannot do it here, MissingExtra where it is not installed.
        """
        ...
