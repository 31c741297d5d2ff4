"""Layers 1 and 2: each feature by itself, and all of them together, by the detectors that suit or were asked for.

samples ─► detectors ─► p-value                        ┐
summaries of all rows ─► effect, the profile's noise   ┘─► Judgement, not yet corrected
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlserve.drift.answering import Run
from mlserve.drift.arriving import WindowRows
from mlserve.drift.detectors.choosing import AUTO, Choice, choose, made
from mlserve.drift.detectors.detector import Finding, Options, Takes
from mlserve.drift.detectors.engines import engine_in_use
from mlserve.drift.detectors.table import DETECTORS
from mlserve.drift.effects import effect
from mlserve.drift.findings import judge
from mlserve.drift.judgements import Judgement, Layer
from mlserve.drift.profile import Profile
from mlserve.drift.sample import DrawnRows
from mlserve.drift.sampled_columns import feature_columns, is_mostly_finite, kinds_of
from mlserve.drift.scanning import INPUT
from mlserve.errors import UsageError
from mlserve.rows.tables import Array

WORTH: Mapping[str, float] = {"auc": 0.55, "mmd2": 0.002, "lsdd": 0.002, "wasserstein_sd": 0.1, "total_variation": 0.02}
"""What the effect of all features together must reach, by its name; no reference teaches it."""
PERMUTATIONS = (200, 2000)
"""As many as the level needs, within these."""


@dataclass(frozen=True, slots=True)
class FeaturesFound:
    """Judgements of single features, and of all together with the rows that each looked at."""

    features: tuple[Judgement, ...]
    together: tuple[tuple[Judgement, int], ...]


def compare_features(
    profile: Profile,
    window: WindowRows,
    *,
    detectors: Sequence[str] = (),
    options: Options | None = None,
    level: float,
    run: Run | None = None,
) -> FeaturesFound:
    """Hold the features of ``window`` against the profile's, not corrected yet.

    ``detectors`` are names, else those of the profile, else ``auto``. ``level`` is what p-values by permutation must
    be able to reach. Raises UsageError for a name that suits no column, MissingExtra.
    """
    broken = {*window.arrived.faults.missing, *(name for name, _ in window.arrived.faults.retyped)}
    one = feature_columns(profile, profile.sample)
    other = {n: v for n, v in feature_columns(profile, window.sample).items() if n not in broken}
    kinds = kinds_of(profile.summaries, one, other)
    if not kinds or not window.rows:
        return FeaturesFound((), ())
    rows = len(next(iter(one.values()))), len(next(iter(other.values())))
    known = options or Options()
    fewest, most = PERMUTATIONS
    known = replace(known, permutations=min(most, max(fewest, round(1.5 / level))))
    features: list[Judgement] = []
    together: list[tuple[Judgement, int]] = []
    engine = engine_in_use() if known.engine == AUTO else known.engine
    for choice in choose(kinds, rows, detectors or profile.detectors or (AUTO,), engine=engine):
        takes = DETECTORS.chosen(choice.detector).takes
        for finding in _run(choice, takes, profile, window, one, other, known, run):
            if takes in (Takes.ROWS, Takes.INPUTS) or finding.feature is None:
                together.append(_together(finding))
            else:
                features.append(_single(profile, window, finding))
    return FeaturesFound(tuple(features), tuple(together))


def _run(
    choice: Choice,
    takes: Takes,
    profile: Profile,
    window: WindowRows,
    one: Mapping[str, Array],
    other: Mapping[str, Array],
    options: Options,
    run: Run | None,
) -> Sequence[Finding]:
    if takes is Takes.INPUTS:
        return made(choice, _with_model(options, profile, run)).run(_inputs(profile.sample), _inputs(window.sample))
    names = choice.columns
    if takes is Takes.ROWS:
        # A row with one value missing is no row to these; a column that has gone would take all of them along.
        names = tuple(name for name in names if is_mostly_finite(one[name]) and is_mostly_finite(other[name]))
        if not names:
            return ()
    return made(choice, options).run({name: one[name] for name in names}, {name: other[name] for name in names})


def _single(profile: Profile, window: WindowRows, finding: Finding) -> Judgement:
    name = finding.feature or ""
    before, after = profile.summaries[name], window.arrived.summaries[name]
    threshold = profile.noise[name].threshold(max(1, window.rows))
    return judge(finding, Layer.FEATURE, threshold=threshold, effect=effect(before, after))


def _together(finding: Finding) -> tuple[Judgement, int]:
    threshold = WORTH[finding.effect.name] if finding.effect is not None and finding.effect.name in WORTH else 0.0
    found = replace(judge(finding, Layer.MULTIVARIATE, threshold=threshold), name=None)
    told = f"{len(finding.features)} features, {finding.rows[0]:,} reference rows and {finding.rows[1]:,} of the window"
    return replace(found, detail="; ".join(part for part in (told, found.detail) if part)), sum(finding.rows)


def _with_model(options: Options, profile: Profile, run: Run | None) -> Options:
    plan = profile.prediction
    if run is None or plan is None or plan.score_output is None or plan.task not in ("classes", "probability"):
        raise UsageError("how sure a model is takes one that answers with probabilities", hint=f"--detector {AUTO}")
    output = plan.score_output
    return replace(options, model=lambda inputs: run(inputs)[output])


def _inputs(drawn: DrawnRows) -> dict[str, Array]:
    return {name.removeprefix(INPUT): v for name, v in drawn.uniform().items() if name.startswith(INPUT)}
