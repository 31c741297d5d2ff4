"""Which detector for which columns: by the kind of their values and the number of rows, or by name.

numbers          ks; cvm for few rows, where ks's asymptotic p-value is too careful
two values       fisher; chi2 for many rows, where both say the same
categories       chi2
whole rows       mmd while its matrix holds all rows, classifier beyond     (needs alibi-detect and torch)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from mlserve.drift.detectors.detector import Detector, Options, Takes
from mlserve.drift.detectors.engines import ALIBI, engine_in_use
from mlserve.drift.detectors.kernels import most_rows
from mlserve.drift.detectors.table import DETECTORS
from mlserve.errors import UsageError

AUTO = "auto"
FEW_ROWS, MANY_ROWS = 100, 2000

_SUITS: dict[Takes, frozenset[Takes]] = {
    Takes.NUMERIC: frozenset({Takes.NUMERIC}),
    Takes.CATEGORICAL: frozenset({Takes.CATEGORICAL, Takes.BINARY}),
    Takes.BINARY: frozenset({Takes.BINARY}),
    Takes.MIXED: frozenset({Takes.NUMERIC, Takes.CATEGORICAL, Takes.BINARY}),
    Takes.ROWS: frozenset({Takes.NUMERIC, Takes.ROWS}),
    Takes.INPUTS: frozenset(Takes),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A detector by name, and the columns that it is to look at."""

    detector: str
    columns: tuple[str, ...]


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """``names`` of detectors, each once. Raises UsageError for one that there is not, MissingExtra for what it needs.

    >>> check_names(["auto", "auto"])
    ('auto',)
    """
    for name in names:
        if name != AUTO:
            DETECTORS.chosen(name)
    return tuple(dict.fromkeys(names))


def choose(
    kinds: Mapping[str, Takes], rows: tuple[int, int], names: Sequence[str] = (AUTO,), *, engine: str | None = None
) -> list[Choice]:
    """What looks at what. ``kinds`` are the columns' (NUMERIC, CATEGORICAL, BINARY, or ROWS for tensors).

    ``rows`` are of (reference, window); ``engine`` is who computes, None for the one that is installed. ``auto`` may
    stand among other names. Raises UsageError for a name that is not there, or that suits no column.

    >>> kinds = {"age": Takes.NUMERIC, "sex": Takes.BINARY, "plan": Takes.CATEGORICAL}
    >>> [(one.detector, one.columns) for one in choose(kinds, (5000, 800), engine="scipy")]
    [('ks', ('age',)), ('fisher', ('sex',)), ('chi2', ('plan',))]
    """
    choices: list[Choice] = []
    for name in dict.fromkeys(names):
        if name == AUTO:
            choices += _automatic(kinds, rows, engine if engine is not None else engine_in_use())
            continue
        takes = DETECTORS.chosen(name).takes
        columns = tuple(column for column, kind in kinds.items() if kind in _SUITS[takes])
        if not columns:
            raise UsageError(f"{name} takes {takes.value} columns, and there are none", hint=f"--detector {AUTO}")
        choices.append(Choice(name, columns))
    return choices


def made(choice: Choice, options: Options) -> Detector:
    """The chosen detector, ready to run. Raises MissingExtra, UsageError."""
    return DETECTORS.chosen(choice.detector)(options)


def _automatic(kinds: Mapping[str, Takes], rows: tuple[int, int], engine: str | None) -> list[Choice]:
    by_detector: dict[str, list[str]] = {}
    for column, kind in kinds.items():
        if (name := _single(kind, rows)) is not None:
            by_detector.setdefault(name, []).append(column)
    choices = [Choice(name, tuple(columns)) for name, columns in by_detector.items()]
    together = tuple(column for column, kind in kinds.items() if kind in _SUITS[Takes.ROWS])
    is_worth_it = len(together) > 1 or any(kinds[column] is Takes.ROWS for column in together)
    if is_worth_it and engine == ALIBI and find_spec("torch") is not None:
        name = "mmd" if sum(rows) <= most_rows(Options().max_bytes) else "classifier"
        choices.append(Choice(name, together))
    return choices


def _single(kind: Takes, rows: tuple[int, int]) -> str | None:
    if kind is Takes.NUMERIC:
        return "cvm" if min(rows) < FEW_ROWS else "ks"
    if kind is Takes.BINARY:
        return "fisher" if min(rows) < MANY_ROWS else "chi2"
    return "chi2" if kind is Takes.CATEGORICAL else None
