"""The search for a better setting, so that noise does not choose it. Pure: measuring and time are passed in.

    coarse grid ─► successive halving ─► what lies beside the best ─► halving ─► the default against the best, in pairs

Every round measures all that are left, in turns and in changing order, so that what else happens on the machine falls
on all alike. The best of many noisy figures is too good by chance, so the last stage measures anew: the verdict rests
on pairs that had no part in the choice. Source of halving: Jamieson and Talwalkar, Non-stochastic Best Arm
Identification (2016).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import ceil, inf, log2
from statistics import median
from typing import Generic, TypeVar

from mlserve.bench.intervals import Interval, median_interval
from mlserve.core.progress import Progress, silent

Setting = TypeVar("Setting", bound=Hashable)
Sample = TypeVar("Sample")

COARSE_SHARE, REFINED_SHARE = 0.4, 0.6
"""When, in parts of the budget, the grid and what lies beside the best must be done; the pairs have the rest."""

MOST_ROUNDS = 6
"""No more rounds in one rung of halving: from then on it is the rungs that decide."""

LEAST_PAIRS, MOST_PAIRS = 6, 20
"""Six are the fewest pairs whose range holds the median with 95 %."""

LEAST_GAIN = 1.02
"""A setting that is better by less than this is not worth being another than the default."""


@dataclass(frozen=True, slots=True)
class Tried(Generic[Setting]):
    """What the search saw of one setting before the last stage: the median score of so many measurements."""

    setting: Setting
    score: float
    measurements: int


@dataclass(frozen=True, slots=True)
class Found(Generic[Setting, Sample]):
    """The end of a search. ``best`` is the default where nothing looked better; then ``after`` is empty.

    ``before`` and ``after`` are the samples of the pairs, of the default and of ``best``. ``gain`` is the median of
    their ratios with its 95 % interval, both None without a rival.
    """

    default: Setting
    best: Setting
    before: Sequence[Sample]
    after: Sequence[Sample]
    gain: float | None
    interval: Interval | None
    tried: Sequence[Tried[Setting]]

    @property
    def is_better(self) -> bool:
        """Whether ``best`` beats the default by more than the noise between pairs, and by enough to matter."""
        if self.gain is None or self.interval is None or len(self.after) < LEAST_PAIRS:
            return False
        return self.interval[0] > 1.0 and self.gain >= LEAST_GAIN


class Search(Generic[Setting, Sample]):
    """A search with ``measure``, whose samples ``score`` judges (more is better), within ``budget_s`` of ``now_s``.

    ``measure`` may take as long as it does: no measurement begins once a stage's time is over, but for the first of
    each stage.
    """

    def __init__(
        self,
        measure: Callable[[Setting], Sample],
        score: Callable[[Sample], float],
        now_s: Callable[[], float],
        budget_s: float,
        progress: Progress = silent,
    ) -> None:
        self._measure = measure
        self._score = score
        self._now_s = now_s
        self._budget_s = budget_s
        self._progress = progress
        self._began_s = now_s()
        self._scores: dict[Setting, list[float]] = {}

    def run(self, grid: Sequence[Setting], near: Callable[[Setting], Sequence[Setting]]) -> Found[Setting, Sample]:
        """The best of ``grid``, whose first is the default, and of what is ``near`` its best."""
        default = grid[0]
        best = self._halved(grid, "coarse search", COARSE_SHARE)
        around = list(dict.fromkeys((best, default, *near(best))))
        best = self._halved(around, "looking around the best", REFINED_SHARE)
        tried = [Tried(setting, median(scores), len(scores)) for setting, scores in self._scores.items()]
        before, after = self._paired(default, best)
        ratios = [_ratio(self._score(two), self._score(one)) for one, two in zip(before, after, strict=False)]
        gain, interval = (median(ratios), median_interval(ratios)) if ratios else (None, None)
        return Found(default, best, before, after, gain, interval, tried)

    def _halved(self, settings: Sequence[Setting], stage: str, until: float) -> Setting:
        """The best of ``settings`` by successive halving: every rung has the same time, and half as many in it."""
        left = list(settings)
        begins_s, ends_s = self._now_s(), self._began_s + until * self._budget_s
        rungs = max(1, ceil(log2(len(left))))
        for rung in range(rungs):
            if len(left) == 1:
                break
            rung_ends_s = begins_s + (rung + 1) / rungs * (ends_s - begins_s)
            seen = self._rounds(left, rung_ends_s, ends_s, f"{stage} among {len(left)}")
            ranked = sorted(seen or left[:1], key=self._median, reverse=True)
            left = ranked[: max(1, ceil(len(ranked) / 2))]
        return left[0]

    def _rounds(self, settings: Sequence[Setting], ends_s: float, last_s: float, step: str) -> list[Setting]:
        """Measure all of ``settings`` in turns until the time is over, and return those that were measured at all.

        The first round, without which a setting has no chance, may take until ``last_s``.
        """
        for number in range(MOST_ROUNDS):
            at = number % len(settings)
            for setting in (*settings[at:], *settings[:at]):
                if self._scores and self._now_s() >= (ends_s if number else last_s):
                    return [setting for setting in settings if setting in self._scores]
                self._scores.setdefault(setting, []).append(self._score(self._sample(setting, step)))
        return list(settings)

    def _paired(self, default: Setting, best: Setting) -> tuple[list[Sample], list[Sample]]:
        """Both measured side by side, who goes first taking turns; the default alone where it is the best."""
        before: list[Sample] = []
        after: list[Sample] = []
        ends_s = self._began_s + self._budget_s
        most = LEAST_PAIRS if best == default else MOST_PAIRS
        took_s = 0.0
        while len(before) < most and (not before or self._now_s() + took_s <= ends_s):
            begins_s = self._now_s()
            step = f"the default against {best}" if best != default else f"the default, {default}"
            order = [(default, before), (best, after)][: 1 if best == default else 2]
            for setting, samples in order if len(before) % 2 == 0 else order[::-1]:
                samples.append(self._sample(setting, step))
            took_s = max(took_s, self._now_s() - begins_s)
        return before, after

    def _sample(self, setting: Setting, step: str) -> Sample:
        spent_s = self._now_s() - self._began_s
        self._progress(step, min(int(spent_s), int(self._budget_s)), max(1, int(self._budget_s)))
        return self._measure(setting)

    def _median(self, setting: Setting) -> float:
        return median(self._scores.get(setting, [-inf]))


def _ratio(after: float, before: float) -> float:
    if before <= 0.0:
        return inf if after > 0.0 else 1.0
    return after / before
