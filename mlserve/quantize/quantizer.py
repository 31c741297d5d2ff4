"""What a quantization method has to offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import onnx

from mlserve.quantize.calibration import Calibration
from mlserve.quantize.census import Census
from mlserve.quantize.targets import Target

__all__ = ["Calibrated", "CalibratingQuantizer", "Quantized", "Quantizer", "Target"]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a range was fixed for: values by their names in the FP32 ``graph``, which lies in the method's folder.

    ``cut`` is the share of the calibration data's own values that lie outside, by choice; what is not there has none.
    """

    graph: Path
    ranges: Mapping[str, tuple[float, float]]
    cut: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quantized:
    """A graph, the options that made it (they go into its properties), and what a person should know about it.

    ``calibrated`` is None for methods that fix no ranges beforehand.
    """

    model: onnx.ModelProto
    options: Mapping[str, Any]
    notes: tuple[str, ...] = field(default=())
    calibrated: Calibrated | None = None


class Quantizer(Protocol):
    """A way to make a graph smaller."""

    def objections(self, census: Census, target: Target) -> list[str]:
        """Why it is not worth trying on such a graph for such a device; empty if it may be."""
        ...

    def quantize(self, source: Path, folder: Path, target: Target) -> Quantized:
        """The smaller graph of the model in ``source``; intermediate files may lie in ``folder``, which is temporary.

        Raises Unsupported for a graph that the tools cannot follow.
        """
        ...


@runtime_checkable
class CalibratingQuantizer(Protocol):
    """A ``Quantizer`` that has to see the model at work first."""

    def calibrated_on(self, calibration: Calibration) -> Quantizer:
        """The same method, with what it will calibrate on; without it ``quantize`` raises UsageError."""
        ...
