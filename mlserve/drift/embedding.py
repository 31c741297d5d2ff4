"""Layer 5: whether what the model makes of its inputs lies elsewhere: texts, images and anything else it embeds.

reference sample, window sample ─► Tapped.embed ─► (rows, width) each
   ├─ detectors of whole rows (mmd, lsdd, classifier, …)      evidence, as the engine computes it
   ├─ centroid    1 − cosine of the means                     against draws from the reference
   └─ tail        share of rows far from the reference        exact, by the ranks of rows held out

embed_both(profile, window, tapped) -> Embedded           judge_embeddings(embedded, …) -> tuple[Judgement, …]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlserve.drift.arriving import WindowRows
from mlserve.drift.detectors.choosing import Choice, made
from mlserve.drift.detectors.detector import Finding, Options, State
from mlserve.drift.findings import ALPHA, decided, judge
from mlserve.drift.judgements import Judgement, Layer
from mlserve.drift.profile import Profile
from mlserve.drift.sample import DrawnRows
from mlserve.drift.scanning import INPUT
from mlserve.drift.tapping import Tapped
from mlserve.rows.tables import Array
from mlserve.stats.far import far_rows

MOST_ROWS = 2000
"""Rows of each sample that are embedded; more tell little, and each costs a run of the model."""
FEWEST_ROWS = 100
DRAWS = (499, 10_000)
PERMUTATIONS = (200, 2000)
"""As many as the level needs, shared by a few tests, within these."""
_DRAWN_AT_ONCE = 500
NOISE_QUANTILE = 0.99
LEAST_CENTROID = 0.005
LEAST_TAIL = 0.03
"""Three rows in a hundred more than usual that are far out."""
LEAST_EFFECT = {"auc": 0.6, "mmd2": 0.005, "lsdd": 0.005}
NOISE_TIMES = 2.0
"""A detector's effect must be so many times what it is between two halves of the reference."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Rows of both samples as the tapped ``tensor`` has them, (rows, width) float32; ``why`` there are none, if so."""

    tensor: str
    reference: Array
    window: Array
    why: str = ""


def embed_both(
    profile: Profile, window: WindowRows, tapped: Tapped, *, most_rows: int = MOST_ROWS, seed: int = 0
) -> Embedded:
    """Both samples through the model, at most ``most_rows`` of each. Raises as ``Tapped.embed``."""
    sides = []
    for which, sample in (("reference", profile.sample), ("window", window.sample)):
        inputs = _inputs(sample, most_rows, seed)
        if not inputs:
            why = f"the sample of the {which} has no inputs: rows of different lengths are in none"
            return Embedded(tapped.tensor, np.zeros((0, 0)), np.zeros((0, 0)), why)
        sides.append(tapped.embed(inputs))
    return Embedded(tapped.tensor, sides[0], sides[1])


def judge_embeddings(
    embedded: Embedded, detectors: Sequence[str] = (), *, options: Options | None = None, alpha: float = ALPHA
) -> tuple[Judgement, ...]:
    """Whether the window's rows lie elsewhere than the reference's, by ``detectors`` (names of the table) and by sight.

    Too few rows are said, with no p-value. Raises MissingExtra where a detector's engine is not installed.
    """
    chosen = options or Options()
    name = embedded.tensor
    one, other = (part[np.isfinite(part).all(axis=1)] for part in (embedded.reference, embedded.window))
    if embedded.why or min(len(one), len(other)) < FEWEST_ROWS:
        why = embedded.why or f"{min(len(one), len(other)):,} rows, and {FEWEST_ROWS} are needed at least"
        return (Judgement(Layer.EMBEDDING, name, "embedding", detail=why),)
    random = np.random.default_rng(chosen.seed)
    found = [_centroid(name, one, other, random, alpha), _tail(name, one, other, random, alpha)]
    for detector in detectors:
        found.append(_by_detector(detector, name, one, other, chosen, random, alpha))
    return tuple(found)


def _inputs(sample: DrawnRows, most: int, seed: int) -> dict[str, Array]:
    at = np.flatnonzero(sample.is_uniform)
    if len(at) > most:
        at = np.sort(np.random.default_rng(seed).choice(at, most, replace=False))
    return {name.removeprefix(INPUT): values[at] for name, values in sample.columns.items() if name.startswith(INPUT)}


