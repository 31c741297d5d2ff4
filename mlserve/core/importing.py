"""Importing code that the user names: from the folder they are in, with whatever goes wrong as an error of ours."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from mlserve.errors import InvalidInput, NotFound


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


def import_named(name: str, folder: Path) -> ModuleType:
    """The module ``name``, or the ``.py`` file of that name in ``folder``; for use within ``imports_from``.

    Raises NotFound where there is none, InvalidInput for whatever importing it raises.
    """
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
