"""How much one tick of the event loop may take on, where the loop itself is what is short. Pure: time is passed in.

    read, decode ×n ─► run, hand over ─► write ─► the next tick reads what came meanwhile

For a cheap model, a run is the least of what a request costs. Requests then do not wait in a queue of ours but in the
buffers of sockets, where nobody sees how old they are: as old as the tick before was long, at most. So what keeps an
objective is to keep ticks short, by refusing before anything is decoded: later a refusal costs more than the answer.
"""

from __future__ import annotations

from math import inf

TICK_SHARE = 0.4
"""A tick may take this part of the objective: what it reads has come during one as long, and is written after it."""

FIRST_SHARE = 0.75
"""What comes to an idle loop has not waited, so the tick may take this part, less twice what the one before took."""

LONG_SHARE = 0.05
"""Shorter ticks than this part tell nothing of what one request of many costs: a lone one pays for the run alone."""

NEARLY_ALL = 0.8
"""Where this part of the clients asked in one tick, they had their answers before: what they ask next is new."""

WORTH = 0.6
"""A refusal that costs more than this part of an answer is none: at 1.7 times the capacity no time would be left."""

FORGOTTEN = 0.01
"""How much of what a refusal costs is forgotten with each tick that could do with one, to try again."""

LEAST_LOOKS = 16
"""A tick that takes all that it may is looked at so many times at least."""

MOST_UNSEEN = 32
"""And after so many requests at the latest."""

STEP = 0.2
"""How far one tick moves an estimate."""

OUTLIER = 4.0
"""A tick in which a request cost more than so many times the usual tells of the machine: it counts as one of that."""


class Ticks:
    """The ticks of one loop under an objective of ``limit_s``: tells when the present one has taken on enough.

    ``read`` counts the requests of this tick, ``refused`` those of them that were refused; whoever does so counts. From
    ``look_at`` on ``has_room`` is to be asked, until it ``is_full``.

    What is learned is processor time, ``cpu_s`` on a clock of the loop's thread: ``read_s`` to read and decode a
    request, ``refuse_s`` to refuse one instead, ``each_s`` in all until one is answered. A machine that is busy with
    something else stalls ticks at random, which no refusal helps; the wall clock tells only what is late already.
    """

    __slots__ = (
        "_began_cpu_s",
        "_began_s",
        "_busy_s",
        "_busy_with",
        "_ended_s",
        "_expected",
        "_is_short",
        "_limit_s",
        "_objective_s",
        "_refusing_s",
        "_refusing_with",
        "_stride",
        "_took_s",
        "each_s",
        "is_full",
        "look_at",
        "read",
        "read_s",
        "refuse_s",
        "refused",
    )

    def __init__(self, limit_s: float) -> None:
        self._objective_s = limit_s
        self._limit_s = FIRST_SHARE * limit_s
        self._began_s = self._began_cpu_s = 0.0
        self._ended_s = -inf
        self._took_s = 0.0
        self._expected = 0
        self._busy_s = self._busy_with = 0.0
        self._refusing_s, self._refusing_with = 0.0, float(MOST_UNSEEN)
        self._stride = MOST_UNSEEN
        self._is_short = False
        self.is_full = False
        self.read = 0
        self.refused = 0
        self.look_at = MOST_UNSEEN
        self.read_s = 0.0
        self.refuse_s = 0.0
        self.each_s = 0.0

    @property
    def is_worth_refusing(self) -> bool:
        """Whether a refusal is so much cheaper than an answer that others gain by it; yes before any was made."""
        return self.refuse_s <= WORTH * self.each_s

    def begin(self, now_s: float, cpu_s: float, clients: int = 0) -> None:
        """The loop has been told of the first event of a tick; ``clients`` are connected, 0 where nobody knows."""
        before_s = self._took_s
        if now_s - self._ended_s >= before_s:
            before_s = 0.0  # it was idle in between
        busy_s = cpu_s - self._began_cpu_s
        if self.read and not self.refused and busy_s >= LONG_SHARE * self._objective_s:
            # Of two sums, for a tick may read what only the next one answers.
            self._busy_s += STEP * (busy_s - self._busy_s)
            self._busy_with += STEP * (self.read - self._busy_with)
            self.each_s = self._busy_s / self._busy_with
        self._expected = self.read if before_s else 0
        if NEARLY_ALL * clients <= self.read <= clients:
            before_s = 0.0
        objective_s = self._objective_s
        self._limit_s = max(TICK_SHARE * objective_s, FIRST_SHARE * objective_s - 2.0 * before_s)
        self._began_s, self._began_cpu_s = now_s, cpu_s
        self._is_short = self.is_full = False
        self.read = self.refused = 0
        self.look_at = self._stride

    def has_room(self, now_s: float, work_s: float) -> bool:
        """Whether the tick can take on another request, if what waits already will take ``work_s``.

        As many requests as the last tick read are to be expected, each to be refused at least.
        """
        left_s = max(0, self._expected - self.read) * (self.refuse_s or self.read_s)
        ahead_s = left_s + work_s
        is_late = now_s - self._began_s + ahead_s > self._objective_s
        is_first = self.read <= 1  # or an objective that nothing can meet would stop the server
        self._is_short = not is_first and (is_late or self.read * self.read_s + ahead_s > self._limit_s)
        self.is_full = self._is_short and self.is_worth_refusing
        self.look_at = 0 if self.is_full else self.read + self._stride
        return not self.is_full

    def end(self, now_s: float, read_until_cpu_s: float) -> None:
        """All was read by ``read_until_cpu_s``; now what it brought has been run and handed over."""
        self._took_s, self._ended_s = now_s - self._began_s, now_s
        read, refused, reading_s = self.read, self.refused, read_until_cpu_s - self._began_cpu_s
        if refused:
            self._refusing_s += reading_s - (read - refused) * self.read_s - STEP * self._refusing_s
            self._refusing_with += refused - STEP * self._refusing_with
        elif read:
            self.read_s = _moved(self.read_s, reading_s / read)
            looks_s = LEAST_LOOKS * self.read_s
            self._stride = min(MOST_UNSEEN, max(1, int(self._limit_s / looks_s))) if looks_s > 0.0 else MOST_UNSEEN
        if self._is_short and not refused:
            self._refusing_s *= 1.0 - FORGOTTEN
        self.refuse_s = max(0.0, self._refusing_s / self._refusing_with)


def _moved(mean: float, value: float) -> float:
    if not mean:
        return value
    return mean + STEP * (min(value, OUTLIER * mean) - mean)
