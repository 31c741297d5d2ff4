"""Rows that depend on each other, made into values that hardly do."""

import msgspec
import numpy as np
import pytest

from mlserve.errors import InvalidInput
from mlserve.stats.blocks import SeasonalProfile, block_means, design_effect


def weeks(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    slots = np.tile(np.arange(168), count)
    noise = np.random.default_rng(seed).normal(0, 0.5, size=len(slots))
    return 10 * np.sin(slots / 168 * 2 * np.pi) + noise, slots


def test_a_season_leaves_residuals_that_know_none():
    profile = SeasonalProfile.of(*weeks(8))

    residuals = profile.residuals(*weeks(1, seed=1))

    assert abs(residuals.mean()) < 0.3
    assert 0.8 < residuals.std() < 1.3
    assert abs(np.corrcoef(residuals, np.sin(np.arange(168) / 168 * 2 * np.pi))[0, 1]) < 0.3


def test_profiles_of_parts_are_one_of_all():
    values, slots = weeks(6)
    whole = SeasonalProfile.of(values, slots)
    merged = SeasonalProfile.of(values[:300], slots[:300]).merged(SeasonalProfile.of(values[300:], slots[300:]))

    assert merged.counts == whole.counts
    assert merged.means == pytest.approx(whole.means, rel=1e-12)
    assert merged.squares == pytest.approx(whole.squares, rel=1e-9, abs=1e-12)
    assert msgspec.json.decode(msgspec.json.encode(whole), type=SeasonalProfile) == whole


def test_a_slot_that_was_never_seen_is_held_against_all():
    profile = SeasonalProfile.of([1.0, 2.0, 3.0], [0, 0, 0])

    assert profile.residuals([2.0], [5]).tolist() == [0.0]


@pytest.mark.parametrize(
    ("values", "slots"),
    [
        pytest.param([1.0], [168], id="slot"),
        pytest.param([1.0, 2.0], [0], id="lengths"),
        pytest.param([float("nan")], [0], id="NaN"),
    ],
)
def test_what_is_no_season_is_refused(values: list[float], slots: list[int]):
    with pytest.raises(InvalidInput):
        SeasonalProfile.of(values, slots)


def test_what_is_usual_takes_two_blocks():
    with pytest.raises(InvalidInput, match="two blocks"):
        SeasonalProfile.of([], []).residuals([1.0], [0])


def test_a_block_is_one_value():
    names, means = block_means(np.arange(6.0), np.array([3, 3, 1, 1, 1, 9]))

    assert names.tolist() == [1, 3, 9]
    assert means.tolist() == [3.0, 0.5, 5.0]


def test_rows_of_alike_clusters_count_as_one_and_independent_ones_as_themselves():
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(400), 5)

    assert design_effect(rng.normal(size=400)[users], users) == pytest.approx(5, rel=0.15)
    assert design_effect(rng.normal(size=2000), users) == pytest.approx(1, abs=0.2)
    assert design_effect(np.ones(10), np.arange(10) % 2) == 1.0


def test_one_cluster_says_nothing():
    with pytest.raises(InvalidInput, match="two clusters"):
        design_effect([1.0, 2.0], [0, 0])
