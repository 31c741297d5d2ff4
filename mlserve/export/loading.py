"""From what the user typed to a live object: skops files, pickles (code, so only on demand), ``module:attr``."""

from __future__ import annotations

import importlib
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

from mlserve.core.importing import imports_from
from mlserve.core.plugins import missing_extra
from mlserve.errors import InvalidInput, NotFound, Unsupported, UsageError
from mlserve.export.archives import archive_names
from mlserve.export.attributes import load_attribute
from mlserve.export.quieting import foreign_output

PICKLES = (".pkl", ".pickle", ".joblib", ".jl")
AGAIN = "save the model again with the versions that are here, or copy the file again"
_ATTRIBUTE = re.compile(r"(?P<module>[^:]+):(?P<attribute>[A-Za-z_][\w.]*)")


def load_source(source: str, *, allow_pickle: bool, folder: Path) -> Any:
    """The object that ``source`` names: a ``.skops`` or pickle file, ``module:attr`` or ``file.py:attr``.

    Modules are looked for in ``folder`` first. Raises NotFound, UsageError for a pickle without
    ``allow_pickle``, Unsupported for other files, InvalidInput for what cannot be read.
    """
    path = Path(source)
    if path.is_file():
        return _load_file(path, allow_pickle=allow_pickle)
    if path.is_dir():
        raise Unsupported(
            f"'{path}' is a folder without a model that is known here",
            hint="give the model's file, or the folder that holds config.json or saved_model.pb",
        )
    named = _ATTRIBUTE.fullmatch(source)
    if named is None or path.suffix.lower() in (*PICKLES, ".skops"):
        raise NotFound(f"no file '{source}'", hint="give a model file, a checkpoint's folder, or module:attr")
    return load_attribute(named["module"], named["attribute"], folder)


def _load_file(path: Path, *, allow_pickle: bool) -> Any:
    suffix = path.suffix.lower()
    if suffix == ".skops":
        return _load_skops(path, allow_pickle=allow_pickle)
    if suffix in PICKLES:
        if not allow_pickle:
            raise UsageError(
                f"'{path}' is a pickle, which can run any code when it is read",
                hint="--allow-pickle if you trust where it comes from, or save it with skops.io.dump",
            )
        return _load_pickle(path)
    if suffix in (".h5", ".hdf5"):
        raise Unsupported(
            f"'{path}' is of the format before Keras 3, or holds weights only",
            hint="save the model as .keras; a .weights.h5 file needs --factory MODULE:FUNCTION that builds the model",
        )
    raise Unsupported(
        f"'{path}' is not a file that can be exported",
        hint=f"known are .onnx, .pt2, .pt, .safetensors, .keras, .ubj, .lgb, .skops, {', '.join(PICKLES)}"
        " and module:attr",
    )


def _load_skops(path: Path, *, allow_pickle: bool) -> Any:
    try:
        import skops.io
        from skops.io.exceptions import UntrustedTypesFoundException
    except ModuleNotFoundError as error:
        raise missing_extra("skops", "sklearn") from error
    archive_names(path, "a skops file")
    try:
        listed = skops.io.get_untrusted_types(file=path)
        unknown = [name for name in listed if not _is_sklearn_class(name)]
        if unknown and not allow_pickle:
            raise UsageError(
                f"'{path}' holds types that are not known to be harmless: {', '.join(unknown)}",
                hint="--allow-pickle if you trust where it comes from",
            )
        with foreign_output():
            return skops.io.load(path, trusted=listed)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError, AttributeError, ImportError) as error:
        raise InvalidInput(f"'{path}' is not a skops file that can be read here: {error}", hint=AGAIN) from error
    except UntrustedTypesFoundException as error:
        raise InvalidInput(f"'{path}' cannot be trusted: {error}") from error


def _is_sklearn_class(name: str) -> bool:
    """Whether ``name`` is a class of scikit-learn's own; skops' list lacks some, such as an MLPClassifier's optimizer.

    Functions are not trusted: a file could have one called with arguments of its choice. Nor are classes of others that
    a module of scikit-learn happens to import.
    """
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] != "sklearn":
        return False
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and found.__module__.partition(".")[0] == "sklearn"


def _load_pickle(path: Path) -> Any:
    try:
        import joblib
    except ModuleNotFoundError as error:
        raise missing_extra("joblib", "sklearn") from error
    try:
        with foreign_output(), imports_from(path.parent):
            return joblib.load(path)
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"'{path}' needs the module '{error.name}', which is not installed", hint=f"pip install {error.name}"
        ) from error
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        fact = str(error)[:200] or "it is cut short"
        raise InvalidInput(f"'{path}' is not a pickle that can be read here: {fact}", hint=AGAIN) from error
    except (ImportError, OSError) as error:
        raise InvalidInput(f"'{path}' cannot be read: {error}") from error
