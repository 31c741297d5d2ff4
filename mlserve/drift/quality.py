"""Layer 0: whether the rows themselves are what they should be, before anybody asks whether they have moved.

    schema      columns missing, unknown, of another type          rows        more or fewer than usually come
    nulls       more than the reference has; gone altogether       freshness   nothing came since some time
    infinities, range, unseen categories, constant columns         duplicates  rows that repeat others

Each is an exact test of a count against what the reference leads one to expect, and an effect: the share of rows. What
is surprising and small is not told, nor what is large and may be chance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import exp

import numpy as np

from mlserve.drift.categorical import CategorySummary
from mlserve.drift.distinct import Distinct
from mlserve.drift.effects import Summary
from mlserve.drift.judgements import Judgement, Layer, Severity
from mlserve.drift.numeric import NumericSummary
from mlserve.drift.predictions import PREFIX
from mlserve.drift.profile import Profile
from mlserve.drift.schema import Feature
from mlserve.drift.sources import NO_FAULTS, Faults
from mlserve.stats.counts import binomial_above, poisson_above, poisson_below

ALPHA = 1e-5
"""The chance of each check to be wrong. Some hundred are made each day, and one page a quarter is what people bear."""
WARN_SHARE = 0.01
CRITICAL_SHARE = 0.2
"""So large a share of rows of the wrong kind is worth a word, so large a one is an incident."""
GONE_SHARE = 0.95
DUPLICATE_SHARE = 0.1
FEW, FEWEST = 0.5, 0.1
MANY = 3.0
"""Half or three times the usual traffic is worth a word, a tenth of it an incident; less than that comes and goes."""
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came: summaries by column, how many different rows, what of the schema was not as the profile has it.

    ``rows`` is as read, ``estimated_rows`` counts each as often as it stands for. ``start`` and ``end`` are what was
    asked for, ``last`` when the last row came; None where the window has no times.
    """

    summaries: dict[str, Summary]
    distinct: Distinct
    rows: int
    estimated_rows: float
    faults: Faults = NO_FAULTS
    start: datetime | None = None
    end: datetime | None = None
    last: datetime | None = None


def judge_quality(profile: Profile, arrived: Arrived) -> list[Judgement]:
    """What layer 0 says of a window, a judgement for each check that was made, those without a finding too.

    Of a window without any row there is nothing to judge, and the answer is empty.
    """
    if not arrived.rows:
        return []
    found = [*_schema(arrived), *_volume(profile, arrived), _duplicates(profile, arrived)]
    features = {feature.name: feature for feature in profile.schema.features}
    for name, reference in profile.summaries.items():
        window = arrived.summaries.get(name)
        if window is None or name in arrived.faults.missing or not window.rows or not reference.rows:
            continue
        if name in (f"{PREFIX}error", f"{PREFIX}loss"):
            continue  # null wherever nobody has told the label yet
        found += _column(name, features.get(name), reference, window)
    return found


def window_summary(profile: Profile, name: str) -> Summary:
    """An empty summary for a window's column ``name``, in the reference's cells, that counts what leaves its bounds.

    The bounds are those that the user said, else the reference's smallest and largest.
    """
    reference = profile.summaries[name]
    if isinstance(reference, CategorySummary) or not reference.finite:
        return reference.empty()
    has_said = np.isfinite([reference.low, reference.high])
    low = reference.low if has_said[0] else reference.smallest
    high = reference.high if has_said[1] else reference.largest
    return reference.empty(low, high)


def _column(name: str, feature: Feature | None, reference: Summary, window: Summary) -> Iterable[Judgement]:
    yield _nulls(name, feature, reference, window)
    if isinstance(reference, NumericSummary) and isinstance(window, NumericSummary):
        yield _infinities(name, reference, window)
        yield _range(name, feature, reference, window)
    elif isinstance(reference, CategorySummary) and isinstance(window, CategorySummary):
        yield _unseen(name, feature, reference, window)
    yield _constant(name, reference, window)


