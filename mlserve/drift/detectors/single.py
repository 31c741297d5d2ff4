"""The tests of single columns: ks and cvm of numbers, chi2 of categories, fisher of two values, tabular of a mixture.

column ──► missing out ──► engine's test ──► statistic, p ──► effect beside it
                                 └─ sparse table? ──► p also by permutation
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from mlserve.drift.detectors.columns import categories_there, check_alike, is_categorical, numbered, numbers_there
from mlserve.drift.detectors.detector import Array, Cost, Effect, Finding, Options, Sample, Takes
from mlserve.drift.detectors.engines import AlibiTests, Tested, engine_named
from mlserve.drift.detectors.finding import judged, permuted, safe, unanswered
from mlserve.errors import InvalidInput
from mlserve.stats.distances import jensen_shannon
from mlserve.stats.effects import cramers_v, total_variation, wasserstein_sd

_SPARSE = 5
"""Expected counts below which the χ² distribution is no guide. Source: Cochran (1954)."""
_PERMUTED = 9999


class _Single:
    """What all of them share: a finding for each column, in the reference's order."""

    name: ClassVar[str]
    takes: ClassVar[Takes]
    smallest_rows: ClassVar[int] = 30
    cost: ClassVar[Cost] = Cost.SORTING

    def __init__(self, options: Options) -> None:
        self._options = options
        self._tests = engine_named(options.engine)

    def run(self, reference: Sample, window: Sample) -> tuple[Finding, ...]:
        check_alike(reference, window)
        return tuple(self._column(name, column, window[name]) for name, column in reference.items())

    def _column(self, name: str, reference: Array, window: Array) -> Finding:
        raise NotImplementedError

    def _numbers(self, name: str, reference: Array, window: Array, test: str, ask: Callable[..., Tested]) -> Finding:
        one, other = numbers_there(name, reference), numbers_there(name, window)
        seen = self.name, test, self._tests.name, (name,), (len(one), len(other)), _gone(reference, window, one, other)
        if nothing := unanswered(*seen, self.smallest_rows):
            return nothing
        statistic, p_value = ask(one, other)
        finite = np.isfinite(one).any() and np.isfinite(other).any()
        effect = Effect("wasserstein_sd", wasserstein_sd(one, other) if finite else float("inf"))
        return judged(*seen, statistic=statistic, p_value=p_value, p_safe=safe(p_value), effect=effect)

    def _categories(self, name: str, reference: Array, window: Array, test: str, ask: Callable[..., Tested]) -> Finding:
        there = categories_there(name, reference), categories_there(name, window)
        rows = len(there[0]), len(there[1])
        seen = self.name, test, self._tests.name, (name,), rows, _gone(reference, window, *there)
        if nothing := unanswered(*seen, self.smallest_rows):
            return nothing
        one, other, folded = numbered(*there)
        size = int(max(one.max(), other.max())) + 1
        if test == "fisher" and size > 2:
            raise InvalidInput(f"'{name}' has {size} values, and fisher takes 2", hint="--detector chi2")
        counts = np.bincount(one, minlength=size), np.bincount(other, minlength=size)
        statistic, p_value = ask(one, other)
        p_safe, notes = safe(p_value), (f"the {folded:,} rarest categories are one",) if folded else ()
        if test == "chi2" and (sparse := _sparse_p(*counts, self._options.seed)) is not None:
            p_safe, notes = max(p_safe, sparse), (*notes, f"few rows a category: p {sparse:.2g} by permutation")
        figures = {"jensen_shannon": jensen_shannon(*counts), "cramers_v": cramers_v(*counts)}
        effect = Effect("total_variation", total_variation(*counts))
        return judged(
            *seen, statistic=statistic, p_value=p_value, p_safe=p_safe, effect=effect, notes=notes, figures=figures
        )


class Ks(_Single):
    """Kolmogorov–Smirnov: sensitive to any change, most to one in the middle. ``statistic`` is D, in [0, 1]."""

    name = "ks"
    takes = Takes.NUMERIC

    def _column(self, name: str, reference: Array, window: Array) -> Finding:
        return self._numbers(name, reference, window, "ks", self._tests.ks)


class Cvm(_Single):
    """Cramér–von Mises: as ks, with more power for shifts that are small everywhere."""

    name = "cvm"
    takes = Takes.NUMERIC

    def _column(self, name: str, reference: Array, window: Array) -> Finding:
        return self._numbers(name, reference, window, "cvm", self._tests.cvm)


class Chi2(_Single):
    """Pearson's χ² of the counts of categories; with few rows a category the p-value is also permuted."""

    name = "chi2"
    takes = Takes.CATEGORICAL

    def _column(self, name: str, reference: Array, window: Array) -> Finding:
        return self._categories(name, reference, window, "chi2", self._tests.chi2)


class Fisher(_Single):
    """Fisher's exact test of two values, exact at any number of rows. ``statistic`` is the odds ratio."""

    name = "fisher"
    takes = Takes.BINARY
    smallest_rows = 10

    def _column(self, name: str, reference: Array, window: Array) -> Finding:
        return self._categories(name, reference, window, "fisher", self._tests.fisher)


class Tabular(_Single):
    """Numbers by ks and categories by chi2, each column by itself."""

    name = "tabular"
    takes = Takes.MIXED

    def _column(self, name: str, reference: Array, window: Array) -> Finding:
        chosen = self._options.categorical
        tests = self._tests
        if is_categorical(reference) or is_categorical(window) if chosen is None else name in chosen:
            if isinstance(tests, AlibiTests):
                return self._categories(name, reference, window, "chi2", _mixed(tests, is_category=True))
            return self._categories(name, reference, window, "chi2", tests.chi2)
        if isinstance(tests, AlibiTests):
            return self._numbers(name, reference, window, "ks", _mixed(tests, is_category=False))
        return self._numbers(name, reference, window, "ks", tests.ks)


def _mixed(tests: AlibiTests, *, is_category: bool) -> Callable[..., Tested]:
    return lambda reference, window: tests.tabular(reference, window, is_categorical=is_category)


def _sparse_p(one: Array, other: Array, seed: int) -> float | None:
    """The p-value of χ² by permutation where more than a fifth of the expected counts are small; None elsewhere."""
    pooled, sizes = one + other, np.array([one.sum(), other.sum()], np.float64)
    expected = np.outer(sizes, pooled) / pooled.sum()
    if (expected < _SPARSE).mean() <= 0.2:
        return None
    rng = np.random.default_rng(seed)
    seen = _chi2(other[None, :], pooled, expected)[0]
    more = 0
    for _ in range(_PERMUTED // 1111):
        drawn = rng.multivariate_hypergeometric(pooled, int(sizes[1]), size=1111, method="marginals")
        # What equals the statistic but for rounding is as extreme.
        more += int((_chi2(drawn, pooled, expected) >= seen * (1 - 1e-9)).sum())
    return permuted(more / _PERMUTED, _PERMUTED)


def _chi2(windows: Array, pooled: Array, expected: Array) -> Array:
    found: Array = ((pooled - windows - expected[0]) ** 2 / expected[0]).sum(axis=1)
    found += ((windows - expected[1]) ** 2 / expected[1]).sum(axis=1)
    return found


def _gone(reference: Array, window: Array, one: Array, other: Array) -> tuple[int, int]:
    return len(reference) - len(one), len(window) - len(other)
