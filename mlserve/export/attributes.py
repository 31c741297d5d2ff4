"""``module:attr``: a model, or what makes one, out of the user's own code."""

from __future__ import annotations

import functools
import inspect
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.core.importing import import_named, imports_from
from mlserve.core.refs import did_you_mean
from mlserve.errors import InvalidInput, NotFound
from mlserve.export.quieting import foreign_output

SEED = 0
"""Models that start from random weights get the same ones at each export."""


def load_attribute(module_name: str, attribute: str, folder: Path) -> Any:
    """What ``attribute`` of a module (or of a ``.py`` file in ``folder``) is; a class or function is called for it.

    Raises NotFound where there is no such module or attribute, InvalidInput for whatever the user's code raises.
    """
    with foreign_output(), imports_from(folder), _seeded():
        loaded: Any = import_named(module_name, folder)
        for part in attribute.split("."):
            try:
                loaded = getattr(loaded, part)
            except AttributeError as error:
                raise NotFound(f"'{module_name}' has no '{attribute}'", hint=did_you_mean(part, dir(loaded))) from error
    with foreign_output(), imports_from(folder), _seeded():
        return _built(loaded, f"{module_name}:{attribute}")


def _built(loaded: Any, source: str) -> Any:
    if not (isinstance(loaded, type | functools.partial) or inspect.isroutine(loaded)):
        return loaded
    try:
        return loaded()
    except Exception as error:  # the user's own code may raise anything
        raise InvalidInput(
            f"'{source}' cannot be called: {type(error).__name__}: {error}",
            hint="name a model, or a function without arguments that gives one",
        ) from error


@contextmanager
def _seeded() -> Iterator[None]:
    """Fixed seeds for the standard generators, whose states are put back; torch's only where torch is loaded."""
    states = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch else None
    random.seed(SEED)
    np.random.seed(SEED)
    if torch:
        torch.manual_seed(SEED)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        if torch and torch_state is not None:
            torch.set_rng_state(torch_state)
