"""Files of weights: state dicts (torch's own or safetensors) put into the module that ``--factory`` builds."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from mlserve.core.importing import imports_from
from mlserve.core.plugins import missing_extra
from mlserve.errors import InvalidInput, NotFound, UsageError
from mlserve.export.archives import archive_names
from mlserve.export.quieting import foreign_output

WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors")
NAMED = 3
"""So many keys are named where keys do not fit."""

_INSIDE = ("state_dict", "model_state_dict")
"""Where training loops and Lightning keep the state dict among other things."""
_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""
_AGAIN = "save the weights again, or copy the file again"
_PICKLE, _ZIP = b"\x80", b"PK"


def module_of_weights(path: Path, made: Any, *, allow_pickle: bool) -> Any:
    """``made``, what the factory gave (a module, or one with example inputs), with the weights in ``path``.

    Without a factory only a module that was pickled whole will do. Raises NotFound, UsageError where a factory or
    ``allow_pickle`` is missing, InvalidInput for a file that cannot be read or does not fit the module.
    """
    held = _read(path, allow_pickle=allow_pickle)
    if isinstance(held, torch.nn.Module):
        return held
    weights = _state_dict(held, path)
    if made is None:
        raise UsageError(
            f"'{path}' holds weights, and not the module that they belong to",
            hint="--factory MODULE:FUNCTION, a function that builds the module",
        )
    module = made[0] if isinstance(made, tuple) and made else made
    if not isinstance(module, torch.nn.Module):
        raise InvalidInput(f"the factory gave a {type(module).__qualname__}, not a torch module")
    _put(weights, module, path)
    return made


def _read(path: Path, *, allow_pickle: bool) -> Any:
    if not path.is_file():
        raise NotFound(f"no file '{path}'")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    with path.open("rb") as file:
        start = file.read(2)
    if start == _ZIP and any(name.endswith("/constants.pkl") for name in archive_names(path, "a file of torch.save")):
        raise InvalidInput(
            f"'{path}' is a TorchScript archive, which says how a module ran and not what it is",
            hint="save its state_dict() and name the code with --factory, or save torch.export.export(…) as .pt2",
        )
    if not start.startswith((_PICKLE, _ZIP)):
        raise InvalidInput(f"'{path}' is {'not a' if start else 'empty, and no'} file of torch.save", hint=_AGAIN)
    try:
        with foreign_output(), imports_from(path.parent):
            return torch.load(path, map_location="cpu", weights_only=not allow_pickle)
    except UnpicklingError as error:
        if allow_pickle or (start == _ZIP and not zipfile.is_zipfile(path)):
            raise InvalidInput(f"'{path}' is cut short or not a file of torch.save", hint=_AGAIN) from error
        raise UsageError(
            f"'{path}' holds more than weights: objects that can run any code when they are read",
            hint="save module.state_dict() and use --factory, or --allow-pickle if you trust where it comes from",
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError) as error:
        raise InvalidInput(f"'{path}' is cut short or not a file of torch.save", hint=_AGAIN) from error
    except ImportError as error:
        raise InvalidInput(f"'{path}' needs code that is not here: {error}") from error


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise missing_extra("safetensors", "torch") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InvalidInput(f"'{path}' is cut short or not a safetensors file: {error}", hint=_AGAIN) from error


def _state_dict(held: Any, path: Path) -> Mapping[str, torch.Tensor]:
    """The state dict that ``held`` is, or that lies in a checkpoint."""
    found = next((held[key] for key in _INSIDE if key in held), held) if isinstance(held, Mapping) else None
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise InvalidInput(
            f"'{path}' holds a {type(held).__qualname__}, and no tensors by name",
            hint="save module.state_dict(), or a checkpoint with it as 'state_dict'",
        )
    return found


def _put(weights: Mapping[str, torch.Tensor], module: torch.nn.Module, path: Path) -> None:
    """Load ``weights`` into ``module``. Raises InvalidInput unless names and shapes are the same."""
    own = module.state_dict()
    for prefix in _WRAPPERS:
        if weights and all(key.startswith(prefix) for key in weights) and not any(k.startswith(prefix) for k in own):
            weights = {key.removeprefix(prefix): tensor for key, tensor in weights.items()}
    missing = [key for key in own if key not in weights]
    unexpected = [key for key in weights if key not in own]
    if missing or unexpected:
        parts = [f"lacks {_named(missing)}"] if missing else []
        parts += [f"has {_named(unexpected)} that the module does not know"] if unexpected else []
        raise InvalidInput(
            f"'{path}' does not fit the module of the factory: it {' and '.join(parts)}",
            hint="build the module with the arguments that it was trained with",
        )
    others = [key for key in own if own[key].shape != weights[key].shape]
    if others:
        first = others[0]
        raise InvalidInput(
            f"'{path}' does not fit the module of the factory: '{first}' has shape {tuple(weights[first].shape)}, "
            f"and {tuple(own[first].shape)} in the module"
            + (f"; so it is with {len(others) - 1} more" if len(others) > 1 else ""),
            hint="build the module with the arguments that it was trained with",
        )
    module.load_state_dict(weights)


def _named(keys: Iterable[str]) -> str:
    """The first few of ``keys``, and how many more there are."""
    keys = list(keys)
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return ", ".join(f"'{key}'" for key in keys[:NAMED]) + more
