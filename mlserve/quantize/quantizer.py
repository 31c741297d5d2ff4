"""What a quantization method has to offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import onnx

from mlserve.quantize.census import Census

Target = Literal["cpu", "cuda", "tensorrt"]


@dataclass(frozen=True, slots=True)
class Quantized:
    """A graph, the options that made it (they go into its properties), and what a person should know about it."""

    model: onnx.ModelProto
    options: Mapping[str, Any]
    notes: tuple[str, ...] = field(default=())


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
