"""What a drift check starts (``drift.command``): train again with its window, put what came of it on trial.

MLSERVE_DRIFT_WINDOW   the rows that were judged, and what became of them ──► version 2 ──► registered, in staging
                       those of every other day, and half of the old reference's weeks ──► its own drift profile

It promotes nothing to production: what it has learned from cannot prove it, and what can is yet to come.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from examples.churn.train import LEARNED, REFERENCE, SAMPLE, split_window, train
from examples.story import Story


def retrain(folder: Path, told: Mapping[str, str]) -> Any:
    """Make the next version of the model that ``told`` speaks of, in the project ``folder``; what registering said."""
    story = Story(folder)
    learned, reference = split_window(pd.read_parquet(told["MLSERVE_DRIFT_WINDOW"]))
    name, ref = told["MLSERVE_DRIFT_MODEL"], told["MLSERVE_DRIFT_REF"]
    with story.step(f"learn from {len(learned)} flights of the window, beside those of before"):
        train(folder / "again.skops", _together(folder / LEARNED, learned))
    with story.step("export and register it, with where it comes from"):
        story.mlserve("export", "again.skops", "-o", "again.onnx", "--allow-pickle", "--sample", SAMPLE)
        answer = story.mlserve(
            "register", name, "again.onnx", "--parent", ref, "--data", told["MLSERVE_DRIFT_WINDOW_DIGEST"],
            "--tag", f"drift_run={told['MLSERVE_DRIFT_RUN'][:19]}",
            "--note", f"after {told['MLSERVE_DRIFT_VERDICT']} of {told['MLSERVE_DRIFT_SUBJECTS']}",
        )  # fmt: skip
    with story.step("learn what it is to be held against"):
        _together(folder / REFERENCE, reference).to_parquet(folder / "again-reference.parquet", index=False)
        story.mlserve("drift", "fit", answer["ref"], "--reference", "again-reference.parquet")
    with story.step("put it where it is tried"):
        story.mlserve("promote", answer["ref"], "--to", "staging")
    return answer


def _together(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the file, then ``rows``, as far as the file has their columns."""
    before = pd.read_parquet(path)
    return pd.concat([before, rows[list(before.columns)]], ignore_index=True).astype({"label": "int64"})


if __name__ == "__main__":
    missing = [name for name in ("MLSERVE_DRIFT_WINDOW", "MLSERVE_DRIFT_REF") if not os.environ.get(name)]
    if missing:
        sys.exit(f"{missing[0]} is not set: a drift check runs this")
    retrain(Path.cwd(), os.environ)
