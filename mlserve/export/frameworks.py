"""The table of exporters, and which of them a source belongs to."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from mlserve.core.plugins import Plugin, Registry
from mlserve.errors import Unsupported
from mlserve.export.exporter import Exporter

EXPORTERS: Registry[type[Exporter]] = Registry(
    "exporter",
    group="mlserve.exporters",
    builtin={
        "sklearn": Plugin("mlserve.export.sklearn:SklearnExporter", needs=("sklearn", "skl2onnx"), extra="sklearn"),
        "torch": Plugin("mlserve.export.torch:TorchExporter", needs=("torch", "onnxscript"), extra="torch"),
        "xgboost": Plugin(
            "mlserve.export.xgboost:XgboostExporter", needs=("xgboost", "sklearn", "onnxmltools"), extra="boosting"
        ),
        "lightgbm": Plugin(
            "mlserve.export.lightgbm:LightgbmExporter", needs=("lightgbm", "sklearn", "onnxmltools"), extra="boosting"
        ),
        "keras": Plugin("mlserve.export.keras:KerasExporter", needs=("keras",), extra="keras"),
        "tensorflow": Plugin(
            "mlserve.export.tensorflow:TensorflowExporter", needs=("tensorflow", "tf2onnx"), extra="tensorflow"
        ),
        "transformers": Plugin(
            "mlserve.export.transformers:TransformersExporter",
            needs=("torch", "transformers", "optimum", "safetensors"),
            extra="transformers",
        ),
        "onnx": Plugin("mlserve.export.onnx:OnnxExporter"),
    },
)

# Keras settles on its backend when it is first imported, which the user's own code may do; TensorFlow, its default, is
# seldom there. Whoever has said what it shall be is left alone.
if importlib.util.find_spec("torch") is not None:
    os.environ.setdefault("KERAS_BACKEND", "torch")

# Known without importing the framework: a scikit-learn file must not cost an import of torch.
_BY_SUFFIX = {".onnx": "onnx", ".keras": "keras", ".ubj": "xgboost", ".lgb": "lightgbm"}
_BY_SUFFIX |= dict.fromkeys((".pt2", ".pt", ".pth", ".ckpt", ".safetensors"), "torch")
_BY_MEMBER = {"saved_model.pb": "tensorflow", "config.json": "transformers", "modules.json": "transformers"}
_BY_PACKAGE = {"sklearn": "sklearn", "torch": "torch", "keras": "keras", "xgboost": "xgboost", "lightgbm": "lightgbm"}

FROM_FACTORY = ("torch", "keras")
"""Frameworks whose files may hold weights only, of a model that the user's code builds."""

USES = ("transformers",)
"""Frameworks whose models have several uses, which ``--task`` and ``--text`` choose from."""


def framework_of_file(source: str) -> str | None:
    """The framework that reads ``source`` itself, by its suffix or by what lies in the folder, or None for one that has
    to be loaded first.

    >>> framework_of_file("m.onnx"), framework_of_file("m.joblib")
    ('onnx', None)
    """
    path = Path(source)
    if path.is_dir():
        return next((name for member, name in _BY_MEMBER.items() if (path / member).is_file()), None)
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    return next((name for name in _others() if suffix and suffix in EXPORTERS[name].suffixes), None)


def reads_itself(name: str, source: str) -> bool:
    """Whether the exporter called ``name`` reads ``source`` itself: a file by its suffix, or a folder.

    One that reads folders only is asked for a name that is no folder too: it knows what to say.
    """
    path = Path(source)
    if path.is_dir() or name in USES:
        return name in _BY_MEMBER.values()
    return path.suffix.lower() in EXPORTERS[name].suffixes


def framework_of_object(loaded: Any, source: str) -> str:
    """The framework whose classes ``loaded`` is made of, the most derived class first. Raises Unsupported for none.

    A factory that gives a model and its example inputs is known by the model.
    """
    model = loaded[0] if isinstance(loaded, tuple) and loaded else loaded
    packages = [base.__module__.partition(".")[0] for base in type(model).__mro__]
    others = {package: name for name in _others() for package in EXPORTERS[name].packages}
    for package in packages:
        if found := (_BY_PACKAGE | others).get(package):
            return found
    raise Unsupported(
        f"'{source}' is a {type(model).__module__}.{type(model).__qualname__}, which no exporter here knows",
        hint=f"there are exporters for {', '.join(EXPORTERS)}",
    )


def _others() -> list[str]:
    """Exporters that other packages bring through the entry-point group."""
    known = {*_BY_SUFFIX.values(), *_BY_MEMBER.values(), *_BY_PACKAGE.values()}
    return [name for name in EXPORTERS if name not in known]
