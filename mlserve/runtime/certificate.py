"""The row-independence certificate: may rows of several requests share a run, and how exactly does it hold?

ONNX promises nothing of the kind: a graph may reduce over axis 0, take a quantization scale from the whole batch, or
draw random numbers, and a kernel may sum in another order when there are more rows. So it is shown, once a digest:

    axis 0 dynamic everywhere, under one name ──no──► "none": one request a time
    operators that mix rows ─────────────────yes────► "none"
    row i alone  against  row i in batches of several sizes, at several places
        bit-equal ► "exact"      within float arithmetic ► "close"      else ► "none"
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput, MlserveError
from mlserve.runtime.closeness import EXACT, Closeness, closeness
from mlserve.runtime.model import Arrays, OnnxModel
from mlserve.runtime.operators import ROW_MIXING
from mlserve.runtime.padding import Padding, has_lengths, prove_padding
from mlserve.runtime.samples import synthetic_inputs

Exactness = Literal["exact", "close", "none"]

PROBE_ROWS = 33
FEWEST_ROWS = 4
BATCH_SIZES = (2, 3, 4, 8, 16, 33, 7)
"""Around the tile sizes of matrix kernels, in the order that they are tried until the time is up; two always are."""

BUDGET_S = 10.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the probe showed, on which provider and with how many threads a run.

    ``max_abs`` and ``max_ulp`` are the largest differences between a row alone and in a batch (-1: not comparable).
    ``padding`` is None where rows have no length, and where it was never looked at.
    """

    batchable: bool
    exactness: Exactness
    max_abs: float
    max_ulp: int
    reason: str
    provider: str
    threads: int
    padding: Padding | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Certificate:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            known = {name: fields[name] for name in cls.__dataclass_fields__ if name != "padding"}
            padding = fields.get("padding")
            certificate = cls(**known, padding=None if padding is None else Padding.from_dict(padding))
        except (AttributeError, KeyError, TypeError) as error:
            raise InvalidInput(f"not a certificate: {fields!r}") from error
        if certificate.exactness not in ("exact", "close", "none"):
            raise InvalidInput(f"not a certificate: exactness '{certificate.exactness}'")
        return certificate

    def holds_for(self, provider: str, threads: int) -> bool:
        """Whether it was measured as the model now runs; another provider or number of threads sums differently."""
        return self.provider == provider and self.threads == threads


def certify(
    model: OnnxModel,
    *,
    rows: Mapping[str, np.ndarray[Any, Any]] | None = None,
    seed: int = 0,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.monotonic,
) -> Certificate:
    """The certificate of ``model`` as it is loaded now.

    ``rows`` are real inputs by name, rows on axis 0 (at most 33 are used); without them, rows are made up from the
    signature. A model too slow for ``budget_s`` is shown fewer rows and sizes, four rows at least. Never raises for
    what the model does: a model that refuses the rows is not batchable, with the reason.
    """

    def verdict(exactness: Exactness, reason: str, seen: Closeness = EXACT) -> Certificate:
        max_abs = seen.max_abs if np.isfinite(seen.max_abs) else -1.0
        batchable = exactness != "none"
        return Certificate(batchable, exactness, max_abs, seen.max_ulp, reason, model.providers[0], model.threads)

    obstacle = _obstacle(model.signature) or _mixing(model.operators)
    if obstacle:
        return verdict("none", obstacle)
    seen = EXACT
    deadline_s = clock() + budget_s
    try:
        for inputs in _probes(model.signature, rows, seed):
            alone = _each_alone(model, inputs, budget_s, clock)
            if any(len(output) != 1 for answer in alone for output in answer.values()):
                return verdict("none", "an output has another number of rows than the inputs")
            for picked in _batches(len(alone), deadline_s, clock):
                seen = seen.merge(_compare(model, inputs, alone, picked))
                if not seen.is_close:
                    return verdict("none", f"a row's answer changes with its neighbours (batch of {len(picked)})", seen)
            if _is_telling(alone):
                found = verdict("exact" if seen.is_exact else "close", "row by row equals batch in the probe", seen)
                return with_padding(found, model, rows=rows, seed=seed)
    except MlserveError as error:
        given = "made-up rows" if rows is None else "given rows"
        return verdict("none", f"the probe could not run on {given}: {error.message}")
    return verdict("none", "every probe row got the same answer, which shows nothing; give golden rows")


