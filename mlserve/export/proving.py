"""A written graph against what it was made from: on the sample or made-up rows, in other shapes, on edge rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mlserve.core.progress import Progress
from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput
from mlserve.export.cases import edge_cases, is_batched, shape_cases
from mlserve.export.exporter import Arrays, Conversion
from mlserve.export.parity import Case, Parity, chunks, measure_parity, remarks
from mlserve.graph.document import MAX_ONE_FILE_BYTES, save_graph
from mlserve.rows.reading import Rows
from mlserve.runtime.model import OnnxModel, load_model

BATCH_ROWS = 1024
"""Rows of the sample that are compared at once, and those that the shape and edge cases are made from."""


def saved(model: onnx.ModelProto, staged: Path, max_one_file_bytes: int = MAX_ONE_FILE_BYTES) -> OnnxModel:
    """``model`` as a file, loaded in the runtime. Raises InvalidInput where that cannot load it."""
    save_graph(model, staged, max_one_file_bytes=max_one_file_bytes)
    return load_model(staged, device="cpu", label="the exported graph")


def answers(
    conversion: Conversion, graph: OnnxModel, some: Arrays, signature: Signature
) -> Iterator[Mapping[str, np.ndarray[Any, Any]]]:
    """The graph's answers at every shape that is compared; what it refuses is for parity to say."""
    for inputs in (some, *(case.inputs for case in _shapes(conversion, signature, some))):
        with suppress(InvalidInput):
            yield graph.run(inputs)


def measure(
    conversion: Conversion,
    graph: OnnxModel,
    signature: Signature,
    rows: Rows | None,
    rtol: float,
    atol: float,
    allow_mismatch: int,
    progress: Progress,
) -> tuple[Parity, tuple[str, ...]]:
    original = conversion.predict
    if original is None:
        return _unmeasured(rtol, atol), ("the original cannot be run here, so there was nothing to compare with",)
    some, batches = inputs_of(conversion, signature, rows)
    if rows is None:
        try:
            original(some)
        except InvalidInput as error:
            note = f"made-up inputs were refused ({error.message}), so nothing was compared: give --sample DATA"
            return _unmeasured(rtol, atol), (note,)
    parity = measure_parity(
        original,
        graph.run,
        _counted(batches, rows.total_rows if rows is not None else None, progress),
        _cases(conversion, signature, some),
        rtol=rtol,
        atol=atol,
        allow_mismatch=allow_mismatch,
    )
    made_up = () if rows is not None else ("compared on made-up rows: give --sample DATA with rows it has not seen",)
    return parity, (*made_up, *remarks(parity))


def inputs_of(conversion: Conversion, signature: Signature, rows: Rows | None) -> tuple[Arrays, Iterable[Arrays]]:
    """The rows that cases are made from, and all rows in batches that the graph takes."""
    fixed = next((spec.dims[0] for spec in signature.inputs if spec.dims and isinstance(spec.dims[0], int)), None)
    size = fixed if isinstance(fixed, int) and fixed else BATCH_ROWS
    if rows is not None:
        first = next(rows.batches(size), None)
        if first is None:
            raise InvalidInput(f"'{rows.path}' has no rows")
        return first.inputs, (batch.inputs for batch in rows.batches(size))
    if conversion.example is None:
        raise InvalidInput("there are no inputs to compare on", hint="--sample DATA")
    batched = is_batched(signature)
    return conversion.example, chunks(conversion.example, size) if batched else [conversion.example]


def _cases(conversion: Conversion, signature: Signature, some: Arrays) -> Iterator[Case]:
    yield from _shapes(conversion, signature, some)
    if conversion.is_tabular:
        yield from edge_cases(some)


def _shapes(conversion: Conversion, signature: Signature, some: Arrays) -> Iterator[Case]:
    if conversion.cases is None:
        yield from shape_cases(some, signature)
    else:
        yield from (Case(name, inputs) for name, inputs in conversion.cases.items())


def _counted(batches: Iterable[Arrays], total: int | None, progress: Progress) -> Iterator[Arrays]:
    done = 0
    for inputs in batches:
        yield inputs
        done += max((len(array) for array in inputs.values() if array.ndim), default=1)
        progress("compare", done, total)


def _unmeasured(rtol: float, atol: float) -> Parity:
    return Parity(True, 0.0, 0.0, 0, 0, None, rtol, atol)
