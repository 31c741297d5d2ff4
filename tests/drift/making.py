"""References and windows to try drift with: rows of a table with labels and times, and a model that scores them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.drift.blocks import BLOCK_ROWS, Block
from mlserve.drift.fitting import FitPlan, fit
from mlserve.drift.profile import Profile
from mlserve.drift.sources import NO_FAULTS

SIGNATURE = Signature(
    (TensorSpec("x", DType.FLOAT32, ("batch", 3)), TensorSpec("plan", DType.STRING, ("batch",))),
    (TensorSpec("p", DType.FLOAT32, ("batch", 2)),),
)
DIGEST = "sha256:" + "1" * 64
START = datetime(2026, 3, 1, tzinfo=UTC)


class TableSource:
    """Rows that lie in memory, as a data file's would come."""

    kind = "data"
    faults = NO_FAULTS
    names: Mapping[str, Sequence[str]]

    def __init__(
        self,
        inputs: Mapping[str, np.ndarray],
        labels: np.ndarray | None = None,
        times: np.ndarray | None = None,
        outputs: Mapping[str, np.ndarray] | None = None,
        digest: str = "sha256:" + "2" * 64,
    ) -> None:
        self.inputs, self.labels, self.times, self.outputs = inputs, labels, times, outputs or {}
        self.names = {"x": ("amount", "age", "visits")} if "x" in inputs else {}
        self.digest = digest
        self.total_rows: int | None = len(next(iter(inputs.values())))

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[Block]:
        assert self.total_rows is not None
        for start in range(0, self.total_rows, rows):
            part = slice(start, min(start + rows, self.total_rows))
            yield Block(
                start,
                part.stop - start,
                {name: array[part] for name, array in self.inputs.items()},
                {name: array[part] for name, array in self.outputs.items()},
                None if self.labels is None else self.labels[part],
                None if self.times is None else self.times[part],
            )


def rows_of(rows: int = 4000, *, seed: int = 0, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Inputs: a normal ``amount`` moved by ``shift``, a uniform ``age``, few ``visits``, and one of three plans."""
    random = np.random.default_rng(seed)
    x = np.stack(
        [random.normal(shift, 1.0, rows), random.uniform(18, 90, rows), random.integers(0, 6, rows)], axis=1
    ).astype(np.float32)
    return {"x": x, "plan": np.array(["basic", "plus", "team"], object)[random.choice(3, rows, p=[0.6, 0.3, 0.1])]}


def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A model: the probability of "yes" grows with the amount."""
    yes = 1 / (1 + np.exp(-2 * inputs["x"][:, 0].astype(np.float64)))
    return {"p": np.stack([1 - yes, yes], axis=1).astype(np.float32)}


def labels_of(inputs: Mapping[str, np.ndarray], *, seed: int = 1) -> np.ndarray:
    """What turned out, as the model says it does."""
    return (np.random.default_rng(seed).random(len(inputs["x"])) < run(inputs)["p"][:, 1]).astype(np.int64)


def times_of(rows: int, *, days: float = 10.0) -> np.ndarray:
    """Evenly spread over ``days`` from ``START`` on."""
    start = np.datetime64(START.replace(tzinfo=None), "us")
    return start + (np.arange(rows) * (days * 86_400e6 / rows)).astype("timedelta64[us]")


def source(rows: int = 4000, *, seed: int = 0, shift: float = 0.0) -> TableSource:
    """400 rows a day, with labels."""
    inputs = rows_of(rows, seed=seed, shift=shift)
    return TableSource(inputs, labels_of(inputs), times_of(rows, days=rows / 400))


def fitted(rows: int = 4000, **options: object) -> Profile:
    """The profile of an undrifted reference."""
    return fit(source(rows), FitPlan(DIGEST, SIGNATURE, **options), run)  # type: ignore[arg-type]
