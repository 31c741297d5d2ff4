"""Columns of a sample as detectors take them: numbers as they are, categories as the text they are counted by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlserve.drift.detectors.detector import Takes
from mlserve.drift.effects import Summary
from mlserve.drift.numeric import NumericSummary
from mlserve.drift.predictions import PREFIX
from mlserve.drift.profile import Profile
from mlserve.drift.sample import DrawnRows
from mlserve.drift.slicing import as_numbers, as_texts, features_in
from mlserve.rows.tables import Array


def feature_names(profile: Profile) -> list[str]:
    """The columns of features, in order; not those of predictions."""
    return [name for name in profile.summaries if not name.startswith(PREFIX)]


def feature_columns(profile: Profile, drawn: DrawnRows) -> dict[str, Array]:
    """The columns of the simple random part: (rows,) float64 of numbers, objects of text (None for a null) else."""
    found = features_in(profile.schema, drawn)
    return {
        name: as_numbers(values) if isinstance(profile.summaries[name], NumericSummary) else as_texts(values)
        for name in feature_names(profile)
        if (values := found[name][drawn.is_uniform] if name in found else None) is not None
    }


def kinds_of(summaries: Mapping[str, Summary], *samples: Mapping[str, Array]) -> dict[str, Takes]:
    """What kind of detector each column that all ``samples`` have is for."""
    names = [name for name in samples[0] if all(name in sample for sample in samples)]
    return {name: _kind(summaries[name], [sample[name] for sample in samples]) for name in names}


def is_mostly_finite(values: Array, share: float = 0.9) -> bool:
    """Whether rows without a number are few enough to be left out."""
    return bool(len(values)) and float(np.isfinite(values).mean()) >= share


def _kind(summary: Summary, parts: list[Array]) -> Takes:
    if isinstance(summary, NumericSummary):
        return Takes.NUMERIC
    values = {value for part in parts for value in part.tolist() if value is not None}
    return Takes.BINARY if len(values) <= 2 else Takes.CATEGORICAL
