"""``--where``: a small language over versions, read by us and turned into SQL with bound values.

    metric.auc >= 0.9 and tag.team = risk and stage = production

    term      FIELD OP VALUE            FIELD   metric.NAME, param.NAME, tag.NAME, stage, state, kind, version
    joined    by ``and``                OP      = != < <= > >=

A metric, param or tag that a version lacks matches nothing, ``!=`` included; ``stage != X`` means "is not in X".
Values with spaces or operators go in quotes, single or double.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, exists, or_, select

from mlserve.core.refs import did_you_mean, parse_stage
from mlserve.errors import UsageError
from mlserve.registry.schema import model_versions, stages, version_metrics, version_params, version_tags

_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<op><=|>=|!=|==|=|<|>)|(?P<word>[^\s<>=!"']+))"""
)
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_PREFIXED = {"metric": version_metrics, "param": version_params, "tag": version_tags}
_PLAIN = ("stage", "state", "kind", "version")


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison: ``field`` is ``metric``, ``param``, ``tag`` (with ``name``) or a column of its own."""

    field: str
    name: str | None
    op: str
    value: str


def parse_where(text: str) -> list[Term]:
    """The terms that ``text`` joins by ``and``. Raises UsageError naming the place.

    >>> parse_where("metric.auc >= 0.9 and stage = production")[0]
    Term(field='metric', name='auc', op='>=', value='0.9')
    """
    tokens = _tokens(text)
    terms = []
    while True:
        if len(tokens) < 3 or tokens[0][0] != "word" or tokens[1][0] != "op" or tokens[2][0] == "op":
            raise _unreadable(text)
        terms.append(_term(tokens[0][1], tokens[1][1], tokens[2][1]))
        tokens = tokens[3:]
        if not tokens:
            return terms
        if tokens[0][0] != "word" or tokens[0][1].lower() != "and":
            raise _unreadable(text)
        tokens = tokens[1:]


def as_condition(terms: Sequence[Term]) -> ColumnElement[bool]:
    """The condition on ``model_versions`` that all ``terms`` hold."""
    return and_(*(_condition(term) for term in terms))


def as_number(text: str) -> float | None:
    """The finite number that ``text`` spells, or None: what params and tags are compared by.

    >>> as_number("1e-3"), as_number("relu"), as_number("nan")
    (0.001, None, None)
    """
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number - number == 0 else None


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise _unreadable(text)
        kind = str(match.lastgroup)
        value = match[kind]
        if kind == "quoted":
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        tokens.append((kind, "=" if value == "==" and kind == "op" else value))
        position = match.end()
    return tokens


def _term(field: str, op: str, value: str) -> Term:
    kind, dot, name = field.partition(".")
    if kind in _PREFIXED and name:
        if kind == "metric" and as_number(value) is None:
            raise UsageError(f"'{value}' is not a number to compare metric '{name}' with")
        return Term(kind, name, op, value)
    if dot or field not in _PLAIN:
        known = [*_PLAIN, *(f"{prefix}.{name or 'NAME'}" for prefix in _PREFIXED)]
        raise UsageError(
            f"versions have no '{field}'", hint=did_you_mean(field, known) or f"there are {', '.join(known)}"
        )
    if field == "version":
        if not value.isdecimal() or len(value) > 18:
            raise UsageError(f"'{value}' is not a version number")
    elif op not in ("=", "!="):
        raise UsageError(f"'{field}' cannot be compared by '{op}'", hint="use = or !=")
    if field == "stage":
        parse_stage(value)
    return Term(field, None, op, value)


def _condition(term: Term) -> ColumnElement[bool]:
    compare = _OPERATORS[term.op]
    if term.field == "version":
        return _bool(compare(model_versions.c.version, int(term.value)))
    if term.field == "stage":
        holds = exists(select(1).where(stages.c.version_id == model_versions.c.id, stages.c.stage == term.value))
        return holds if term.op == "=" else ~holds
    if term.field in _PLAIN:
        return _bool(compare(model_versions.c[term.field], term.value))
    table = _PREFIXED[term.field]
    matches = compare(table.c.value, float(term.value)) if term.field == "metric" else _text_matches(table, term)
    return exists(select(1).where(table.c.version_id == model_versions.c.id, table.c.name == term.name, matches))


def _text_matches(table: Table, term: Term) -> ColumnElement[bool]:
    """Numbers are compared as numbers (so ``1e-3`` equals ``0.001``), all else as text, and only by equality."""
    number = as_number(term.value)
    if term.op == "=":
        same = table.c.value == term.value
        return same if number is None else or_(same, table.c.number == number)
    if term.op == "!=":
        other = table.c.value != term.value
        return other if number is None else and_(other, or_(table.c.number.is_(None), table.c.number != number))
    if number is None:
        raise UsageError(
            f"'{term.value}' is not a number to compare {term.field} '{term.name}' with", hint="use = or !="
        )
    return _bool(_OPERATORS[term.op](table.c.number, number))


def _bool(expression: Any) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = expression
    return condition


def _unreadable(text: str) -> UsageError:
    return UsageError(
        f"cannot read '{text}' as a condition", hint='write such as "metric.auc >= 0.9 and stage = staging"'
    )
