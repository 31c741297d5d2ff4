"""A metric of the user's own: ``module:function``, imported from the working directory.

def profit(outputs, labels):        # dict of arrays by output name; the label column, or None
    return float(...)
profit.higher_is_better = True      # the default; False where less is better
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.core.importing import import_named, imports_from
from mlserve.core.refs import did_you_mean
from mlserve.errors import InvalidInput, NotFound, UsageError

Array = np.ndarray[Any, np.dtype[Any]]
Outputs = Mapping[str, Array]
Function = Callable[[dict[str, Array], "Array | None"], float]


def load_function(name: str, folder: Path) -> tuple[Function, bool]:
    """The function that ``module:function`` names, and whether more is better. Prints of its module go to stderr.

    Raises UsageError where there is none, InvalidInput for whatever importing it raises.
    """
    module_name, _, attribute = name.partition(":")
    try:
        with imports_from(folder), contextlib.redirect_stdout(sys.stderr):
            module = import_named(module_name, folder)
    except NotFound as error:
        raise UsageError(f"no metric '{name}': {error.message}", hint=error.hint) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise UsageError(
            f"no metric '{name}': '{module_name}' has no function '{attribute}'",
            hint=did_you_mean(attribute, [found for found in dir(module) if not found.startswith("_")]),
        )
    return function, bool(getattr(function, "higher_is_better", True))


def call(name: str, function: Function, outputs: Outputs, labels: Array | None) -> float:
    """What ``function`` says. Raises InvalidInput for whatever it raises, and for an answer that is no number."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return float(function(dict(outputs), labels))
    except Exception as error:  # the user's own code may raise anything
        raise InvalidInput(f"metric '{name}' went wrong: {type(error).__name__}: {error}") from error
