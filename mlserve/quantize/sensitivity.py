"""How much each layer matters: what happens to the answers when it alone is quantized, on rows of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx

from mlserve.compare.distances import row_errors
from mlserve.core.progress import Progress
from mlserve.errors import InvalidInput, Unsupported
from mlserve.quantize.layers import Choice, Kind, Layer
from mlserve.rows.reading import RowBatch
from mlserve.runtime.model import load_model

Array = np.ndarray[Any, np.dtype[Any]]
Outputs = dict[str, Array]


class Bench(Protocol):
    """What choices are tried on."""

    model: onnx.ModelProto
    layers: list[Layer]

    def apply(self, choice: Choice) -> onnx.ModelProto: ...


@dataclass(frozen=True, slots=True)
class Sensitivities:
    """The damage by each layer's name, for the layers that there was time for."""

    damage: Mapping[str, float]
    rows: int

    def to_list(self) -> list[dict[str, Any]]:
        """The most sensitive first."""
        ordered = sorted(self.damage.items(), key=lambda item: -item[1])
        return [{"layer": name, "damage": damage} for name, damage in ordered]


def measure_sensitivities(
    bench: Bench,
    kind: Kind,
    batches: Sequence[RowBatch],
    *,
    has_time: Callable[[], bool],
    progress: Progress,
) -> Sensitivities:
    """Quantize one layer of ``bench`` at a time to ``kind``, in memory, while there ``has_time``; the largest first.

    Those that are missed for want of time are the smallest. Tables are left out, for they are one kind until the last.
    """
    before = answers(bench.model, batches)
    damage: dict[str, float] = {}
    ordered = sorted(
        (one for one in bench.layers if not one.is_table), key=lambda layer: (-layer.weight_bytes, layer.name)
    )
    for number, layer in enumerate(ordered):
        progress("rank layers", number, len(ordered))
        if not has_time():
            break
        damage[layer.name] = error_of(before, answers(bench.apply({layer.name: kind}), batches))
    return Sensitivities(damage, sum(batch.rows for batch in batches))


def answers(model: onnx.ModelProto, batches: Iterable[RowBatch]) -> list[Outputs]:
    """The outputs of a graph in memory, a batch each. Raises Unsupported for a graph that does not load."""
    try:
        loaded = load_model(model.SerializeToString(), device="cpu", label="the quantized graph")
    except InvalidInput as error:
        raise Unsupported(f"the method does not suit this model: {error.message}") from error
    with closing(loaded):
        return [loaded.run(batch.inputs) for batch in batches]


def error_of(before: Sequence[Outputs], after: Sequence[Outputs]) -> float:
    """The mean over rows of how far the outputs moved; see ``compare.distances``."""
    return float(np.concatenate([row_errors(a, b) for a, b in zip(before, after, strict=True)]).mean())
