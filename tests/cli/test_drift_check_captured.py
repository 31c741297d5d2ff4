"""``mlserve drift check`` of captured traffic: the last hours, the last rows, what is new, and against what."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.traffic.recorded import Source
from tests.cli.conftest import Run
from tests.traffic.making import SIGNATURE, captured, recorded

DETECTOR = ("--detector", "ks", "--json")
Traffic = Callable[..., Path]


@pytest.fixture
def traffic(tmp_path: Path) -> Traffic:
    """``traffic((begin_h, end_h, shift), …)``: 300 rows each, so many hours ago."""

    def write(*stretches: tuple[float, float, float], rows: int = 300) -> Path:
        signature = Signature((TensorSpec("x", DType.FLOAT32, ("batch", 4)),), SIGNATURE.outputs)
        source = Source("fraud", 1, "sha256:" + "0" * 64, signature)
        now, parts = time.time(), []
        for number, (begin_h, end_h, shift) in enumerate(stretches):
            x = np.random.default_rng(number).normal(size=(rows, 4)).astype(np.float32)
            x[:, 0] += np.float32(shift)
            classes = np.abs(x[:, 1]).argsort().argsort() % 3
            parts.append(
                recorded(
                    [1] * rows,
                    start=number * rows,
                    source=source,
                    inputs={"x": x},
                    outputs={"label": classes, "p": x[:, :2]},
                    epoch_s=now,
                    arrived_s=[-3600 * (begin_h + (end_h - begin_h) * n / rows) for n in range(rows)],
                )
            )
        return captured(tmp_path / "capture", *parts)

    return write


@pytest.fixture
def fitted(run: Run, fraud: Path) -> Path:
    """``fraud:1`` with a profile of four standard normal columns."""
    np.savez(fraud / "train.npz", x=np.random.default_rng(9).normal(size=(1500, 4)).astype(np.float32))
    assert run("drift", "fit", "fraud:1", "--reference", "train.npz").code == 0
    return fraud


def _drifting(document: Any) -> list[str]:
    return [one["name"] for one in document["features"] if one["drift"]]


def test_the_last_hours_and_the_last_rows_are_judged(run: Run, fitted: Path, traffic: Traffic) -> None:
    capture = traffic((30.0, 28.0, 2.0), (3.0, 1.0, 0.0))

    day = run("drift", "check", "fraud:1", "--window", "24h", "--capture", capture, *DETECTOR).document
    last = run("drift", "check", "fraud:1", "--window", "n=450", "--capture", capture, *DETECTOR).document

    assert (day["window"]["kind"], day["window"]["rows"], _drifting(day)) == ("24h", 300, [])
    assert (last["window"]["kind"], last["window"]["rows"], _drifting(last)) == ("n=450", 450, ["x[0]"])


def test_since_last_takes_up_where_the_last_check_ended(run: Run, fitted: Path, traffic: Traffic) -> None:
    capture = traffic((30.0, 28.0, 0.0), (3.0, 1.0, 0.0))
    words = ("drift", "check", "fraud:1", "--window", "since-last", "--capture", capture, *DETECTOR)

    first, second = run(*words), run(*words)

    assert first.document["window"]["rows"] == 600
    assert (second.code, second.document["verdict"], second.document["window"]["rows"]) == (20, "insufficient", 0)


def test_a_window_is_held_against_the_one_before(run: Run, fitted: Path, traffic: Traffic) -> None:
    capture = traffic((6.5, 4.5, 2.0), (3.5, 0.5, 2.0))
    words = ("drift", "check", "fraud:1", "--window", "4h", "--capture", capture, *DETECTOR)

    against_training, against_previous = run(*words), run(*words, "--ref", "previous")
    against_last_week = run(*words, "--ref", "same-hour-last-week")

    assert _drifting(against_training.document) == ["x[0]"]
    assert (against_previous.code, _drifting(against_previous.document)) == (0, [])
    assert against_previous.document["reference"]["rows"] == 300
    assert against_last_week.code == 20


def test_a_change_within_the_window_is_dated(run: Run, fitted: Path, traffic: Traffic) -> None:
    capture = traffic((8.0, 4.0, 0.0), (4.0, 0.0, 1.5), rows=500)

    found = run("drift", "check", "fraud:1", "--window", "24h", "--capture", capture, *DETECTOR).document

    (moved,) = [one for one in found["features"] if one["drift"]]
    since = np.datetime64(moved["since"].removesuffix("Z"), "s").astype(int)
    assert abs(since - (time.time() - 4 * 3600)) < 1800
    assert "x[0]" in found["localisation"]["slices"][0]["where"]


def test_a_silent_source_is_stale(run: Run, fitted: Path, traffic: Traffic) -> None:
    done = run("drift", "check", "fraud:1", "--capture", traffic((80.0, 50.0, 0.0)), *DETECTOR)

    assert (done.code, done.document["verdict"]) == (21, "stale")
    assert done.document["reasons"][0].startswith("no rows since")


def test_an_empty_folder_is_stale(run: Run, fitted: Path) -> None:
    (fitted / "capture" / "fraud").mkdir(parents=True)

    done = run("drift", "check", "fraud:1", "--capture", fitted / "capture", *DETECTOR)

    assert (done.code, done.document["verdict"]) == (21, "stale")
