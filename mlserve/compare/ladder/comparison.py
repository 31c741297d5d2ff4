"""All rungs of the ladder as one: what replay and the live shadow hold, send and ask for figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from mlserve.compare.ladder.decisions import Decisions
from mlserve.compare.ladder.distributions import Distributions
from mlserve.compare.ladder.exactness import Exactness
from mlserve.compare.ladder.judging import Limits, judge
from mlserve.compare.ladder.quality import Quality
from mlserve.compare.ladder.ranking import Ranking
from mlserve.compare.pairs import Pairs, State
from mlserve.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """How to compare; two comparisons are merged only if they have one plan.

    ``atol`` and ``rtol`` are the user's own, None for the defaults of the two ``precisions`` (baseline's, candidate's;
    names as in ``tolerances.PRECISIONS``). ``k`` is the cut-off of rankings, ``top_k`` that of classes.
    """

    atol: float | None = None
    rtol: float | None = None
    precisions: tuple[str, str] = ("fp32", "fp32")
    k: int = 10
    top_k: int = 5
    worst_rows: int = 50

    @property
    def limits(self) -> Limits:
        return Limits(self.atol, self.rtol, self.precisions)


class Comparison:
    """A rung that is all rungs. Not for several threads at once."""

    def __init__(self, plan: ComparisonPlan | None = None) -> None:
        self.plan = plan or ComparisonPlan()
        limits = self.plan.limits
        self.ranking = Ranking(k=self.plan.k)
        self.distributions = Distributions()
        self.quality = Quality()
        self.exactness = Exactness(limits)
        self.decisions = Decisions(limits, top_k=self.plan.top_k)

    def add(self, pairs: Pairs) -> None:
        for rung in (self.ranking, self.distributions, self.quality):
            rung.add(pairs)
        judged = judge(pairs, self.plan.limits)
        self.exactness.learn(judged)
        self.decisions.learn(judged)

    def merge(self, other: Self) -> None:
        """Learn what ``other`` has. Raises InvalidInput if it was made by another plan."""
        if other.plan != self.plan:
            raise InvalidInput("comparisons of different plans have no common figures")
        self.ranking.merge(other.ranking)
        self.distributions.merge(other.distributions)
        self.quality.merge(other.quality)
        self.exactness.merge(other.exactness)
        self.decisions.merge(other.decisions)

    def figures(self) -> dict[str, Any]:
        """The parts of replay's answer that the ladder knows, as JSON values; ``docs/traffic.md`` says what they are.

        ``metrics`` are flat numbers by name.
        """
        agreement = self.decisions.agreement()
        decisions = self.decisions.figures()
        metrics: dict[str, float] = {}
        if decisions and decisions["top_k"]:
            metrics[f"top{self.plan.top_k}_agreement"] = decisions["top_k"]["overlap"]
        parts: dict[str, Any] = {}
        for rung in (self.ranking, self.distributions, self.quality):
            part = rung.figures()
            metrics |= part.pop("metrics")
            parts |= part
        return {
            **parts,
            **self.exactness.figures(),
            "agreement": None if agreement is None else agreement.share,
            "metrics": metrics,
            "decisions": decisions,
        }

    def state(self) -> State:
        return {
            "plan": asdict(self.plan),
            "ranking": self.ranking.state(),
            "distributions": self.distributions.state(),
            "quality": self.quality.state(),
            "exactness": self.exactness.state(),
            "decisions": self.decisions.state(),
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        self = cls(_plan(state["plan"]))
        self.ranking = Ranking.from_state(state["ranking"])
        self.distributions = Distributions.from_state(state["distributions"])
        self.quality = Quality.from_state(state["quality"])
        self.exactness = Exactness.from_state(state["exactness"])
        self.decisions = Decisions.from_state(state["decisions"])
        return self


def _plan(state: State) -> ComparisonPlan:
    return ComparisonPlan(**{**state, "precisions": tuple(state["precisions"])})
