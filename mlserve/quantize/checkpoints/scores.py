"""What comparing two language models leaves: sums over windows, of which metrics are made, and speeds. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

NLL_BEFORE, NLL_AFTER, KL, AGREED, TOKENS = range(5)


@dataclass(frozen=True, slots=True)
class Scores:
    """Sums over each window: an array (windows, 5) of nats before, nats after, KL in nats, tokens agreed on, tokens."""

    sums: np.ndarray[Any, Any]

    @property
    def is_finite(self) -> bool:
        """Whether nothing turned NaN or infinite that was finite before."""
        before = np.isfinite(self.sums[:, NLL_BEFORE])
        return bool(np.isfinite(self.sums[before]).all())

    @property
    def tokens(self) -> int:
        return int(self.sums[:, TOKENS].sum())


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second that ``rows`` texts get together, before and after."""

    rows: int
    before: float
    after: float
