"""One number of the user, tolerated false pages a quarter, made into levels for every test and every look.

    false pages a quarter ──share of a layer──► of a stream ──┬─► alpha of each check      (p-values, corrected inside)
                                                               ├─► rows until R may alarm  (``martingale``)
                                                               └─► alpha of LORD++         (``online_fdr``)

What is spent adds up by the linearity of expectation, whatever the dependence between layers, streams and days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlserve.errors import InvalidInput

QUARTER_S = 365.25 * 86_400 / 4


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What one stream of checks may use; each of them alone spends all of the stream's false pages.

    ``alpha_per_check`` is the level of one check's combined p-value: a quarter of them makes ``false_pages``.
    ``alpha_per_quarter`` is that of a LORD++ stream which begins anew each quarter: the chance of a false page at all.
    ``mean_rows`` is where a Shiryaev–Roberts R may alarm: false alarms are at least so many rows apart on average; None
    where no rows come.
    """

    false_pages: float
    alpha_per_check: float
    alpha_per_quarter: float
    mean_rows: float | None


def thresholds(
    false_pages_per_quarter: float, *, check_every_s: float, rows_per_day: float = 0.0, share: float = 1.0
) -> Thresholds:
    """What a stream may use that has ``share`` of the model's false pages, checked each ``check_every_s`` seconds.

    Inside a check ``alpha_per_check`` is spent on all features at once: by Benjamini–Hochberg, Bonferroni, or on the
    Simes or Cauchy combination, a check of unchanged features pages with at most that chance. Raises InvalidInput.

    >>> daily = thresholds(1, check_every_s=86_400, rows_per_day=5000)
    >>> round(daily.alpha_per_check, 4), daily.mean_rows
    (0.011, 456562.5)
    """
    if not (false_pages_per_quarter > 0 and check_every_s > 0 and rows_per_day >= 0 and 0 < share <= 1):
        raise InvalidInput("false pages and the time between checks are above 0, a share is above 0 and at most 1")
    false_pages = false_pages_per_quarter * share
    checks = max(QUARTER_S / check_every_s, 1.0)
    rows = rows_per_day * QUARTER_S / 86_400
    return Thresholds(
        false_pages,
        # Above ½ a level is no test any more: who tolerates that much is told of every second check, not of all.
        min(false_pages / checks, 0.5),
        min(false_pages, 0.5),
        max(rows / false_pages, 1.0) if rows else None,
    )


def shared(weights: Mapping[str, float]) -> dict[str, float]:
    """The share of the false pages that each layer has, in proportion to its weight; they add up to 1.

    A layer that is not checked has no weight, and its share goes to the others. Raises InvalidInput where none has any.

    >>> shared({"quality": 1, "feature": 2, "prediction": 1})
    {'quality': 0.25, 'feature': 0.5, 'prediction': 0.25}
    """
    total = sum(weights.values())
    if not total > 0 or min(weights.values()) < 0:
        raise InvalidInput("shares need a weight above 0, and none below")
    return {name: weight / total for name, weight in weights.items()}
