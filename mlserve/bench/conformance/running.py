"""All rules put to one server, one after the other, and what was found as one report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlserve.bench.conformance.calls import Refused
from mlserve.bench.conformance.probe import Probe
from mlserve.bench.conformance.verdicts import Level, Outcome, Rule, RuleBroken, RuleSkipped, Verdict
from mlserve.core.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Conformance:
    """What was found: a verdict for each rule, in the rules' order."""

    url: str
    grpc: str | None
    server: str
    extensions: Sequence[str]
    models: Sequence[str]
    verdicts: Sequence[Verdict]

    def count(self, outcome: Outcome) -> int:
        return sum(one.outcome is outcome for one in self.verdicts)

    def failures(self, *levels: Level) -> list[Verdict]:
        """What failed, of these levels or of all."""
        return [
            one for one in self.verdicts if one.outcome is Outcome.FAILED and (not levels or one.rule.level in levels)
        ]

    def to_dict(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "grpc": self.grpc,
            "server": self.server,
            "extensions": list(self.extensions),
            "models": list(self.models),
            "passed": self.count(Outcome.PASSED),
            "failed": self.count(Outcome.FAILED),
            "skipped": self.count(Outcome.SKIPPED),
            "cases": [one.to_dict() for one in self.verdicts],
        }


def run_rules(
    probe: Probe, rules: Sequence[Rule], *, may_change: bool = False, progress: Progress = silent
) -> Conformance:
    """Put ``rules`` to the server behind ``probe``; those that change it only where it ``may_change``.

    Raises Unavailable where the server is gone.
    """
    verdicts = []
    for number, rule in enumerate(rules):
        progress("checking", number, len(rules))
        verdicts.append(_verdict(probe, rule, may_change))
    progress("checking", len(rules), len(rules))
    server = f"{probe.server.get('name', '?')} {probe.server.get('version', '')}".strip()
    names = [model.name for model in probe.models]
    address = probe.grpc.address if probe.grpc is not None else None
    return Conformance(probe.http.url, address, server, sorted(probe.extensions), names, verdicts)


def _verdict(probe: Probe, rule: Rule, may_change: bool) -> Verdict:
    if rule.port == "grpc" and probe.grpc is None:
        return Verdict(rule, Outcome.SKIPPED, "needs the address of the gRPC port (--grpc)", 0.0)
    if rule.extension is not None and rule.extension not in probe.extensions:
        return Verdict(rule, Outcome.SKIPPED, f"the server does not advertise '{rule.extension}'", 0.0)
    if rule.changes and not may_change:
        return Verdict(rule, Outcome.SKIPPED, "would unload a model (--manage)", 0.0)
    begun = time.perf_counter()
    try:
        rule.check(probe)
    except RuleBroken as error:
        outcome, detail = Outcome.FAILED, str(error)
    except RuleSkipped as error:
        outcome, detail = Outcome.SKIPPED, str(error)
    except Refused as error:
        outcome, detail = Outcome.FAILED, f"{error.status}: {error.sentence}"
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        # The server's own words in another form than the rule reads them: that is the server's failure.
        outcome, detail = Outcome.FAILED, f"an answer of another form: {type(error).__name__} {error}"
    else:
        outcome, detail = Outcome.PASSED, ""
    return Verdict(rule, outcome, detail, 1e3 * (time.perf_counter() - begun))