def _nulls(name: str, feature: Feature | None, reference: Summary, window: Summary) -> Judgement:
    usual = _expected(reference.nulls, reference.rows)
    share = window.nulls / window.rows
    p_value = binomial_above(window.nulls, window.rows, usual)
    more = share - usual
    severity = _severity(p_value, more)
    detail = f"{share:.2%} null, {reference.nulls / reference.rows:.2%} in the reference"
    if share >= GONE_SHARE and more >= CRITICAL_SHARE and p_value <= ALPHA:
        severity, detail = Severity.CRITICAL, f"gone null: {detail}"
    elif feature is not None and feature.is_nullable is False and window.nulls:
        severity = max(severity, Severity.WARN)
    return _judged(name, "nulls", severity, p_value, more, reference.nulls / reference.rows, share, detail)


def _infinities(name: str, reference: NumericSummary, window: NumericSummary) -> Judgement:
    usual = _expected(reference.infinities, reference.rows)
    share = window.infinities / window.rows
    p_value = binomial_above(window.infinities, window.rows, usual)
    # A single one spoils every mean downstream, so the smallest share that is no chance is worth a word.
    severity = _severity(p_value, share - usual)
    if window.infinities and not reference.infinities:
        severity = max(severity, Severity.LOW)
    detail = f"{window.infinities} infinite values"
    return _judged(
        name, "infinities", severity, p_value, share - usual, reference.infinities, window.infinities, detail
    )


def _range(name: str, feature: Feature | None, reference: NumericSummary, window: NumericSummary) -> Judgement:
    outside = window.below + window.above
    finite = max(window.finite, 1)
    before = reference.below + reference.above
    # An earlier window was counted within the profile's bounds too, and may have had values beyond them.
    is_said = before > 0 or (feature is not None and (feature.low is not None or feature.high is not None))
    # Of n values in any order the next is the largest, or smallest, of all with a chance of 1 / (n + 1) each.
    usual = _expected(before, reference.finite) if is_said else min(1.0, 2.0 / (reference.finite + 1))
    p_value = binomial_above(outside, finite, usual) if window.finite else 1.0
    share = outside / finite
    severity = _severity(p_value, share - usual)
    where = f"{window.low:.6g} to {window.high:.6g}"
    detail = f"{share:.2%} outside of {where}: {window.smallest:.6g} to {window.largest:.6g}" if outside else ""
    bounds = [float(window.low), float(window.high)]
    actual = [window.smallest, window.largest] if window.finite else None
    return _judged(name, "range", severity, p_value, share - usual, _finite(bounds), actual, detail)


def _unseen(name: str, feature: Feature | None, reference: CategorySummary, window: CategorySummary) -> Judgement:
    said = None if feature is None else feature.categories
    allowed = frozenset(reference.counts) if said is None else frozenset(said)
    unseen = window.unseen(allowed)
    count = sum(unseen.values()) + window.other
    # Good (1953): the chance that the next value is new is about the share of values that came once.
    once = sum(1 for seen in reference.counts.values() if seen == 1) + reference.other
    before = once if said is None else sum(reference.unseen(allowed).values())
    usual = _expected(before, reference.present)
    present = max(window.present, 1)
    p_value = binomial_above(count, present, usual) if window.present else 1.0
    share = count / present
    shown = list(unseen)[:SHOWN]
    severity = _severity(p_value, share - usual)
    detail = f"{share:.2%} of values that the reference has not: {', '.join(shown)}" if count else ""
    return _judged(name, "unseen", severity, p_value, share - usual, None, shown, detail)


def _constant(name: str, reference: Summary, window: Summary) -> Judgement:
    """A sensor that is stuck: as many rows with one value, where the reference's rows have it only so often."""
    if not window.is_constant or reference.is_constant:
        return _judged(name, "constant", Severity.NONE, None, 0.0, None, None, "")
    if isinstance(reference, NumericSummary) and isinstance(window, NumericSummary):
        usual = reference.counts[int(np.argmax(window.counts))] / max(reference.finite, 1)
        rows, value = window.finite, str(window.smallest)
    else:
        assert isinstance(reference, CategorySummary)
        assert isinstance(window, CategorySummary)
        value = next(iter(window.counts))
        usual, rows = reference.counts.get(value, 0) / max(reference.present, 1), window.present
    chance = float(max(usual, 1.0 / max(reference.rows, 1)) ** rows)
    severity = Severity.CRITICAL if chance <= ALPHA else Severity.NONE
    detail = f"stuck at {value} in all {rows} rows" if severity else ""
    return _judged(name, "constant", severity, chance, 1.0 - float(usual), float(usual), 1.0, detail)


