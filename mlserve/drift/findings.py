"""What a detector saw, as a judgement of a layer: drift iff there is evidence and it is large enough to matter."""

from __future__ import annotations

from dataclasses import replace

from mlserve.drift.detectors.detector import Finding, State
from mlserve.drift.judgements import Judgement, Layer, Severity

ALPHA = 0.01
"""The level of one test in one check, where nobody corrects across tests and over time."""

CRITICAL_TIMES = 5.0
"""An effect so many times the threshold is critical."""


def judge(
    finding: Finding, layer: Layer, *, threshold: float, effect: float | None = None, alpha: float = ALPHA
) -> Judgement:
    """The judgement of ``finding``, its p-value the one that is safe to decide by.

    ``effect`` takes the place of the finding's own, where all rows were counted and not only those tested. A finding
    that is no answer is a judgement without a p-value, whose detail says why.
    """
    size = effect if effect is not None or finding.effect is None else finding.effect.value
    made = Judgement(
        layer,
        finding.feature,
        finding.test,
        statistic=finding.statistic,
        p_value=finding.p_safe,
        effect=size,
        threshold=threshold,
        detail="; ".join(finding.notes),
    )
    return made if finding.state is not State.JUDGED else decided(made, alpha=alpha)


def decided(judgement: Judgement, *, alpha: float = ALPHA) -> Judgement:
    """``judgement`` with ``drift`` and severity by its evidence, adjusted if it was, and its effect.

    To be asked again when ``adjusted_p_value`` is known.

    >>> one = Judgement(Layer.PREDICTION, "score", "ks", p_value=0.001, effect=0.3, threshold=0.1)
    >>> decided(one).severity.word, decided(one, alpha=1e-4).drift
    ('warn', False)
    """
    p_value = judgement.p_value if judgement.adjusted_p_value is None else judgement.adjusted_p_value
    is_drift = (
        p_value is not None
        and p_value <= alpha
        and judgement.effect is not None
        and judgement.effect >= (judgement.threshold or 0.0)
    )
    severity = severity_of(judgement.effect, judgement.threshold) if is_drift else Severity.NONE
    return replace(judgement, drift=is_drift, severity=severity)


def severity_of(effect: float | None, threshold: float | None) -> Severity:
    """How bad drift of this size is: CRITICAL from ``CRITICAL_TIMES`` the threshold on, else WARN."""
    return (
        Severity.CRITICAL
        if effect is not None and threshold and effect >= CRITICAL_TIMES * threshold
        else Severity.WARN
    )
