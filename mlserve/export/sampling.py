"""Rows for an exporter to begin with: the first of the sample, or made-up ones where nobody gave any."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from mlserve.errors import InvalidInput, UsageError
from mlserve.export.exporter import Request
from mlserve.rows.reading import Roles, open_table

FIRST_ROWS = 256
MADE_UP_ROWS = 256


def role_names(roles: Roles) -> frozenset[str]:
    """The columns that are never fed to a model."""
    return frozenset((roles.label, roles.group, roles.key, roles.time))


def first_rows(request: Request, *, text: Collection[str] = ()) -> dict[str, np.ndarray[Any, Any]]:
    """The sample's first rows by column, without role columns; those in ``text`` are text whatever they look like.

    Raises UsageError without a sample, InvalidInput for one without rows.
    """
    if request.sample is None:
        raise UsageError("the shapes of its inputs are needed", hint="--sample DATA with a few rows of its input")
    table = open_table(request.sample.path, text=text) if text else request.sample
    batch = next(iter(table.batches(FIRST_ROWS)), {})
    roles = role_names(request.roles)
    columns = {name: array for name, array in batch.items() if name not in roles}
    if not columns or not len(next(iter(columns.values()))):
        raise InvalidInput(f"'{request.sample.path}' has no rows")
    return columns


def table_rows(name: str, features: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """A numeric table without missing values: half standard normal, half over several magnitudes."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((MADE_UP_ROWS, features))
    rows[MADE_UP_ROWS // 2 :] *= 10.0 ** rng.uniform(-2, 3, (MADE_UP_ROWS - MADE_UP_ROWS // 2, features))
    return {name: rows.astype(np.float32)}
