"""Layer 4: whether the model is worse than it was at fit, by how things turned out.

    labelled rows of the window, in the order of time
      ├─ a confidence sequence over the window     the loss now, with an interval that holds however often one looks
      ├─ bets against "no worse", kept over checks  small rises that no single window shows, and when they began
      └─ an e-value a slice, together               a rise in a part of the data

    check_concept(profile, window, states, alpha=ALPHA, mean_rows=…) -> ConceptFound
    found.judgements   found.states (to keep)   performance_part(found, estimate)   the document's ``performance``
    unjudged(states, bounds) -> Bounds           from where on to read labels, since they come later than rows

Too few labels are said, and are never "no drift": ``found.standing``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from math import log
from typing import Any

import msgspec
import numpy as np

from mlserve.core.evidence import isoformat
from mlserve.drift.arriving import WindowRows
from mlserve.drift.findings import ALPHA
from mlserve.drift.judgements import Judgement, Layer, Severity, worst
from mlserve.drift.losses import LossLevel, fitted_levels
from mlserve.drift.profile import Profile
from mlserve.drift.scanning import COLUMN, LABEL, TIME
from mlserve.drift.slice_losses import SliceLoss, judge_slices
from mlserve.drift.windows import Bounds
from mlserve.rows.tables import Array
from mlserve.stats.confidence import BernsteinState
from mlserve.stats.e_values import RisingState, acknowledged, advance

FEWEST_LABELS = 100
"""Of fewer labelled rows, that no rise is seen says nothing."""
MEAN_ROWS = 1_000_000.0
"""How many labelled rows apart false alarms of the bets are, where nobody says how often they may come."""
CRITICAL_SHARE = 0.5
"""A loss that is half as large again as the limit is critical."""


class Standing(StrEnum):
    """Whether layer 4 has an answer."""

    JUDGED = "judged"
    FEW = "few labels"
    UNLABELLED = "no labels"
    UNFITTED = "no labels at fit"


class LossState(msgspec.Struct, frozen=True):
    """What is kept of one loss from check to check: the bets, and up to when (µs since 1970) rows were bet on.

    A label that comes when rows after its own have been bet on is in no bet any more.
    """

    rising: RisingState
    until: int | None = None


@dataclass(frozen=True, slots=True)
class ConceptFound:
    """What layer 4 found, of the main loss first. ``states`` are to be kept, by metric.

    ``measured`` is the mean loss of the window's ``labelled`` rows, of ``rows``, and ``interval`` where it is.
    """

    standing: Standing
    why: str
    rows: int
    labelled: int
    level: LossLevel | None = None
    measured: float | None = None
    interval: tuple[float, float] | None = None
    since: datetime | None = None
    judgements: tuple[Judgement, ...] = ()
    slices: tuple[SliceLoss, ...] = ()
    states: Mapping[str, LossState] = field(default_factory=dict)

    @property
    def drift(self) -> bool:
        return any(judgement.drift for judgement in self.judgements)

    def to_dict(self) -> dict[str, Any]:
        """The ``performance`` part of the document, without the estimate. Of classes it is told as accuracy."""
        return {
            "metric": "accuracy" if self._is_share else None if self.level is None else self.level.metric,
            "higher_is_better": self._is_share,
            "fitted": None if self.level is None else self._told(self.level.fitted),
            "limit": None if self.level is None else self._told(self.level.limit),
            "measured": None if self.measured is None else self._told(self.measured),
            "interval": None if self.interval is None else sorted(self._told(bound) for bound in self.interval),
            "labelled": self.labelled,
            "standing": self.standing.value,
            "why": self.why,
            "drop": None
            if self.measured is None or self.level is None
            else round(self.measured - self.level.fitted, 6),
            "since": None if self.since is None else isoformat(self.since),
            "slices": [one.to_dict() for one in self.slices],
            "tests": [judgement.to_dict() for judgement in self.judgements],
            "drift": self.drift,
            "severity": worst(self.judgements).word,
        }

    @property
    def drop(self) -> float | None:
        """By how much the loss is larger than at fit."""
        if self.measured is None or self.level is None:
            return None
        return round(self.measured - self.level.fitted, 6)

    @property
    def _is_share(self) -> bool:
        return self.level is not None and self.level.metric == "error"

    def _told(self, loss: float) -> float:
        return round(1 - loss if self._is_share else loss, 6)


def check_concept(
    profile: Profile,
    window: WindowRows,
    states: Mapping[str, LossState] | None = None,
    *,
    alpha: float = ALPHA,
    mean_rows: float = MEAN_ROWS,
    settled_until: datetime | None = None,
) -> ConceptFound:
    """Whether the losses of the window's labelled rows have risen above those at fit.

    ``states`` are what the last check left, by metric; rows of times that it judged are not bet on again. ``alpha`` is
    the chance that this window alone is called worse though it is not, over all losses and over all slices each;
    ``mean_rows`` how many labelled rows lie between false alarms of the bets. Rows after ``settled_until`` have labels
    that are still coming; they are measured and not bet on yet, since what comes first is seldom like the rest.
    """
    kept = dict(states or {})
    levels = fitted_levels(profile)
    drawn = window.sample.columns
    if not levels:
        return ConceptFound(Standing.UNFITTED, "the reference has no labels", window.rows, window.labelled, states=kept)
    order = _in_order(window)
    known = {level.metric: order[_is_known(drawn, level, order)] for level in levels}
    level, at = levels[0], known[levels[0].metric]
    if not len(at):
        why = (
            f"none of {window.rows:,} rows has a label yet" if LABEL in drawn else "there are no outcomes of these rows"
        )
        return ConceptFound(Standing.UNLABELLED, why, window.rows, 0, level, states=kept)
    judgements: list[Judgement] = []
    for one in levels:
        if len(known[one.metric]):
            judgement, state = _judged(
                one,
                drawn,
                known[one.metric],
                kept.get(one.metric),
                alpha=alpha / len(levels),
                mean_rows=mean_rows,
                settled_until=settled_until,
            )
            judgements.append(judgement)
            kept[one.metric] = state
    slices = judge_slices(profile, window.sample, level, at, alpha=alpha)
    judgements += [one.judgement(level) for one in slices if one.drift]
    losses = drawn[COLUMN + level.column][at]
    interval = _sequence(level, losses, alpha).interval()
    found = ConceptFound(
        *_standing(window, len(at), judgements),
        window.rows,
        max(window.labelled, len(at)),
        level,
        float(level.scaled(losses).mean()) * level.bound,
        (interval[0] * level.bound, interval[1] * level.bound),
        judgements=tuple(judgements),
        slices=slices,
        states=kept,
    )
    return replace(found, since=_began(kept, judgements, drawn)) if found.drift else found


def acknowledge(states: Mapping[str, LossState]) -> dict[str, LossState]:
    """``states`` after a drop was dealt with: the bets begin anew, and nothing is judged twice."""
    return {name: msgspec.structs.replace(state, rising=acknowledged(state.rising)) for name, state in states.items()}


def unjudged(states: Mapping[str, LossState], bounds: Bounds) -> Bounds:
    """The window to read labels of: from where they were judged to, since labels come days after their rows.

    ``bounds`` is the check's own window, for which it stands where nothing was judged or labels are as new as rows.
    """
    known = [state.until for state in states.values() if state.until is not None]
    if not known or bounds.start is None:
        return bounds
    begin = datetime.fromtimestamp(min(known) / 1e6, UTC)
    return replace(bounds, start=min(begin, bounds.start))


def _in_order(window: WindowRows) -> Array:
    """The rows of the simple random part, by rising time."""
    uniform = np.flatnonzero(window.sample.is_uniform)
    times = window.sample.columns.get(TIME)
    return uniform if times is None else uniform[np.argsort(times[uniform], kind="stable")]


def _is_known(drawn: Mapping[str, Array], level: LossLevel, order: Array) -> Array:
    values = drawn.get(COLUMN + level.column)
    if values is None:
        return np.zeros(len(order), bool)
    found: Array = np.isfinite(values[order])
    return found


def _judged(
    level: LossLevel,
    drawn: Mapping[str, Array],
    at: Array,
    state: LossState | None,
    *,
    alpha: float,
    mean_rows: float,
    settled_until: datetime | None,
) -> tuple[Judgement, LossState]:
    losses = drawn[COLUMN + level.column][at]
    # Half of the level is for the side that nobody asks about.
    low, _ = _sequence(level, losses, alpha).interval()
    after = _bet(level, losses, _places(drawn, at), state, settled_until)
    mean = float(level.scaled(losses).mean()) * level.bound
    is_now, is_over_time = low > level.scaled_limit, after.rising.log_evidence >= log(mean_rows)
    is_critical = is_now and mean >= (1 + CRITICAL_SHARE) * level.limit
    told = []
    if is_now:
        told.append(f"the mean {_word(level)} is above {low * level.bound:.4g}, and was {level.fitted:.4g} at fit")
    if is_over_time:
        digits = after.rising.log_evidence / log(10)
        told.append(f"bets over {after.rising.rows:,} labelled rows have won {digits:.1f} digits")
    return (
        Judgement(
            Layer.CONCEPT,
            None,
            level.metric,
            Severity.NONE if not (is_now or is_over_time) else Severity.CRITICAL if is_critical else Severity.WARN,
            is_now or is_over_time,
            statistic=after.rising.log_evidence,
            effect=mean - level.fitted,
            threshold=level.limit - level.fitted,
            detail="; ".join(told),
            expected=level.fitted,
            actual=mean,
        ),
        after,
    )


def _sequence(level: LossLevel, losses: Array, alpha: float) -> BernsteinState:
    """Two-sided, so that each side alone has ``alpha``."""
    return BernsteinState(alpha=2 * alpha).added(level.scaled(losses))


def _bet(
    level: LossLevel, losses: Array, places: Array | None, state: LossState | None, settled_until: datetime | None
) -> LossState:
    """The bets after those rows that are later than what was bet on before; another limit begins anew."""
    if state is None or not np.isclose(state.rising.limit, level.scaled_limit, rtol=1e-9):
        state = LossState(RisingState(level.scaled_limit), None if state is None else state.until)
    if places is None:
        rows = np.arange(state.rising.rows, state.rising.rows + len(losses))
        return LossState(advance(state.rising, level.scaled(losses), rows)[0], state.until)
    fresh = np.ones(len(losses), bool) if state.until is None else places > state.until
    if settled_until is not None:
        fresh &= places <= settled_until.timestamp() * 1e6
    rising, _ = advance(state.rising, level.scaled(losses[fresh]), places[fresh])
    return LossState(rising, int(places[fresh][-1]) if fresh.any() else state.until)


def _places(drawn: Mapping[str, Array], at: Array) -> Array | None:
    """Times in µs since 1970; None where rows have none."""
    times = drawn.get(TIME)
    if times is None or np.isnat(times[at]).any():
        return None
    return times[at].astype("datetime64[us]").astype(np.int64)


def _began(states: Mapping[str, LossState], judgements: list[Judgement], drawn: Mapping[str, Array]) -> datetime | None:
    """When the loss that alarms began to rise, as the bets that won most tell."""
    if TIME not in drawn:
        return None
    alarming = [states[one.test].rising for one in judgements if one.drift and one.test in states]
    places = [one.since for one in alarming if one.since]
    return datetime.fromtimestamp(places[0] / 1e6, UTC) if places else None


def _standing(window: WindowRows, labelled: int, judgements: list[Judgement]) -> tuple[Standing, str]:
    total = max(window.labelled, labelled)
    if labelled < FEWEST_LABELS and not any(judgement.drift for judgement in judgements):
        return (
            Standing.FEW,
            f"{labelled:,} of {window.rows:,} rows have labels, and {FEWEST_LABELS} are needed at least",
        )
    read = "" if labelled == total else f", {labelled:,} of them drawn"
    return Standing.JUDGED, f"{total:,} of {window.rows:,} rows have labels{read}"


def _word(level: LossLevel) -> str:
    return level.metric.replace("_", " ")