def _centroid(name: str, one: Array, other: Array, random: np.random.Generator, alpha: float) -> Judgement:
    """1 − cosine of the two means; by chance it is that of rows drawn from both together, in windows of this size."""
    apart = _apart(one.mean(axis=0, dtype=np.float64), other.mean(axis=0, dtype=np.float64))
    draws = min(DRAWS[1], max(DRAWS[0], round(4 / alpha)))
    drawn = _apart_by_chance(np.concatenate([one, other]), len(other), draws, random)
    # From the reference alone, since with a window that has moved everything would be usual.
    usual = _apart_by_chance(one, min(len(other), len(one) // 2), DRAWS[0], random)
    threshold = max(float(np.quantile(usual, NOISE_QUANTILE)), LEAST_CENTROID)
    return decided(
        Judgement(
            Layer.EMBEDDING,
            name,
            "centroid",
            statistic=1 - apart,
            p_value=float((1 + (drawn >= apart).sum()) / (1 + draws)),
            effect=apart,
            threshold=round(threshold, 6),
            detail=f"the cosine of the means is {1 - apart:.4f}",
        ),
        alpha=alpha,
    )


def _tail(name: str, one: Array, other: Array, random: np.random.Generator, alpha: float) -> Judgement:
    seen = far_rows(one, other, random)
    return decided(
        Judgement(
            Layer.EMBEDDING,
            name,
            "mahalanobis_tail",
            statistic=seen.share,
            p_value=seen.p_value,
            effect=max(0.0, seen.share - seen.usual_share),
            threshold=LEAST_TAIL,
            detail=f"{seen.share:.1%} of rows are as far out as {seen.usual_share:.1%} of the reference",
            expected=round(seen.usual_share, 6),
            actual=round(seen.share, 6),
        ),
        alpha=alpha,
    )


def _by_detector(
    detector: str, name: str, one: Array, other: Array, options: Options, random: np.random.Generator, alpha: float
) -> Judgement:
    """The engine's answer, and as the threshold of its effect what it says of two halves of the reference."""
    wanted = min(PERMUTATIONS[1], max(PERMUTATIONS[0], options.permutations, round(4 / alpha)))
    options = replace(options, permutations=wanted)
    (finding,) = made(Choice(detector, (name,)), options).run({name: one}, {name: other})
    if finding.state is not State.JUDGED or finding.effect is None:
        return replace(judge(finding, Layer.EMBEDDING, threshold=0.0), name=name)
    rows = random.permutation(len(one))
    half = len(one) // 2
    # The effect does not depend on the permutations, which are most of the cost.
    (usual,) = made(Choice(detector, (name,)), replace(options, permutations=2)).run(
        {name: one[rows[:half]]}, {name: one[rows[half:]]}
    )
    least = LEAST_EFFECT.get(finding.effect.name, 0.0)
    threshold = max(least, _noise(usual, finding.effect.name))
    return replace(judge(finding, Layer.EMBEDDING, threshold=round(threshold, 6), alpha=alpha), name=name)


def _noise(usual: Finding, effect: str) -> float:
    if usual.effect is None:
        return 0.0
    if effect == "auc":
        return 0.5 + NOISE_TIMES * abs(usual.effect.value - 0.5)
    return NOISE_TIMES * usual.effect.value


def _apart_by_chance(rows: Array, size: int, draws: int, random: np.random.Generator) -> Array:
    """(draws,) what the means of ``size`` rows and of all others are apart."""
    doubles = rows.astype(np.float64)
    total, found = doubles.sum(axis=0), []
    for start in range(0, draws, _DRAWN_AT_ONCE):
        taken = np.zeros((min(_DRAWN_AT_ONCE, draws - start), len(rows)))
        np.put_along_axis(taken, np.argpartition(random.random(taken.shape), size - 1, axis=1)[:, :size], 1.0, axis=1)
        sums = taken @ doubles
        found += [_apart(one, other) for one, other in zip(sums, total - sums, strict=True)]
    return np.array(found)


def _apart(one: Array, other: Array) -> float:
    """1 − the cosine of two vectors; 0 where either is nothing."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return max(0.0, 1 - float(one @ other) / lengths) if lengths > 0 else 0.0
