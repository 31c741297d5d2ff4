"""How far two versions of a model may be apart and still be as good as equal, by the precisions that they compute in.

The defaults are derived, not tried out. A layer that computes with rounded weights and activations adds relative noise
to what passes through; the noise of the layers is independent, so that it adds up as a random walk (Higham and Mary,
SIAM J. Sci. Comput. 41, 2019), and so does the noise of the two sides.

relative noise of a layer, root mean square (uniform rounding: a step ÷ √12):
  fp64, fp32     √4096 × u     sums of 4096 products in another order; u = 2⁻⁵³, 2⁻²⁴ is the unit roundoff
  fp16, bf16     √2 × u ÷ √3   weight and activation are rounded, sums are kept in FP32; u = 2⁻¹¹, 2⁻⁸
  int8           √2 × 4 ÷ (127 √12)   both in 8 bits; the largest of a channel is 4 × its root mean square (Gaussian)
  int8-weights   2.4 ÷ (127 √12)      blocks of 32, where the largest is 2.4 × (Gaussian)
  int4-weights   2.4 ÷ (7 √12)        the same with 7 steps on each side
rtol = 4 × noise: four layers deep (√4), two standard deviations.
atol = rtol ÷ 4: near 0 a score's error is one of its scale, taken as 1, and no logistic function is steeper than 1/4.
ulp: two numbers equal before the last rounding may end in neighbouring values of a coarse type (1 apart for 16 bits
and less); for FP32 and FP64 it is 4, as GoogleTest's ``FloatingPoint::kMaxUlps``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mlserve.compare.kinds import kind_of
from mlserve.core.refs import did_you_mean
from mlserve.errors import UsageError

_LAYERS_AND_DEVIATIONS = 4.0

_NOISE = {
    "fp64": 64 * 2.0**-53,
    "fp32": 64 * 2.0**-24,
    "fp16": math.sqrt(2 / 3) * 2.0**-11,
    "bf16": math.sqrt(2 / 3) * 2.0**-8,
    "int8": math.sqrt(2) * 4 / (127 * math.sqrt(12)),
    "int8-dynamic": math.sqrt(2) * 4 / (127 * math.sqrt(12)),
    "int8-weights": 2.4 / (127 * math.sqrt(12)),
    "int4-weights": 2.4 / (7 * math.sqrt(12)),
    "bnb-int8": math.sqrt(2) * 4 / (127 * math.sqrt(12)),
    "bnb-nf4": 2.4 / (7 * math.sqrt(12)),
}

PRECISIONS = tuple(_NOISE)
"""The names of precisions, as ``quantize`` writes them; the finest first within floats and integers."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A value is within if ``|actual - expected| <= atol + rtol * |expected|`` or it is at most ``ulp`` values away.

    ``why`` says where the numbers are from, for people.
    """

    atol: float
    rtol: float
    ulp: int
    why: str


@lru_cache(maxsize=256)
def tolerance_of(
    dtype: np.dtype[Any], precisions: tuple[str, str], *, atol: float | None = None, rtol: float | None = None
) -> Tolerance:
    """What is tolerated of an output of type ``dtype`` between versions that compute in ``precisions``.

    Integers, booleans, text and what is no number must be equal: one more is another answer. ``atol`` and ``rtol`` are
    the user's own; with either given, nothing is tolerated beyond that formula (``ulp`` is 0), and the one not given
    stays at its default. Raises UsageError for a precision of no such name.

    >>> fp16 = tolerance_of(np.dtype("float32"), ("fp32", "fp16"))
    >>> round(fp16.rtol, 5), round(fp16.atol, 5), fp16.ulp
    (0.00159, 0.0004, 4)
    >>> tolerance_of(np.dtype("int64"), ("fp32", "int8")).why
    'integers are labels or counts, which are equal or not'
    """
    noise = math.hypot(*(_noise(name) for name in precisions))
    kind = kind_of(dtype)
    if kind not in ("float", "complex"):
        return Tolerance(0.0, 0.0, 0, _EXACT.get(kind, "only numbers can be near each other"))
    relative = _LAYERS_AND_DEVIATIONS * noise
    if atol is not None or rtol is not None:
        given = " and ".join(name for name, value in (("atol", atol), ("rtol", rtol)) if value is not None)
        chosen = (relative / 4 if atol is None else atol, relative if rtol is None else rtol)
        return Tolerance(*chosen, 0, f"{given} as given")
    one, other = precisions
    why = f"four layers of the rounding noise of {one} and {other}, two standard deviations"
    return Tolerance(relative / 4, relative, 4 if dtype.itemsize >= 4 else 1, why)


def coarsest(precisions: Iterable[str]) -> str:
    """The one that decides how far answers may be apart, where layers differ; ``fp32`` of none.

    Raises UsageError for a precision of no such name.

    >>> coarsest(["fp32", "int8", "fp16"])
    'int8'
    """
    return max(precisions, key=_noise, default="fp32")


_EXACT = {"integer": "integers are labels or counts, which are equal or not", "text": "texts are equal or not"}


def _noise(precision: str) -> float:
    if precision not in _NOISE:
        raise UsageError(
            f"no precision '{precision}'",
            hint=did_you_mean(precision, PRECISIONS) or f"one of {', '.join(PRECISIONS)}",
        )
    return _NOISE[precision]
