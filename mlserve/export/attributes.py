"""``module:attr``: a model, or what makes one, out of the user's own code."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

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
        loaded: Any = _import(module_name, folder)
        for part in attribute.split("."):
            try:
                loaded = getattr(loaded, part)
            except AttributeError as error:
                raise NotFound(f"'{module_name}' has no '{attribute}'", hint=did_you_mean(part, dir(loaded))) from error
    with foreign_output(), imports_from(folder), _seeded():
        return _built(loaded, f"{module_name}:{attribute}")


@contextmanager
def imports_from(folder: Path) -> Iterator[None]:
    """Modules are looked for in ``folder`` first, as ``python -m`` does in the working directory."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def _import(name: str, folder: Path) -> ModuleType:
    path = folder / name
    if name.endswith(".py") and not path.is_file():
        raise NotFound(f"no file '{name}'")
    try:
        return _import_file(path) if name.endswith(".py") else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise NotFound(f"no module '{name}'", hint="run it from the folder that the module lies in") from error
        raise InvalidInput(f"'{name}' needs the module '{error.name}', which is not installed") from error
    except Exception as error:  # the user's own code may raise anything
        raise InvalidInput(f"'{name}' cannot be imported: {type(error).__name__}: {error}") from error


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InvalidInput(f"'{path}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
