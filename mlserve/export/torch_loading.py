"""Reading ``.pt2`` programs without running what may hide in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch.export.pt2_archive import constants

from mlserve.errors import InvalidInput, NotFound, UsageError
from mlserve.export.archives import archive_names
from mlserve.export.quieting import converter_output

_FORCE_SAFE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_PICKLED_CONSTANTS = (constants.CUSTOM_OBJ_FILENAME_PREFIX, constants.OPAQUE_OBJ_FILENAME_PREFIX)


def load_program(path: Path, *, allow_pickle: bool) -> Any:
    """The ``torch.export.ExportedProgram`` in ``path``.

    torch reads tensors of such a file by pickle and falls back to unrestricted pickle by itself; here it may do so only
    with ``allow_pickle``. Raises NotFound, UsageError for a file that needs it, InvalidInput for one that is damaged.
    """
    if not path.is_file():
        raise NotFound(f"no file '{path}'")
    names = [Path(name).name for name in archive_names(path, "a .pt2 archive")]
    try:
        if not allow_pickle:
            _refuse_objects(path, names)
        with _only_tensors(forced=not allow_pickle), converter_output("torch", "torch.export"):
            return torch.export.load(path)
    except UnpicklingError as error:
        raise _needs_pickle(path) from error
    except (RuntimeError, ValueError, KeyError, AttributeError, TypeError, AssertionError, OSError) as error:
        fact = str(error).strip().split("\n")[0]
        raise InvalidInput(f"'{path}' is not a program of torch.export that can be read here: {fact}") from error


def _refuse_objects(path: Path, names: list[str]) -> None:
    """Objects other than tensors are unpickled by torch without any restriction."""
    if any(name.startswith(_PICKLED_CONSTANTS) for name in names):
        raise _needs_pickle(path)


def _needs_pickle(path: Path) -> UsageError:
    return UsageError(
        f"'{path}' holds pickled objects, which can run any code when they are read",
        hint="--allow-pickle if you trust where it comes from",
    )


@contextmanager
def _only_tensors(*, forced: bool) -> Iterator[None]:
    """torch's own switch, an environment variable that it reads at each load; there is no argument for it."""
    before = os.environ.get(_FORCE_SAFE)
    if forced:
        os.environ[_FORCE_SAFE] = "1"
    try:
        yield
    finally:
        if forced and before is None:
            del os.environ[_FORCE_SAFE]
        elif forced and before is not None:
            os.environ[_FORCE_SAFE] = before