def _schema(arrived: Arrived) -> Iterable[Judgement]:
    for name in arrived.faults.missing:
        yield _judged(name, "missing", Severity.CRITICAL, None, 1.0, None, None, "the column is not there")
    for name, kind in arrived.faults.retyped:
        yield _judged(name, "type", Severity.CRITICAL, None, 1.0, None, kind, f"the column now holds {kind}")
    for name in arrived.faults.extra:
        detail = "a column that the model does not know"
        yield Judgement(Layer.QUALITY, name, "extra", Severity.LOW, detail=detail)


def _volume(profile: Profile, arrived: Arrived) -> Iterable[Judgement]:
    rate = profile.reference.rows_per_s
    if rate is None or arrived.start is None or arrived.end is None:
        return
    expected = rate * (arrived.end - arrived.start).total_seconds()
    if expected <= 0:
        return
    count = round(arrived.estimated_rows)
    p_value = poisson_below(count, expected) if count < expected else poisson_above(count, expected)
    ratio = arrived.estimated_rows / expected
    severity = Severity.NONE
    if p_value <= ALPHA:
        severity = (
            Severity.CRITICAL if ratio <= FEWEST else Severity.WARN if ratio <= FEW or ratio >= MANY else severity
        )
    detail = f"{count} rows, about {expected:.0f} are usual"
    yield Judgement(
        Layer.QUALITY,
        None,
        "rows",
        severity,
        False,
        ratio,
        p_value,
        None,
        abs(ratio - 1),
        None,
        detail,
        expected,
        count,
    )
    if arrived.last is not None:
        yield _freshness(rate, arrived.start, arrived.end, arrived.last)


def _freshness(rate: float, start: datetime, end: datetime, last: datetime) -> Judgement:
    silent_s = max(0.0, (end - last).total_seconds())
    chance = exp(-min(rate * silent_s, 700.0))
    share = silent_s / (end - start).total_seconds()
    severity = Severity.WARN if chance <= ALPHA and share >= CRITICAL_SHARE else Severity.NONE
    detail = f"no row in the last {silent_s / 3600:.1f} hours of the window" if severity else ""
    return Judgement(
        Layer.QUALITY, None, "freshness", severity, statistic=silent_s, p_value=chance, effect=share, detail=detail
    )


def _duplicates(profile: Profile, arrived: Arrived) -> Judgement:
    usual, share = profile.duplicate_share, arrived.distinct.duplicate_share
    more = share - usual
    count = round(share * arrived.rows)
    p_value = binomial_above(count, arrived.rows, max(usual, 1.0 / max(profile.reference.rows, 1)))
    severity = Severity.WARN if p_value <= ALPHA and more >= DUPLICATE_SHARE else Severity.NONE
    detail = f"{share:.1%} of rows repeat another, {usual:.1%} in the reference" if severity else ""
    return Judgement(
        Layer.QUALITY,
        None,
        "duplicates",
        severity,
        False,
        share,
        p_value,
        None,
        more,
        DUPLICATE_SHARE,
        detail,
        usual,
        share,
    )


def _expected(count: int, rows: int) -> float:
    """The share to expect of what came ``count`` times in ``rows``; half a time more, for never is not impossible."""
    return (count + 0.5) / (rows + 1)


def _severity(p_value: float, effect: float) -> Severity:
    if p_value > ALPHA or effect < WARN_SHARE:
        return Severity.NONE
    return Severity.CRITICAL if effect >= CRITICAL_SHARE else Severity.WARN


def _judged(
    name: str,
    test: str,
    severity: Severity,
    p_value: float | None,
    effect: float,
    expected: object,
    actual: object,
    detail: str,
) -> Judgement:
    return Judgement(
        Layer.QUALITY,
        name,
        test,
        severity,
        severity >= Severity.WARN,
        p_value=p_value,
        effect=float(effect),
        threshold=WARN_SHARE,
        detail=detail,
        expected=expected,
        actual=actual,
    )


def _finite(bounds: list[float]) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in bounds]
