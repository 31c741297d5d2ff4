"""Policies: the gates that a stage demands of a version. Read from TOML or JSON, kept in numbered revisions.

[production]
compare_with_production = [{ metric = "accuracy", max_drop = 0.01 }]

[[production.require]]
kind = "parity"          # evidence of this kind must be there ...
passed = true            # ... and have passed (without this line: must not have failed)
figure = "max_abs"       # this number of it (dots reach into objects) ...
max = 1e-4               # ... at most this (min: at least)
max_age = "7d"           # measured no longer ago: s, m, h, d or w
imported = false         # measured by this registry's own commands (default true: a sidecar file counts too)
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select

from mlserve.core.evidence import isoformat
from mlserve.core.refs import Stage, did_you_mean
from mlserve.errors import InvalidConfig
from mlserve.registry.resolving import lock_model, model_row
from mlserve.registry.schema import policies
from mlserve.registry.store import Store, add_to_epoch

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Requirement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Evidence that must be there, and what it must say."""

    kind: str
    passed: bool | None = None
    figure: str | None = None
    min: float | None = None
    max: float | None = None
    max_age: str | None = None
    imported: bool = True

    @property
    def longest_age(self) -> timedelta | None:
        return parse_age(self.max_age) if self.max_age is not None else None


class Comparison(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A metric of the version against the same metric of what is in production, in the metric's own units."""

    metric: str
    max_drop: float | None = None
    min_gain: float | None = None
    lower_is_better: bool = False


class StagePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one stage demands."""

    require: tuple[Requirement, ...] = ()
    compare_with_production: tuple[Comparison, ...] = ()
    approvals: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """The demands of each stage that has any."""

    stages: Mapping[Stage, StagePolicy]

    def of(self, stage: Stage) -> StagePolicy:
        """The demands of ``stage``, none where the policy does not speak of it."""
        return self.stages.get(stage, StagePolicy())

    def to_dict(self) -> dict[str, Any]:
        return {stage.value: msgspec.to_builtins(demands) for stage, demands in self.stages.items()}


@dataclass(frozen=True, slots=True)
class PolicyRevision:
    """A model's policy as it was set; ``revision`` counts from 1 and is None where none was ever set."""

    name: str
    policy: Policy
    revision: int | None
    set_at: datetime | None
    set_by: str | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "revision": self.revision,
            "set_at": isoformat(self.set_at) if self.set_at else None,
            "set_by": self.set_by,
            "stages": self.policy.to_dict(),
        }


def parse_policy(text: str) -> Policy:
    """The policy that ``text``, TOML or JSON, spells. Raises InvalidConfig naming what is off.

    >>> parse_policy('[staging]\\nrequire = [{ kind = "parity" }]').of(Stage.STAGING).require[0].kind
    'parity'
    """
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except ValueError as error:
        raise InvalidConfig(f"the policy is neither TOML nor JSON: {error}") from error
    return policy_of(document)


def policy_of(document: Mapping[str, Any]) -> Policy:
    """The policy in a document of one object per stage. Raises InvalidConfig."""
    stages: dict[Stage, StagePolicy] = {}
    for name, demands in document.items():
        if name not in list(Stage):
            near = did_you_mean(name, list(Stage)) or f"there are {', '.join(Stage)}"
            raise InvalidConfig(f"the policy speaks of a stage '{name}'", hint=near)
        try:
            stages[Stage(name)] = msgspec.convert(demands, StagePolicy)
        except msgspec.ValidationError as error:
            raise InvalidConfig(f"the policy for {name} cannot be used: {error}", hint=_hint(str(error))) from error
        _check(Stage(name), stages[Stage(name)])
    return Policy(stages)


def parse_age(text: str) -> timedelta:
    """A length of time such as ``7d`` or ``90m``. Raises InvalidConfig.

    >>> parse_age("36h").total_seconds()
    129600.0
    """
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise InvalidConfig(f"'{text}' is not an age", hint="write a number and s, m, h, d or w, such as 7d")
    return timedelta(seconds=float(match[1]) * _UNIT_S[match[2]])


def spell_age(seconds: float) -> str:
    """A length of time in the largest unit that it fills.

    >>> spell_age(754.6), spell_age(2592000), spell_age(-90), spell_age(0)
    ('12.6m', '30d', '-1.5m', '0s')
    """
    unit = next((unit for unit in "dhm" if abs(seconds) >= _UNIT_S[unit]), "s")
    return f"{round(seconds / _UNIT_S[unit], 1):g}{unit}"


def get_policy(store: Store, name: str) -> PolicyRevision:
    """The newest policy of the model ``name``; an empty one where none was set. Raises NotFound, Unavailable."""
    with store.reading() as connection:
        model_id = model_row(connection, name).id
        return read_policy(connection, model_id, name)


def set_policy(store: Store, name: str, policy: Policy, *, by: str, now: datetime) -> PolicyRevision:
    """Put ``policy`` in force for the model ``name``; earlier revisions are kept. Raises NotFound, Unavailable.

    An equal policy makes no new revision.
    """

    def work(connection: Connection) -> PolicyRevision:
        model_id = lock_model(connection, name).id
        present = read_policy(connection, model_id, name)
        if present.revision is not None and present.policy == policy:
            return present
        revision = (present.revision or 0) + 1
        row = {"model_id": model_id, "revision": revision, "document": policy.to_dict(), "set_at": now, "set_by": by}
        connection.execute(insert(policies).values(row))
        add_to_epoch(connection)
        return PolicyRevision(name, policy, revision, now, by)

    return store.write(work)


def read_policy(connection: Connection, model_id: int, name: str) -> PolicyRevision:
    """The newest policy of a model, on an open connection."""
    newest = select(policies).where(policies.c.model_id == model_id).order_by(policies.c.revision.desc()).limit(1)
    row = connection.execute(newest).first()
    if row is None:
        return PolicyRevision(name, Policy({}), None, None, None)
    return PolicyRevision(name, policy_of(row.document), row.revision, row.set_at, row.set_by)


def _check(stage: Stage, demands: StagePolicy) -> None:
    if demands.approvals > 0:
        raise InvalidConfig(f"the policy for {stage} asks for approvals, which are not offered yet", hint="remove it")
    for requirement in demands.require:
        what = f"the policy for {stage} requires '{requirement.kind}'"
        bounded = requirement.min is not None or requirement.max is not None
        if bounded != (requirement.figure is not None):
            raise InvalidConfig(f"{what} with a figure or a bound alone", hint="give figure and min or max together")
        if requirement.passed is False:
            raise InvalidConfig(f"{what} not to have passed", hint="write passed = true or leave it out")
        if requirement.max_age is not None:
            parse_age(requirement.max_age)
    for comparison in demands.compare_with_production:
        if (comparison.max_drop is None) == (comparison.min_gain is None):
            raise InvalidConfig(
                f"the policy for {stage} compares '{comparison.metric}' without one bound",
                hint="give either max_drop or min_gain",
            )


_KEYS = sorted({*StagePolicy.__struct_fields__, *Requirement.__struct_fields__, *Comparison.__struct_fields__})


def _hint(problem: str) -> str:
    """msgspec names the unknown key in backticks."""
    unknown = re.search(r"unknown field `([^`]+)`", problem)
    near = did_you_mean(unknown[1], _KEYS) if unknown else None
    return near or f"the keys are {', '.join(_KEYS)}"
