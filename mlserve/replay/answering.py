"""A version that answers captured requests in this process, run by run, whatever single requests do to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput, MlserveError
from mlserve.rows.captured import CapturedBatch

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Version:
    """``run`` answers a run's inputs with all outputs by name, from several threads at once.

    ``max_rows`` is the most rows of a useful run, None where rows of requests may not share one. ``precision`` is what
    tolerances go by, such as "fp32" or "int8".
    """

    ref: str
    digest: str | None
    signature: Signature
    run: Callable[[Mapping[str, Array]], Arrays]
    max_rows: int | None
    precision: str = "fp32"


@dataclass(slots=True)
class Answered:
    """What became of the requests of a batch: ``outputs`` of all rows but those of requests that ``failed``, by place.

    ``took_s`` (requests,) is how long each waited for its answer.
    """

    outputs: Arrays
    took_s: Array
    failed: dict[int, str] = field(default_factory=dict)


def answer(
    version: Version, batch: CapturedBatch, edges: list[int], clock: Callable[[], float] = perf_counter
) -> Answered:
    """The answers of ``version`` to ``batch`` in the runs at ``edges``. Never raises for what a model refuses."""
    names = [spec.name for spec in version.signature.inputs]
    inputs = {name: batch.inputs[name] for name in names if name in batch.inputs}
    rows = [0, *np.cumsum(batch.rows_each).tolist()]
    try:
        found = _in_runs(version, batch, inputs, edges, rows, clock)
    except (MlserveError, ValueError):  # ValueError: rows of answers differ in shape
        found = None
    if found is None or (batch.has_rows and not _has_rows(found.outputs, rows[-1])):
        return _one_by_one(version, batch, inputs, edges, rows, clock)
    return found


def _in_runs(
    version: Version,
    batch: CapturedBatch,
    inputs: Arrays,
    edges: list[int],
    rows: list[int],
    clock: Callable[[], float],
) -> Answered:
    """The usual case, in which nothing fails: as little as can be between one run and the next."""
    run, named = version.run, list(inputs.items())
    pieces: list[Arrays] = []
    times_s: list[float] = []
    for first, end in pairwise(edges):
        bounds = slice(rows[first], rows[end])
        given = {name: array[bounds] for name, array in named} if batch.has_rows else inputs
        began_s = clock()
        pieces.append(run(given))
        times_s.append(clock() - began_s)
    return Answered(_joined(pieces), np.repeat(np.array(times_s, np.float64), np.diff(edges)))


def _one_by_one(
    version: Version,
    batch: CapturedBatch,
    inputs: Arrays,
    edges: list[int],
    rows: list[int],
    clock: Callable[[], float],
) -> Answered:
    """Where a run failed: what its requests get by themselves, so that one does not take its neighbours along."""
    pieces: list[Arrays] = []
    took_s = np.zeros(batch.requests)
    failed: dict[int, str] = {}
    shapes: dict[str, tuple[int, ...]] | None = None

    def one_run(first: int, end: int) -> None:
        nonlocal shapes
        bounds = slice(rows[first], rows[end])
        began_s = clock()
        try:
            given = {name: array[bounds] for name, array in inputs.items()} if batch.has_rows else inputs
            outputs = version.run(given)
            if batch.has_rows:
                shapes = _checked(outputs, rows[end] - rows[first], shapes)
        except MlserveError as error:
            if end - first > 1:
                for at in range(first, end):
                    one_run(at, at + 1)
                return
            failed[first] = error.message
        else:
            pieces.append(outputs)
        took_s[first:end] = clock() - began_s

    for first, end in pairwise(edges):
        one_run(first, end)
    return Answered(_joined(pieces), took_s, failed)


def _has_rows(outputs: Arrays, rows: int) -> bool:
    return all(array.shape[:1] == (rows,) for array in outputs.values())


def _checked(outputs: Arrays, rows: int, known: dict[str, tuple[int, ...]] | None) -> dict[str, tuple[int, ...]]:
    """The shapes of a row of each output. Raises InvalidInput where they are no rows, or others than before."""
    for name, array in outputs.items():
        if array.shape[:1] != (rows,):
            raise InvalidInput(f"output '{name}' is {list(array.shape)} for {rows} rows")
        if known is not None and array.shape[1:] != known[name]:
            raise InvalidInput(f"a row of output '{name}' is {list(array.shape[1:])}, and was {list(known[name])}")
    return {name: array.shape[1:] for name, array in outputs.items()}


def _joined(pieces: list[Arrays]) -> Arrays:
    if len(pieces) <= 1:
        return pieces[0] if pieces else {}
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def misfits(signature: Signature, batch: CapturedBatch) -> list[str]:
    """Why the inputs of ``batch`` are none for a version of ``signature``; empty where they are."""
    problems = []
    for spec in signature.inputs:
        array = batch.inputs.get(spec.name)
        if array is None:
            problems.append(f"input '{spec.name}' is not in the capture")
        elif array.dtype != spec.dtype.numpy:
            problems.append(f"input '{spec.name}' is {spec.dtype.value}, and was {array.dtype}")
        elif len(spec.dims) != array.ndim:
            problems.append(f"input '{spec.name}' has {len(spec.dims)} dims, and had {array.ndim}")
        else:
            tail = zip(spec.dims[1:], array.shape[1:], strict=True)
            if any(isinstance(dim, int) and dim != length for dim, length in tail):
                problems.append(f"input '{spec.name}' is {list(spec.shape)}, and was {[-1, *array.shape[1:]]}")
    names = {spec.name for spec in signature.outputs}
    problems += [f"output '{name}' is gone" for name in batch.outputs if name not in names]
    return problems
