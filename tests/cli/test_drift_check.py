"""``mlserve drift check``: a window is judged, and the exit code says how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Run

ROWS = 1200
Window = Callable[..., Path]


@pytest.fixture
def window(clean_environment: Path) -> Window:
    """``window("same", 4)`` writes rows as those of the reference; words change columns, None takes one out."""

    def write(name: str, seed: int, rows: int = ROWS, *, shift: float = 0.0, **columns: Any) -> Path:
        random = np.random.default_rng(seed)
        found: dict[str, Any] = {
            one: random.normal(size=rows).astype(np.float32) for one in ("amount", "age", "visits")
        }
        found["amount"] += np.float32(shift)
        found["plan"] = random.integers(0, 3, rows).astype(np.float32)
        found |= {one: values[:rows] for one, values in columns.items() if values is not None}
        for one in (one for one, values in columns.items() if values is None):
            del found[one]
        path = clean_environment / f"{name}.parquet"
        pq.write_table(pa.table(found), path)
        return path

    return write


@pytest.fixture
def fitted(run: Run, fraud: Path, window: Window) -> Path:
    """``fraud:1`` with a profile; tests name ``ks``, so that no network is trained."""
    done = run("drift", "fit", "fraud:1", "--reference", window("train", 3))
    assert done.code == 0
    return fraud


def _check(run: Run, path: Path, *words: str) -> Any:
    return run("drift", "check", "fraud:1", "--window", path, "--detector", "tabular", "--json", *words)


def test_rows_like_the_reference_are_ok(run: Run, fitted: Path, window: Window) -> None:
    done = _check(run, window("same", 4))

    assert (done.code, done.document["verdict"], done.document["reasons"]) == (0, "ok", [])
    assert done.document["schema"] == "mlserve.drift/1"
    assert {one["name"] for one in done.document["features"]} == {"amount", "age", "visits", "plan"}


def test_a_feature_that_moved_is_a_warning_and_a_far_one_critical(run: Run, fitted: Path, window: Window) -> None:
    near, far = _check(run, window("near", 5, shift=0.4)), _check(run, window("far", 5, shift=2.0))

    assert (near.code, near.document["verdict"]) == (10, "warn")
    assert [one["name"] for one in near.document["features"] if one["drift"]] == ["amount"]
    assert near.document["localisation"]["features"] == ["amount"]
    assert (far.code, far.document["verdict"]) == (11, "critical")


def test_the_same_window_again_is_the_same_answer_and_spends_nothing(run: Run, fitted: Path, window: Window) -> None:
    path = window("near", 5, shift=0.4)

    first, again = _check(run, path), _check(run, path)
    other = _check(run, window("other", 6))

    assert again.document == first.document
    assert again.code == first.code == 10
    assert len(other.document["evidence"]["path"]) == 2


def test_a_check_leaves_evidence_that_a_policy_can_ask_for(run: Run, fitted: Path, window: Window) -> None:
    _check(run, window("near", 5, shift=0.4))

    (found,) = [one for one in run("show", "fraud:1", "--json").document["evidence"] if one["kind"] == "drift"]

    assert found["passed"] is False
    assert {"verdict": "warn", "rows": ROWS, "drifting": 1}.items() <= found["figures"].items()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"rows": 20, "age": np.full(ROWS, np.nan, np.float32)}, 11, id="gone null in a small window"),
        pytest.param({"age": np.full(ROWS, np.nan, np.float32)}, 11, id="gone null"),
        pytest.param({"age": np.full(ROWS, np.inf, np.float32)}, 11, id="infinite"),
        pytest.param({"age": np.full(ROWS, 0.5, np.float32)}, 11, id="constant"),
        pytest.param({"age": None}, 11, id="a column missing"),
        pytest.param({"age": None, "years": np.zeros(ROWS, np.float32)}, 11, id="a column renamed"),
        pytest.param({"extra": np.zeros(ROWS, np.float32)}, 0, id="a column more"),
        pytest.param({"age": np.full(ROWS, "old", object)}, 11, id="text for numbers"),
        pytest.param({"rows": 1}, 20, id="one row"),
        pytest.param({"rows": 0}, 20, id="no row"),
        pytest.param({"rows": 50, "shift": 0.8}, 20, id="too few to test"),
    ],
)
def test_a_strange_window_has_its_exit_code(
    run: Run, fitted: Path, window: Window, changes: dict[str, Any], code: int
) -> None:
    done = _check(run, window("strange", 4, **changes))

    assert (done.code, done.document["reasons"] == []) == (code, code == 0)


def test_a_source_that_is_missing_is_stale_and_an_answer(run: Run, fitted: Path) -> None:
    file, capture = _check(run, fitted / "none.parquet"), run("drift", "check", "fraud:1", "--json")

    assert (file.code, file.document["verdict"]) == (21, "stale")
    assert (capture.code, capture.document["reasons"]) == (21, ["no capture of 'fraud'"])
    assert run("drift", "check", "fraud:1", "--fail-on", "critical").code == 21
    assert run("drift", "check", "fraud:1", "--fail-on", "never").code == 0


def test_a_person_reads_why(run: Run, fitted: Path, window: Window) -> None:
    path = window("near", 5, shift=0.4, age=np.full(ROWS, 0.5, np.float32))

    done = run("drift", "check", "fraud:1", "--window", path, "--detector", "tabular")

    lines = done.out.splitlines()
    assert lines[0] == f"✗ fraud:1: critical drift in {ROWS} rows (critical)"
    assert lines[1] == f"  age: stuck at 0.5 in all {ROWS} rows"
    assert any(line.startswith("  amount: ks ") for line in lines)
    assert "█" in next(line for line in lines if line.startswith("visits"))


def test_a_tensor_inside_the_graph_is_watched_too(run: Run, fitted: Path, window: Window) -> None:
    same, moved = window("same", 4), window("moved", 5, shift=1.5)

    quiet, loud = _check(run, same, "--tap", "a").document, _check(run, moved, "--tap", "a").document
    unknown = run("drift", "check", "fraud:1", "--window", same, "--tap", "pooled", "--detector", "ks", "--json")

    assert [one["drift"] for one in quiet["embedding"]] == [False, False]
    assert "centroid" in [one["test"] for one in loud["embedding"] if one["drift"]]
    assert (unknown.code, "pooled" in unknown.error["message"]) == (4, True)


def test_the_answer_is_written_for_whoever_watches(
    run: Run, fitted: Path, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = fitted / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = ("--report", "page.html", "--junit", "cases.xml", "--textfile", "drift.prom")

    done = _check(run, window("near", 5, shift=0.4), *files)

    assert done.document["verdict"] == "warn"
    assert "amount" in (fitted / "page.html").read_text()
    assert 'failures="' in (fitted / "cases.xml").read_text()
    assert "mlserve_drift" in (fitted / "drift.prom").read_text()
    assert "amount" in summary.read_text()
    assert any(line.startswith("::warning") for line in done.err.splitlines())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["fraud:2"], 4, "no drift profile", id="no profile"),
        pytest.param(["fraud:1", "--window", "n=0"], 2, "no rows", id="a window of nothing"),
        pytest.param(["fraud:1", "--ref", "yesterday"], 2, "nothing to hold a window against", id="no such reference"),
        pytest.param(
            ["fraud:1", "--window", "train.parquet", "--ref", "previous"], 2, "needs a window in time", id="no times"
        ),
        pytest.param(["fraud:1", "--fail-on", "soon"], 2, "no verdict", id="no such verdict"),
        pytest.param(["fraud:1", "--detector", "kss"], 2, "no detector", id="no such detector"),
    ],
)
def test_what_cannot_be_checked_says_why(run: Run, fitted: Path, words: list[str], code: int, said: str) -> None:
    done = run("drift", "check", *words, "--json")

    assert (done.code, said in done.error["message"]) == (code, True)
