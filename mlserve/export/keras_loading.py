"""Keras models from files: nothing that a file brings along is run unless that was allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras

from mlserve.errors import InvalidInput, NotFound, UsageError
from mlserve.export.archives import archive_names
from mlserve.export.quieting import foreign_output

_CONFIG = "config.json"
_LOST = re.compile(r"Could not locate \w+ '([^']+)'")
_UNSAFE = ("safe_mode", "unsafe deserialization", "arbitrary code")
"""What Keras says of a Lambda layer, whose code is pickled inside the file, and of classes from elsewhere."""


def model_of_file(path: Path, made: Any, *, allow_pickle: bool) -> Any:
    """The model in a ``.keras`` file, or ``made``, what the factory gave, with the weights in ``path``.

    Raises NotFound, UsageError for code inside the file without ``allow_pickle``, InvalidInput for a file that cannot
    be read or does not fit.
    """
    if not path.is_file():
        raise NotFound(f"no file '{path}'", hint="give the .keras file that model.save wrote")
    if made is not None:
        return _with_weights(path, made)
    if _CONFIG not in archive_names(path, "a Keras model"):
        raise InvalidInput(f"'{path}' holds no {_CONFIG}, so it is no Keras model", hint="write it with model.save")
    return _load(path, allow_pickle=allow_pickle)


def _load(path: Path, *, allow_pickle: bool) -> Any:
    try:
        with foreign_output():
            return keras.saving.load_model(path, compile=False, safe_mode=not allow_pickle)
    except Exception as error:  # what is inside decides what Keras raises: json, h5py, each layer's own errors
        fact = str(error).strip().split("\n")[0]
        if not allow_pickle and any(word in str(error) for word in _UNSAFE):
            raise UsageError(
                f"'{path}' holds code of its own, such as a Lambda layer, which would run when it is read",
                hint="--allow-pickle if you trust where it comes from, or write the layer as a class",
            ) from error
        if lost := _LOST.search(str(error)):
            raise InvalidInput(
                f"'{path}' has a layer of the class '{lost[1]}', which is not here",
                hint="name a function that imports the class and loads the model, as MODULE:FUNCTION",
            ) from error
        raise InvalidInput(
            f"'{path}' is not a Keras model that can be read here: {fact or type(error).__name__}",
            hint="save the model again with this version of Keras, or copy the file again",
        ) from error


def _with_weights(path: Path, made: Any) -> Any:
    model = made[0] if isinstance(made, tuple) and made else made
    if not isinstance(model, keras.Model):
        raise InvalidInput(f"the factory gave a {type(model).__qualname__}, not a Keras model")
    try:
        with foreign_output():
            model.load_weights(path)
    except Exception as error:  # as above
        fact = " ".join(str(error).strip().split("\n")[0].split())
        raise InvalidInput(
            f"'{path}' does not fit the model of the factory, or cannot be read: {fact[:300]}",
            hint="save it with model.save_weights('m.weights.h5'), and build the model as it was trained",
        ) from error
    return made
