"""An objective held by an engine: what each version has learned, what lanes are at, and who is refused for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic

from mlserve.core.slo import Slo
from mlserve.errors import Overloaded
from mlserve.serving.accounting import Accounts
from mlserve.serving.admission import Pacing
from mlserve.serving.batching import Waiting
from mlserve.serving.holding import Curve
from mlserve.serving.lanes import Lanes
from mlserve.serving.loaded import Loaded, Run
from mlserve.serving.ticks import Ticks

REFUSAL_S = 20e-6
"""What refusing a request that was decoded costs about; where its rows cost the loop no more, they are run instead."""

FEW = 8
"""Of runs with fewer requests than this, one in as many is told of."""


class Paces:
    """The pacing of every version under one objective, ``slo``; ``ticks`` are those of the loop that all share."""

    def __init__(self, slo: Slo, accounts: Accounts, lanes: Lanes) -> None:
        self.slo = slo
        self.ticks = Ticks(slo.limit_s)
        self._accounts = accounts
        self._lanes = lanes
        self._ends_s: dict[int, float] = {}
        self._untold = 0

    def of(self, loaded: Loaded) -> Pacing:
        """What ``loaded`` has learned since it runs where it does, begun with what its load measured."""
        pacing, is_inline = loaded.pacing, loaded.is_inline
        if pacing is None or pacing.is_inline is not is_inline:
            curve = Curve(loaded.costs, self.slo.percentile)
            pacing = Pacing(self.slo, curve, useful_rows=loaded.max_rows, is_inline=is_inline)
            loaded.pacing = pacing
        return pacing

    def check_tick(self, loaded: Loaded, waiting: Iterable[Loaded]) -> None:
        """Raises Overloaded where this tick has no room for another request, whatever is in it.

        ``waiting`` are the versions whose requests the tick has already.
        """
        ticks = self.ticks
        if not ticks.is_full:
            work_s = sum([self.of(one).work_s(one.queue.rows) for one in waiting if one.is_inline])
            if ticks.has_room(monotonic(), work_s):
                return
        ticks.refused += 1
        self._accounts.of(loaded.name, loaded.version).note_rejection("slo")
        limit_s = self.slo.limit_s
        raise Overloaded(
            f"'{loaded.name}' would not answer within {1e3 * limit_s:.3g} ms: more comes than can be read in time",
            retry_after_s=limit_s,
        )

    def check(self, loaded: Loaded, waiting: Waiting, due_s: float, others: Iterable[Loaded]) -> None:
        """Raises Overloaded for a request that would not be answered by ``due_s``; ``others`` have requests too."""
        now_s, pacing, queue = waiting.arrived_s, self.of(loaded), loaded.queue
        pacing.note_arrival(waiting.rows, now_s)
        rows_before = queue.rows_before(waiting.rank) + queue.later_rows
        free_at_s, other_s = [now_s], 0.0
        if not loaded.is_inline:
            free_at_s = [*self._ends_s.values(), *[now_s] * self._lanes.idle]
            if loaded.lanes is not None:
                # What is free beyond its own share is not for this version.
                free_at_s = sorted(free_at_s, reverse=True)[: loaded.lanes]
            in_lanes = (other for other in others if other is not loaded and not other.is_inline)
            other_s = sum(self.of(other).work_s(other.queue.rows) for other in in_lanes)
        late_s = pacing.late_s(waiting.rows, rows_before, due_s, free_at_s, now_s, other_work_s=other_s)
        if late_s > 0.0 and not (loaded.is_inline and pacing.share_s(waiting.rows) <= REFUSAL_S):
            self._accounts.of(loaded.name, loaded.version).note_rejection("slo")
            limit_ms = 1e3 * (due_s - now_s)
            raise Overloaded(
                f"'{loaded.name}' would not answer within {limit_ms:.3g} ms: {rows_before} rows go first",
                retry_after_s=late_s,
            )

    def held_until(self, loaded: Loaded, first: Waiting, now_s: float) -> float:
        """Until when what waits for ``loaded``, ``first`` before all, waits for more; ``now_s`` or before for not."""
        due_s = min(first.deadline_s, first.arrived_s + self.slo.limit_s)
        lanes = self._lanes.most_of(loaded.lanes)
        return self.of(loaded).hold_until(now_s, first.arrived_s, loaded.queue.rows, due_s, lanes)

    def note_begin(self, number: int, loaded: Loaded, batch: Sequence[Waiting], now_s: float) -> None:
        """A lane takes ``batch``, which is known by ``number`` until its end."""
        rows = sum([waiting.rows for waiting in batch])
        self._ends_s[number] = now_s + self.of(loaded).curve.mean_s(rows)

    def note_end(self, number: int) -> None:
        """The lane is free again."""
        self._ends_s.pop(number, None)

    def note_runs(self, loaded: Loaded, runs: Sequence[Run], ended_s: float) -> None:
        """What a lane ran; the answers were handed over at ``ended_s``."""
        limit_s = self.slo.limit_s
        for run in runs:
            if not isinstance(run.outcome, Exception) and (timing := run.outcome.timing) is not None:
                late = sum([ended_s - waiting.arrived_s > limit_s for waiting in run.batch])
                self.of(loaded).note_run(timing.rows, ended_s - timing.taken_s, len(run.batch), late)

    def is_told_of(self, requests: int) -> bool:
        """Whether ``note_inline`` wants to know of a run; of those of few ``requests`` only of some, to save time."""
        if requests >= FEW:
            return True
        self._untold = (self._untold + 1) % FEW
        return not self._untold

    def note_inline(self, loaded: Loaded, batch: Sequence[Waiting], cpu_s: float) -> None:
        """A run on the loop took so much processor time, the handing over included."""
        self.of(loaded).note_run(sum([waiting.rows for waiting in batch]), cpu_s, len(batch), 0)
