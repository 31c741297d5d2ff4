"""The table of detectors, as ``--detector`` calls them."""

from __future__ import annotations

from mlserve.core.plugins import Plugin, Registry
from mlserve.drift.detectors.detector import Detector

_HERE = "mlserve.drift.detectors"

DETECTORS: Registry[type[Detector]] = Registry(
    "detector",
    group="mlserve.detectors",
    builtin={
        "ks": Plugin(f"{_HERE}.single:Ks", needs=("scipy",), extra="drift-lite"),
        "cvm": Plugin(f"{_HERE}.single:Cvm", needs=("scipy",), extra="drift-lite"),
        "chi2": Plugin(f"{_HERE}.single:Chi2", needs=("scipy",), extra="drift-lite"),
        "fisher": Plugin(f"{_HERE}.single:Fisher", needs=("scipy",), extra="drift-lite"),
        "tabular": Plugin(f"{_HERE}.single:Tabular", needs=("scipy",), extra="drift-lite"),
        "mmd": Plugin(f"{_HERE}.kernels:Mmd"),
        "lsdd": Plugin(f"{_HERE}.kernels:Lsdd"),
        "learned-kernel": Plugin(f"{_HERE}.kernels:LearnedKernel"),
        "context-mmd": Plugin(f"{_HERE}.context:ContextMmd"),
        "classifier": Plugin(f"{_HERE}.classifying:Classifier"),
        "spot-the-diff": Plugin(f"{_HERE}.classifying:SpotTheDiff"),
        "classifier-uncertainty": Plugin(f"{_HERE}.uncertainty:ClassifierUncertainty"),
        "regressor-uncertainty": Plugin(f"{_HERE}.uncertainty:RegressorUncertainty"),
    },
)
"""Those of whole rows say when they are made what they miss: alibi-detect is imported quietly or not at all."""
