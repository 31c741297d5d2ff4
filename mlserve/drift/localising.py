"""Where drift is: which features, since when in the window, in what part of the rows, and which rows are most unlike.

a feature's values in blocks of time ─► effect a block ─► change-point ─► since
reference and window side by side ─► a small tree that tells them apart ─► slices, example rows
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mlserve.compare.ladder.features import Features
from mlserve.compare.ladder.rules import try_rules
from mlserve.core.evidence import isoformat
from mlserve.drift.arriving import WindowRows
from mlserve.drift.categorical import as_category
from mlserve.drift.numeric import NumericSummary
from mlserve.drift.profile import Profile
from mlserve.drift.sampled_columns import feature_columns
from mlserve.drift.scanning import LABEL, TIME
from mlserve.rows.tables import Array
from mlserve.stats.changepoint import shift_of
from mlserve.stats.effects import total_variation, wasserstein_sd

BLOCKS = 24
FEWEST_BLOCK_ROWS = 30
SURE = 0.01
"""The chance to date a change that was none."""
SLICES = 5
LEAST_LIFT = 1.2
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Localised:
    """``since`` is by drifting feature: when its change began, None where it was there from the window's start on."""

    features: tuple[str, ...]
    since: Mapping[str, datetime | None]
    slices: tuple[dict[str, Any], ...]
    rows: tuple[dict[str, Any], ...]
    note: str | None = None

    @property
    def began(self) -> datetime | None:
        """When the first of the changes that have a date began."""
        return min((moment for moment in self.since.values() if moment is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        found = {
            "features": list(self.features),
            "since": None if self.began is None else isoformat(self.began),
            "slices": list(self.slices),
            "rows": list(self.rows),
        }
        return found if self.note is None else {**found, "note": self.note}


def localise(profile: Profile, window: WindowRows, drifting: Sequence[str], *, seed: int = 0) -> Localised | None:
    """Where the drift of ``drifting`` features (the largest first) is; None of no window.

    Slices need scikit-learn; without it ``note`` says so.
    """
    one, other = feature_columns(profile, profile.sample), feature_columns(profile, window.sample)
    names = [name for name in other if name in one]
    if not names or not window.sample.is_uniform.any():
        return None
    times = window.sample.columns.get(TIME)
    drawn_times = None if times is None else times[window.sample.is_uniform]
    since = {
        name: _since(profile, name, one[name], other[name], drawn_times, seed) for name in drifting if name in names
    }
    parts = Features(
        tuple(name for name in names if isinstance(profile.summaries[name], NumericSummary)),
        *_stacked(profile, names, one, other),
    )
    rows = len(one[names[0]]), len(other[names[0]])
    is_window = np.arange(sum(rows)) >= rows[0]
    found, note = try_rules(parts, is_window, np.where(is_window, 1 / rows[1], 1 / rows[0]) * sum(rows) / 2)
    slices = [_slice(rule, rows) for rule in found]
    return Localised(
        tuple(drifting),
        since,
        tuple(one for one in slices if one["lift"] >= LEAST_LIFT)[:SLICES],
        tuple(_examples(profile, window, drifting, one, other, drawn_times)),
        note,
    )


def _since(profile: Profile, name: str, one: Array, other: Array, times: Array | None, seed: int) -> datetime | None:
    """The beginning of the block of time from which the effect is another."""
    if times is None or np.isnat(times).any():
        return None
    order = np.argsort(times, kind="stable")
    blocks = np.array_split(order, min(BLOCKS, len(order) // FEWEST_BLOCK_ROWS) or 1)
    if len(blocks) < 4:
        return None
    effects = [_effect(profile, name, one, other[block]) for block in blocks]
    if any(value is None or not np.isfinite(value) for value in effects):
        return None
    shift = shift_of([value for value in effects if value is not None], seed=seed)
    if shift is None or shift.p_value > SURE or shift.after <= shift.before:
        return None
    first = times[blocks[shift.place][0]].astype("datetime64[us]").item()
    return first.replace(tzinfo=UTC) if isinstance(first, datetime) else None


def _effect(profile: Profile, name: str, one: Array, other: Array) -> float | None:
    if isinstance(profile.summaries[name], NumericSummary):
        before, after = one[np.isfinite(one)], other[np.isfinite(other)]
        return wasserstein_sd(before, after) if len(before) and len(after) else None
    before, after = _texts(one), _texts(other)
    if not len(before) or not len(after):
        return None
    values, codes = np.unique(np.concatenate([before, after]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(values)) for part in np.split(codes, [len(before)])]
    return total_variation(*counts)


def _texts(values: Array) -> Array:
    return np.array([value for value in values.tolist() if value is not None], str)


def _stacked(
    profile: Profile, names: Sequence[str], one: Mapping[str, Array], other: Mapping[str, Array]
) -> tuple[Array, tuple[str, ...], Array]:
    """Numbers (rows, n), the names of the texts, and those (rows, m); the reference's rows first."""
    numeric = [name for name in names if isinstance(profile.summaries[name], NumericSummary)]
    texts = [name for name in names if name not in numeric]
    rows = len(one[names[0]]) + len(other[names[0]])
    sides = {name: np.concatenate([one[name], other[name]]) for name in names}
    numbers = np.stack([sides[name] for name in numeric], axis=1) if numeric else np.zeros((rows, 0))
    words = np.stack([sides[name] for name in texts], axis=1) if texts else np.zeros((rows, 0), object)
    return numbers, tuple(texts), words


def _slice(rule: Mapping[str, Any], rows: tuple[int, int]) -> dict[str, Any]:
    """A leaf: how many of the window's rows are in it, and how many times their share is the reference's."""
    total = sum(rows) / 2
    after, before = rule["differing"] / total, (rule["rows"] - rule["differing"]) / total
    return {
        "where": rule["where"],
        "rows": round(after * rows[1]),
        "share": round(after, 4),
        "lift": round(after / max(before, 1 / rows[0]), 2),
    }


def _examples(
    profile: Profile,
    window: WindowRows,
    drifting: Sequence[str],
    one: Mapping[str, Array],
    other: Mapping[str, Array],
    times: Array | None,
) -> list[dict[str, Any]]:
    """The rows whose values of the drifting features are furthest out in the reference."""
    named = [name for name in drifting if name in other]
    if not named:
        return []
    far = np.sum([_unlike(profile, name, one[name], other[name]) for name in named], axis=0)
    index = window.sample.index[window.sample.is_uniform]
    labels = window.sample.columns.get(LABEL)
    kept = None if labels is None else labels[window.sample.is_uniform]
    return [
        {
            "row": int(index[place]),
            "time": None if times is None or np.isnat(times[place]) else f"{times[place]}Z",
            "inputs": {name: _plain(values[place]) for name, values in other.items()},
            "label": None if kept is None else _plain(kept[place]),
        }
        for place in np.argsort(-far, kind="stable")[:EXAMPLES].tolist()
    ]


def _unlike(profile: Profile, name: str, one: Array, other: Array) -> Array:
    """How rare a value as far out is in the reference: −ln of its share, a null's that of nulls."""
    if isinstance(profile.summaries[name], NumericSummary):
        held = np.sort(one[np.isfinite(one)])
        below = np.searchsorted(held, other, "right")
        beyond = np.minimum(below, len(held) - np.searchsorted(held, other, "left")).astype(np.float64)
        beyond[np.isnan(other)] = np.isnan(one).sum()
        rare: Array = -np.log((beyond + 1) / (len(one) + 1))
        return rare
    counts: dict[str | None, int] = {}
    for value in one.tolist():
        counts[value] = counts.get(value, 0) + 1
    seldom: Array = -np.log(np.array([counts.get(value, 0) + 1 for value in other.tolist()]) / (len(one) + 1))
    return seldom


def _plain(value: Any) -> Any:
    if value is None or value != value:
        return None
    return value if isinstance(value, str) else as_category(value) if isinstance(value, np.bool_) else float(value)