def with_padding(
    certificate: Certificate,
    model: OnnxModel,
    *,
    rows: Mapping[str, np.ndarray[Any, Any]] | None = None,
    seed: int = 0,
) -> Certificate:
    """``certificate`` with the proof that rows may be filled up, or the reason why not, where that was never looked at.

    As it is for rows that cannot share a run anyway, and for those without a length.
    """
    if certificate.padding is not None or not certificate.batchable or not has_lengths(model.signature):
        return certificate
    return replace(certificate, padding=prove_padding(model, rows=rows, seed=seed))


def _obstacle(signature: Signature) -> str | None:
    specs = (*signature.inputs, *signature.outputs)
    if not signature.inputs:
        return "the model has no inputs"
    for spec in specs:
        if not spec.dims or isinstance(spec.dims[0], int):
            return f"axis 0 of '{spec.name}' is not dynamic"
    names = {spec.dims[0] for spec in specs if spec.dims[0] is not None}
    return None if len(names) <= 1 else f"axis 0 has several names: {', '.join(sorted(map(str, names)))}"


def _mixing(operators: frozenset[str]) -> str | None:
    return next((f"{name} {why}" for name, why in ROW_MIXING.items() if name in operators), None)


def _probes(signature: Signature, rows: Mapping[str, Any] | None, seed: int) -> Iterator[Arrays]:
    """The given rows, then made-up ones of three seeds: more only where the answers to the first ones show nothing."""
    if rows is not None:
        count = min(PROBE_ROWS, *(len(array) for array in rows.values()))
        if count >= 2:
            yield {name: np.ascontiguousarray(array[:count]) for name, array in rows.items()}
    for attempt in range(3):
        yield synthetic_inputs(signature, PROBE_ROWS, seed + 101 * attempt)


def _each_alone(model: OnnxModel, inputs: Arrays, budget_s: float, clock: Callable[[], float]) -> list[Arrays]:
    """The answers of the rows one by one: of as many as take half the budget, but of ``FEWEST_ROWS`` at least."""
    start_s = clock()
    answers = [model.run(_rows(inputs, [0]))]
    affordable = int(0.5 * budget_s / max(clock() - start_s, 1e-6))
    count = min(_count(inputs), max(FEWEST_ROWS, affordable))
    return answers + [model.run(_rows(inputs, [row])) for row in range(1, count)]


def _batches(count: int, deadline_s: float, clock: Callable[[], float]) -> Iterator[list[int]]:
    """Rows to put in one batch: for each size, from the front, and in reverse from the back."""
    for number, size in enumerate(min(size, count) for size in BATCH_SIZES):
        if number >= 2 and clock() > deadline_s:
            return
        yield list(range(size))
        yield list(range(count - 1, count - 1 - size, -1))


def _compare(model: OnnxModel, inputs: Arrays, alone: list[Arrays], picked: list[int]) -> Closeness:
    together = model.run(_rows(inputs, picked))
    expected = {name: np.concatenate([alone[row][name] for row in picked]) for name in together}
    return closeness(expected, together)


def _rows(inputs: Arrays, picked: list[int]) -> Arrays:
    return {name: np.ascontiguousarray(array[picked]) for name, array in inputs.items()}


def _count(inputs: Arrays) -> int:
    return min(len(array) for array in inputs.values())


def _is_telling(alone: list[Arrays]) -> bool:
    """Whether some output differs from row to row; NaN everywhere, or a constant, would hide any mixing."""
    return any(
        not all(
            np.array_equal(alone[0][name], answer[name], equal_nan=alone[0][name].dtype.kind in "fc")
            for answer in alone
        )
        for name in alone[0]
    )
