"""All rungs of the ladder as one: what replay and the live shadow hold, send and ask for figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from mlserve.compare.ladder.decisions import Decisions
from mlserve.compare.ladder.distributions import Distributions
from mlserve.compare.ladder.exactness import Exactness
from mlserve.compare.ladder.explaining import Explaining
from mlserve.compare.ladder.judging import Limits, judge
from mlserve.compare.ladder.noise import Noise
from mlserve.compare.ladder.quality import Quality
from mlserve.compare.ladder.ranking import Ranking
from mlserve.compare.ladder.worst import WorstRows
from mlserve.compare.pairs import Pairs, State
from mlserve.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """How to compare; two comparisons are merged only if they have one plan.

    ``atol`` and ``rtol`` are the user's own, None for the defaults of the two ``precisions`` (baseline's, candidate's;
    names as in ``tolerances.PRECISIONS``). ``k`` is the cut-off of rankings, ``top_k`` that of classes. Without
    ``explain`` no sample of inputs is kept, and with ``worst_rows`` 0 no inputs at all; a row then costs less.
    """

    atol: float | None = None
    rtol: float | None = None
    precisions: tuple[str, str] = ("fp32", "fp32")
    k: int = 10
    top_k: int = 5
    worst_rows: int = 50
    explain: bool = True

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
        self.worst = WorstRows(limits, count=self.plan.worst_rows)
        self.noise = Noise(limits)
        self.explaining = Explaining(limits)

    def add(self, pairs: Pairs) -> None:
        for rung in (self.ranking, self.distributions, self.quality):
            rung.add(pairs)
        judged = judge(pairs, self.plan.limits)
        self.exactness.learn(judged)
        self.decisions.learn(judged)
        self.worst.learn(judged)
        self.noise.learn_candidate(judged)
        if self.plan.explain:
            self.explaining.learn(judged)

    def add_noise(self, pairs: Pairs) -> None:
        """Learn the baseline's noise: ``expected`` is its answer, ``actual`` its answer in another batch."""
        self.noise.learn_baseline(judge(pairs, self.plan.limits))

    def take_noise(self, again: Comparison) -> None:
        """Learn what ``again`` was shown by ``add`` as the baseline's noise; for several candidates of one baseline."""
        self.noise.take_baseline(again.exactness, again.decisions, again.noise)

    def merge(self, other: Self) -> None:
        """Learn what ``other`` has. Raises InvalidInput if it was made by another plan."""
        if other.plan != self.plan:
            raise InvalidInput("comparisons of different plans have no common figures")
        self.ranking.merge(other.ranking)
        self.distributions.merge(other.distributions)
        self.quality.merge(other.quality)
        self.exactness.merge(other.exactness)
        self.decisions.merge(other.decisions)
        self.worst.merge(other.worst)
        self.noise.merge(other.noise)
        self.explaining.merge(other.explaining)

    def figures(self, *, explain: bool = True) -> dict[str, Any]:
        """The parts of replay's answer that the ladder knows, as JSON values; ``docs/traffic.md`` says what they are.

        ``metrics`` are flat numbers by name. ``explain`` grows a tree (tens of milliseconds, and scikit-learn's
        import); without it ``explanation`` is None.
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
            "noise": self.noise.figures(is_decided=agreement is not None),
            "worst": self.worst.figures(),
            "explanation": self.explaining.figures(is_decided=agreement is not None) if explain else None,
        }

    def state(self) -> State:
        return {
            "plan": asdict(self.plan),
            "ranking": self.ranking.state(),
            "distributions": self.distributions.state(),
            "quality": self.quality.state(),
            "exactness": self.exactness.state(),
            "decisions": self.decisions.state(),
            "worst": self.worst.state(),
            "noise": self.noise.state(),
            "explaining": self.explaining.state(),
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        self = cls(_plan(state["plan"]))
        self.ranking = Ranking.from_state(state["ranking"])
        self.distributions = Distributions.from_state(state["distributions"])
        self.quality = Quality.from_state(state["quality"])
        self.exactness = Exactness.from_state(state["exactness"])
        self.decisions = Decisions.from_state(state["decisions"])
        self.worst = WorstRows.from_state(state["worst"], self.plan.limits)
        self.noise = Noise.from_state(state["noise"])
        self.explaining = Explaining.from_state(state["explaining"], self.plan.limits)
        return self


def _plan(state: State) -> ComparisonPlan:
    return ComparisonPlan(**{**state, "precisions": tuple(state["precisions"])})
