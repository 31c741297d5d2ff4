"""The settings that ``tune`` tries: a coarse grid around the default, and what lies beside a good one. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlserve.runtime.costs import Costs
from mlserve.runtime.tuned import Setting

CLIENTS = 64
"""So many ask at a time where nothing says: enough that batches and lanes are what limits."""

PATIENCE_S = 2.0
"""Fewer ask where an answer would take longer than this: each measurement must hold several."""

SIZES = (1, 4, 16, 64, 256, 1024)
"""The grid's batches, whatever the default: that is measured at load, and may be off. The finer step is 2."""

DELAY_SHARES = (0.05, 0.1, 0.2)
"""Holds worth a try, as parts of the objective."""


def usual_clients(costs: Costs, lanes: int) -> int:
    """How many clients to tune with, a power of two; two for each lane at least, so that none is ever idle.

    >>> heavy = Costs(alpha_s=0.2, beta_s=0.3, has_control_flow=False)
    >>> usual_clients(heavy, lanes=2), usual_clients(Costs(1e-3, 1e-3, has_control_flow=False), lanes=2)
    (8, 64)
    """
    clients = CLIENTS
    while clients > 2 * lanes and costs.alpha_s + costs.beta_s * clients / lanes > PATIENCE_S:
        clients //= 2
    return clients


@dataclass(frozen=True, slots=True)
class Space:
    """What may be set for one version here. ``default`` is what runs without a profile.

    A model that is not ``is_batchable`` runs one request at a time. One that ``is_inline`` runs on the event loop,
    where lanes and threads change nothing. ``largest_rows`` is the most that one run can have, such as what all clients
    ask for at once; ``limit_ms`` is that of the objective, None where there is none: then no hold is tried, for it only
    adds latency.
    """

    cores: int
    default: Setting
    is_batchable: bool
    is_inline: bool
    largest_rows: int
    is_on_cpu: bool = True
    limit_ms: float | None = None

    def coarse(self) -> list[Setting]:
        """Every plan of lanes and threads with a few sizes of batches, the default first.

        >>> space = Space(2, Setting(2, 1, 8), is_batchable=True, is_inline=True, largest_rows=16)
        >>> [setting.max_batch for setting in space.coarse()]
        [8, 1, 4, 16]
        """
        grid = [
            replace(self.default, lanes=lanes, threads=threads, max_batch=rows)
            for lanes, threads in self._plans()
            for rows in self._sizes(self.default.max_batch, *SIZES)
        ]
        return list(dict.fromkeys((self.default, *grid)))

    def near(self, setting: Setting) -> list[Setting]:
        """What differs from ``setting`` in one thing: half and twice the rows, and with an objective a hold."""
        rows = setting.max_batch
        found = [replace(setting, max_batch=size) for size in self._sizes(rows // 2, rows * 2)]
        if self.limit_ms is not None and self.is_batchable:
            found += [replace(setting, max_delay_ms=share * self.limit_ms) for share in DELAY_SHARES]
        return found

    def _plans(self) -> list[tuple[int, int]]:
        """Lanes and threads: cores are shared out whole, but for one that may be left to the event loop."""
        own = (self.default.lanes, self.default.threads)
        if self.is_inline:
            return [own]
        if not self.is_on_cpu:
            return list(dict.fromkeys((own, (1, 1), (2, 1))))
        threads = [count for count in (2**power for power in range(self.cores.bit_length())) if count <= self.cores]
        plans = [(self.cores // count, count) for count in (*threads, self.cores)]
        if self.cores > 2:
            plans.append((self.cores - 1, 1))
        return list(dict.fromkeys((own, *plans)))

    def _sizes(self, *rows: int) -> list[int]:
        if not self.is_batchable:
            return [1]
        return list(dict.fromkeys(min(max(1, size), self.largest_rows) for size in rows))
