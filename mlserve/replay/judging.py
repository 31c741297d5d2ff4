"""``--fail-on``: conditions on an answer's figures, any of which that holds is a "no" (exit 7).

"agreement<0.995" ──► Condition ──judged(document)──► {…, "checks": [{expression, name, value, passed}], "passed"}
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from mlserve.compare.naming import Document, is_of_labels, may_be, usual_names, values_of
from mlserve.core.refs import did_you_mean
from mlserve.errors import InvalidInput, UsageError

_FORM = re.compile(r"\s*(?P<name>[^\s<>=]+)\s*(?P<sign>[<>])\s*(?P<bound>[^\s<>=]+)\s*")
_SUCH_AS = "NAME<NUMBER or NAME>NUMBER, such as 'agreement<0.995'"


@dataclass(frozen=True, slots=True)
class Condition:
    """What must not hold: figure ``name`` above ``bound``, or below it; ``text`` is how it was written."""

    name: str
    is_above: bool
    bound: float
    text: str

    def holds_for(self, value: float | None) -> bool:
        """Whether this is a failure. What could not be measured never passes.

        >>> parse_condition("agreement<0.99").holds_for(0.98), parse_condition("agreement<0.99").holds_for(None)
        (True, True)
        """
        if value is None or math.isnan(value):
            return True
        return value > self.bound if self.is_above else value < self.bound


def parse_condition(text: str, metrics: Collection[str] = ()) -> Condition:
    """The condition that ``text`` spells; ``metrics`` are those that the user asked for by name.

    Raises UsageError for another form, and for a name that no answer can have, before anything has run.

    >>> parse_condition("ndcg@10_drop > 0.01")
    Condition(name='ndcg@10_drop', is_above=True, bound=0.01, text='ndcg@10_drop > 0.01')
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"'{text}' is not a condition", hint=f"--fail-on takes {_SUCH_AS}")
    bound = _bound(found["bound"], text)
    name = found["name"]
    if not may_be(name, metrics):
        names = [*usual_names(), *metrics]
        raise UsageError(
            f"no figure is called '{name}'", hint=did_you_mean(name, names) or f"there are {', '.join(names)}"
        )
    return Condition(name, found["sign"] == ">", bound, text.strip())


def judged(document: Document, conditions: Sequence[Condition]) -> dict[str, Any]:
    """``document``, the answer about one candidate, with its ``checks`` and whether all ``passed``.

    Raises InvalidInput for a condition on labels where the answer has none, UsageError for a figure that it has not.
    """
    values = values_of(document)
    checks = []
    for condition in conditions:
        if condition.name not in values:
            raise _missing(condition.name, values)
        value = values[condition.name]
        checks.append(
            {
                "expression": condition.text,
                "name": condition.name,
                "value": value,
                "passed": not condition.holds_for(value),
            }
        )
    return {**document, "checks": checks, "passed": all(check["passed"] for check in checks)}


def _bound(word: str, text: str) -> float:
    try:
        bound = float(word)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise UsageError(f"'{word}' in '{text}' is not a number", hint=f"--fail-on takes {_SUCH_AS}")
    return bound


def _missing(name: str, known: Collection[str]) -> InvalidInput | UsageError:
    if is_of_labels(name):
        return InvalidInput(
            f"'{name}' needs to know what was true, and no outcome is joined to the rows that were replayed",
            hint="mlserve outcome NAME FILE joins them, --outcomes FILE gives them for once",
        )
    inner = [item for item in known if item.rpartition(".")[2] == name]
    near = f"did you mean '{inner[0]}'?" if inner else did_you_mean(name, known)
    return UsageError(f"this answer has no figure '{name}'", hint=near or f"it has {', '.join(known)}")
