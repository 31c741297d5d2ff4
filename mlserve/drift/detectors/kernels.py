"""Whole rows by kernels: mmd, lsdd, and a kernel that is learned; each p-value by permutation.

A kernel matrix is n × n: beyond ``Options.max_bytes`` rows are drawn, and the finding says how many.
"""

from __future__ import annotations

import ctypes
from math import isqrt
from typing import Any, ClassVar

import numpy as np

from mlserve.drift.detectors.columns import drawn, side_by_side
from mlserve.drift.detectors.detector import Array, Cost, Effect, Finding, Options, Sample, Takes
from mlserve.drift.detectors.engines import ALIBI, alibi, quiet, torch_module
from mlserve.drift.detectors.finding import judged, permuted, unanswered
from mlserve.drift.detectors.seeding import seeded
from mlserve.errors import Unsupported

_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of glibc's malloc.h."""
BACKEND, DEVICE = "pytorch", "cpu"
_BYTES_A_PAIR = 24
"""Six matrices of float32 at once: distances, sorted, their places (two), the kernel, its permutation."""


def most_rows(max_bytes: int) -> int:
    """How many rows of both samples together a kernel matrix and its copies may have in ``max_bytes``.

    >>> most_rows(96 << 20)
    2048
    """
    return isqrt(max_bytes // _BYTES_A_PAIR)


def give_back_large_blocks() -> None:
    """Have glibc take blocks from 1 MiB on from the system and return them at once, for the rest of this process.

    It would else learn to keep them, and each permutation's small result splits the hole its matrix left: measured,
    1.2 GB more after 150 permutations of 2,048 rows. Nothing happens where the C library is another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 20)


class _Kernel:
    """What they share: finite rows, scaled by the reference, as many as memory allows, and one finding."""

    name: ClassVar[str]
    takes: ClassVar[Takes] = Takes.ROWS
    smallest_rows: ClassVar[int] = 100
    cost: ClassVar[Cost] = Cost.QUADRATIC
    effect: ClassVar[str]

    def __init__(self, options: Options) -> None:
        self._options = options
        give_back_large_blocks()
        torch_module()
        self._drift = alibi("alibi_detect.cd")

    def run(self, reference: Sample, window: Sample) -> tuple[Finding, ...]:
        rows = side_by_side(reference, window, scaled=True)
        rows, notes = drawn(rows, most_rows(self._options.max_bytes), self._options.seed)
        sizes = len(rows.reference), len(rows.window)
        seen = self.name, self.name, ALIBI, tuple(reference), sizes, rows.missing
        if nothing := unanswered(*seen, self.smallest_rows):
            return (nothing,)
        with seeded(self._options.seed), quiet():
            try:
                data = self._made(rows.reference).predict(rows.window)["data"]
            except ValueError as error:
                raise Unsupported(f"{self.name} cannot judge these rows: {error}", hint="--detector mmd") from error
        p_value, statistic = float(data["p_val"]), float(data["distance"])
        # A statistic that is no number is never exceeded, and alibi-detect calls that p = 0.
        p_value = p_value if np.isfinite(statistic) else float("nan")
        return (
            judged(
                *seen,
                statistic=statistic,
                p_value=p_value,
                p_safe=permuted(p_value, self._options.permutations) if np.isfinite(p_value) else 1.0,
                effect=Effect(self.effect, max(statistic, 0.0)),
                notes=notes,
                figures={"permutations": self._options.permutations, "threshold": float(data["distance_threshold"])},
            ),
        )

    def _made(self, reference: Array) -> Any:
        raise NotImplementedError


class Mmd(_Kernel):
    """Maximum mean discrepancy, its Gaussian kernel as wide as the reference's median distance."""

    name = "mmd"
    effect = "mmd2"

    def _made(self, reference: Array) -> Any:
        return self._drift.MMDDrift(
            reference, backend=BACKEND, n_permutations=self._options.permutations, device=DEVICE
        )


class Lsdd(_Kernel):
    """Least-squares density difference, about centres that are a twentieth of the reference."""

    name = "lsdd"
    effect = "lsdd"

    def _made(self, reference: Array) -> Any:
        return self._drift.LSDDDrift(
            reference, backend=BACKEND, n_permutations=self._options.permutations, device=DEVICE
        )


class LearnedKernel(_Kernel):
    """MMD with a kernel that is trained on three quarters of the rows to tell them apart, and judged on the rest."""

    name = "learned-kernel"
    smallest_rows = 200
    effect = "mmd2"

    def _made(self, reference: Array) -> Any:
        return self._drift.LearnedKernelDrift(
            reference,
            learned_kernel(reference.shape[1]),
            backend=BACKEND,
            n_permutations=self._options.permutations,
            # With True alibi-detect 0.13 trains one copy of the kernel and judges with another, untrained one.
            retrain_from_scratch=False,
            epochs=self._options.epochs,
            verbose=0,
            device=DEVICE,
        )


def learned_kernel(features: int) -> Any:
    """A small network before a Gaussian kernel, mixed with one on the rows themselves; drawn from torch's generator."""
    torch = torch_module()
    kernels = alibi("alibi_detect.utils.pytorch.kernels")
    network = torch.nn.Sequential(torch.nn.Linear(features, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8))
    return kernels.DeepKernel(network, eps=0.01)
