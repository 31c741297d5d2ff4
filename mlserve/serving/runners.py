"""The table of runners: what makes a version of each kind answer, given what is wanted, fetched, and the options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlserve.core.plugins import Plugin, Registry

LOADERS: Registry[Callable[..., Any]] = Registry(
    "runner",
    group="mlserve.runners",
    builtin={
        "onnx": Plugin("mlserve.serving.loading:load_onnx"),
        "transformers": Plugin("mlserve.serving.generation.loading:load_checkpoint"),
    },
)
