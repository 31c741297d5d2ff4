"""Where in the inputs rows differ."""

import subprocess
import sys

import numpy as np
import pytest

from mlserve.compare.ladder import explaining
from mlserve.compare.ladder.explaining import SAMPLE_ROWS, Explaining
from mlserve.compare.ladder.features import features_of
from tests.compare.ladder.pairs_of import pairs_of


def traffic(rows, seed=0, start=0, weights=None):
    """Labels that the candidate gets otherwise where the amount is above 2, and the country is us."""
    rng = np.random.default_rng(seed)
    amount, age = rng.normal(1, 1, rows), rng.integers(18, 80, rows)
    country = rng.choice(np.array(["us", "de"], object), rows)
    label = rng.integers(0, 2, rows)
    moved = np.where((amount > 2) & (country == "us"), 1 - label, label)
    inputs = {"amount": amount, "age": age[:, np.newaxis], "country": country}
    return pairs_of({"label": label}, {"label": moved}, inputs, weights=weights, start=start)


def explained(*parts):
    found = Explaining()
    for part in parts:
        found.add(part)
    return found.figures()


def test_the_rule_behind_the_differences_is_found():
    pairs = traffic(2000)
    differing = int((pairs.expected["label"] != pairs.actual["label"]).sum())

    found = explained(pairs)["rules"]

    rule = found[0]
    assert sorted(part.split(" ")[0] for part in rule["where"].split(" and ")) == ["amount", "country"]
    assert "country = us" in rule["where"] or "country is not de" in rule["where"]
    assert rule["share"] == 1.0
    assert sum(one["differing"] for one in found) == differing
    assert rule["differing"] > 0.9 * differing


def test_slices_count_all_rows_though_few_are_sampled():
    parts = [traffic(8000, seed, seed * 8000) for seed in range(4)]
    amount = np.concatenate([part.inputs["amount"] for part in parts])
    differs = np.concatenate([part.expected["label"] != part.actual["label"] for part in parts])

    found = explained(*parts)

    top = next(row for row in found["slices"] if row["feature"] == "amount" and row["range"].startswith(">"))
    above = amount > float(top["range"][2:])
    assert found["sampled"] == 2 * SAMPLE_ROWS
    # 2048 sampled of 32,000 rows: a standard error of 0.01 in a share; four of them.
    assert top["rows"] / len(amount) == pytest.approx(above.mean(), abs=0.04)
    assert top["differing"] == pytest.approx(differs.sum(), rel=1e-3)


def test_requests_that_stand_for_several_weigh_so():
    found = explained(traffic(500, weights=np.full(500, 3.0)))

    assert sum(row["rows"] for row in found["slices"] if row["feature"] == "country") == 1500


def test_a_sample_is_the_same_whatever_the_order_and_bounded():
    parts = [traffic(3000, seed, seed * 3000) for seed in range(5)]
    forward, merged = Explaining(), Explaining()
    for part in parts:
        forward.add(part)
    for part in reversed(parts):
        single = Explaining()
        single.add(part)
        merged.merge(single)

    assert forward.figures() == merged.figures()
    assert len(forward.state()["strata"][2]["part"]["keys"]) == SAMPLE_ROWS


def test_wide_inputs_are_summarised_and_text_is_short():
    inputs = {
        "image": np.ones((3, 32, 32), np.uint8),
        "text": np.array(["a" * 500, "b", "c"], object),
        "tokens": np.array([["x"] * 9] * 3, object),
        "scale": np.float32(1.0),
    }

    found = features_of(inputs, np.array([0, 2]), 3)

    assert found.names == ("image.mean", "image.std", "image.min", "image.max")
    assert found.texts.tolist() == [["a" * 64], ["c"]]


def test_missing_and_infinite_inputs_are_no_obstacle():
    pairs = traffic(400)
    pairs.inputs["amount"][:40] = np.nan
    pairs.inputs["amount"][40:80] = np.inf

    ranges = [row["range"] for row in explained(pairs)["slices"] if row["feature"] == "amount"]

    assert ranges[-1] == "missing"


def test_where_nothing_is_decided_rows_out_of_tolerance_differ():
    values = np.linspace(0, 100, 300)
    pairs = pairs_of({"y": values}, {"y": values + (values > 50)}, {"x": values})
    found = Explaining()
    found.add(pairs)

    assert found.figures(is_decided=False)["rules"][0]["share"] == 1.0


def test_rows_that_do_not_differ_need_no_explanation():
    pairs = traffic(50)

    assert explained(pairs_of(pairs.expected, pairs.expected, pairs.inputs))["note"] == "no row differs"
    assert Explaining().figures() is None


def test_without_scikit_learn_there_are_slices_and_a_hint():
    code = """
import sys
sys.modules["sklearn"] = None
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "sklearn":
            raise ModuleNotFoundError("no", name=name)
del sys.modules["sklearn"]
sys.meta_path.insert(0, Missing())
from tests.compare.ladder.test_explaining import explained, traffic
found = explained(traffic(300))
assert found["rules"] == [] and found["slices"], found
print(found["note"])
"""
    root = explaining.__file__.rsplit("mlserve", 1)[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)

    assert "pip install 'mlserve[sklearn]'" in done.stdout, done.stderr


def test_where_every_row_differs_no_input_sets_any_apart():
    found = explained(pairs_of({"label": [0] * 30}, {"label": [1] * 30}, {"amount": np.arange(30.0)}))

    assert (found["rules"], found["slices"], found["note"]) == ([], [], "every row differs, whatever its inputs")
