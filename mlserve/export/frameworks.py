"""The table of exporters, and which of them a source belongs to."""

from __future__ import annotations

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
        "transformers": Plugin(
            "mlserve.export.transformers:TransformersExporter",
            needs=("torch", "transformers", "optimum", "safetensors"),
            extra="transformers",
        ),
        "onnx": Plugin("mlserve.export.onnx:OnnxExporter"),
    },
)

# Known without importing the framework: a scikit-learn file must not cost an import of torch.
_BY_SUFFIX = {".onnx": "onnx", ".pt2": "torch", ".ubj": "xgboost", ".lgb": "lightgbm"}
_BY_PACKAGE = {"sklearn": "sklearn", "torch": "torch", "xgboost": "xgboost", "lightgbm": "lightgbm"}

_BY_FOLDER = {"config.json": "transformers", "modules.json": "transformers"}
"""What a folder is, by a file in it."""

USES = ("transformers",)
"""Frameworks whose models have several uses, which ``--task`` and ``--text`` choose from."""


def framework_of_file(source: str) -> str | None:
    """The framework that reads ``source`` itself, by its suffix or a folder's files; None if it must be loaded first.

    >>> framework_of_file("m.onnx"), framework_of_file("m.joblib")
    ('onnx', None)
    """
    if Path(source).is_dir():
        return next((name for mark, name in _BY_FOLDER.items() if Path(source, mark).is_file()), None)
    suffix = Path(source).suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    return next((name for name in _others() if suffix and suffix in EXPORTERS[name].suffixes), None)


def reads_itself(name: str, source: str) -> bool:
    """Whether the exporter called ``name`` is given ``source`` as it is, and not what it leads to."""
    return name in _BY_FOLDER.values() or Path(source).suffix.lower() in EXPORTERS[name].suffixes


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
    known = {*_BY_SUFFIX.values(), *_BY_PACKAGE.values(), *_BY_FOLDER.values()}
    return [name for name in EXPORTERS if name not in known]
