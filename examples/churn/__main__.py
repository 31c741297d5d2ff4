"""``python -m examples.churn [--year]``: summer, or half a year, after the half that a model knows, by the fortnight.

train ─► serve ─► a fortnight of traffic ─► what became of it ─► drift check ─┬─► nothing
                        ▲                                                     └─► retrain ─► staging
                        └── production, if the gate lets it pass ◄── replay of the fortnight after ◄──┘

A fortnight passes in seconds, so windows are the last so many rows, and not the last so many hours: how many rows
an hour usually has is known in the time of 2013 alone.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from examples.churn import client
from examples.churn.flights import FEATURES, SECOND_HALF, flights
from examples.churn.train import DETECTORS, REFERENCE, SAMPLE, SAMPLE_ROWS, judge, split, train
from examples.serving import serving
from examples.story import Story

MODEL, CAPTURE, RESULTS = "delays", "capture", "results.json"
POLICY, SETTINGS = Path(__file__).with_name("policy.toml"), "mlserve.toml"
LANDED = "landed.jsonl"
METRIC = "log_loss"
DAYS = 14
SUMMER, HALF_A_YEAR = range(3), range(13)
"""Fortnights from July on."""
VERDICT_EXITS = (0, 10, 11, 12)
MARKS = {True: "✓", False: "✗", None: "–"}


def tell(folder: Path, fortnights: Sequence[int] = SUMMER) -> None:
    """Run the whole story in ``folder``, which is emptied first. Raises SystemExit where something went wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started_s = time.perf_counter()
    story = Story(folder)
    print("mlserve demo: the world moves on, a nightly check notices, and the next version proves that it knows better")

    year = _learn(story)
    _export(story)
    _register(story)
    _fit(story)
    results = _watch(story, year, fortnights)

    (folder / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\nDone in {time.perf_counter() - started_s:.0f} s; nothing is left running.")
    print(f"All figures: {folder / RESULTS}")


def _learn(story: Story) -> pd.DataFrame:
    with story.step("learn from January to June which flights come more than half an hour late, or not at all"):
        year = flights()
        learned, reference = split(story.folder, year)
        learned[list(FEATURES)][:SAMPLE_ROWS].to_parquet(story.folder / SAMPLE, index=False)
        figures = judge(train(story.folder / "v1.skops", learned), reference)
        story.say(
            f"{len(learned)} flights of every other week to learn from\n"
            f"{len(reference)} of the weeks between, of which {reference.label.mean():.1%} were late: "
            f"log loss {figures['log_loss']:.3f}, AUC {figures['auc']:.3f}"
        )
    return year[year.date >= SECOND_HALF]


def _export(story: Story) -> None:
    with story.step("export it to ONNX, and prove that it answers as scikit-learn does"):
        # scikit-learn's imputer keeps a numpy type in its file, which is told of as what it might be: anything.
        answer = story.mlserve("export", "v1.skops", "-o", "v1.onnx", "--allow-pickle", "--sample", SAMPLE)
        parity = answer["parity"]
        story.say(f"{parity['rows'] - parity['rows_over']} of {parity['rows']} rows agree")


def _register(story: Story) -> None:
    with story.step("register it; it serves, and whatever follows must be better on traffic that it has not seen"):
        story.mlserve("init")
        story.mlserve("register", MODEL, "v1.onnx", "--note", "January to June")
        story.mlserve("promote", f"{MODEL}:1", "--to", "production", "--reason", "the first one")
        shutil.copy(POLICY, story.folder)
        story.mlserve("policy", "set", MODEL, POLICY.name)
        settings = _settings()
        with (story.folder / SETTINGS).open("a", encoding="utf-8") as file:
            file.write(f"\n{settings}\n")
        story.say(f"{SETTINGS}:\n{settings}")


def _fit(story: Story) -> None:
    with story.step("learn how flights looked, and how much that changes from day to day anyway"):
        profile = story.mlserve("drift", "fit", f"{MODEL}:1", "--reference", REFERENCE, *DETECTORS)
        for feature in profile["features"]:
            story.say(f"  {feature['name']:<22} drift from {feature['effect']} {feature['threshold']:.2f} on")


def _watch(story: Story, year: pd.DataFrame, fortnights: Sequence[int]) -> dict[str, Any]:
    """Each fortnight's traffic, its outcomes, its check, and what follows; what checks and proofs have shown."""
    checks: list[Any] = []
    proofs: list[Any] = []
    candidate = None
    with serving(story.folder, story.folder / "server.log", MODEL, "--capture", CAPTURE) as url:
        story.say(f"$ mlserve serve {MODEL} --capture {CAPTURE} --port 0 &\nready at {url}")
        for rows in _played(year, fortnights):
            first, last = rows.date.min(), rows.date.max()
            with story.step(f"{first:%-d %B} to {last:%-d %B}: {len(rows)} flights, {rows.label.mean():.1%} late"):
                began = datetime.now(UTC)
                _play(story, url, rows)
                checks.append({"from": f"{first:%Y-%m-%d}"} | _check(story, len(rows)))
                if candidate is not None:
                    proofs.append(_prove(story, candidate, began))
                candidate = _retrained(story, checks[-1])
    return {"checks": checks, "proofs": proofs, "history": story.mlserve("history", MODEL)}


def _play(story: Story, url: str, rows: pd.DataFrame) -> None:
    requests = client.play(url, MODEL, rows)
    client.write_outcomes(story.folder / LANDED, rows)
    # What has arrived is on disk within a second, and windows end two seconds ago.
    time.sleep(2.1)
    told = story.mlserve("outcome", MODEL, LANDED, "--capture", CAPTURE)
    story.say(f"{requests} requests, and of {told['joined']} flights it is known by now whether they were late")


def _check(story: Story, rows: int) -> dict[str, Any]:
    """The check of the last ``rows`` rows, and what it did about what it found."""
    answer = story.mlserve("drift", "check", MODEL, "--window", f"n={rows}", exits=VERDICT_EXITS)
    story.say(f"{answer['ref']}: {answer['verdict']}, of {answer['window']['rows']} rows")
    for reason in answer["reasons"]:
        story.say(f"  {reason}")
    for action in answer["actions"]:
        story.say(f"  → {action['action']} {action['state']}: {action['detail']}")
        if action["state"] == "failed":
            sys.exit(f"what the check started has failed: {action}")
    return dict(answer)


def _retrained(story: Story, check: dict[str, Any]) -> str | None:
    """The version that came of a check, which the next fortnight is to prove; None where nothing came of it."""
    if not any(action["action"] == "command" and action["state"] == "done" for action in check["actions"]):
        return None
    newest = story.mlserve("list", MODEL, "--limit", "1")[0]
    story.say(f"{newest['ref']} has learned from this window; the next fortnight will tell")
    return str(newest["ref"])


def _prove(story: Story, ref: str, since: datetime) -> dict[str, Any]:
    """Replay what came ``since`` then through ``ref``, which has learned from none of it, and let the gate decide."""
    (answer,) = [
        story.mlserve(
            "replay", f"{CAPTURE}/{MODEL}", "--against", ref, "--since", since.isoformat(), "--metric", METRIC,
            "--fail-on", f"{METRIC}_drop>0", exits=(0, 7),
        )
    ]  # fmt: skip
    figures = answer["metrics"]
    for metric in (METRIC, "auc"):
        story.say(f"  {metric} {figures[f'{metric}_before']:.4f} → {figures[metric]:.4f}, on {answer['rows']} rows")
    move = story.mlserve(
        "promote", ref, "--to", "production", "--reason", "nearer to what came true", "--wait", exits=(0, 7)
    )
    for gate in move["gates"]:
        story.say(f"  {MARKS[gate['passed']]} {gate['name']}: {gate['detail']}")
    story.say(f"{ref} {'is in production' if move['changed'] else 'may not enter production'}")
    return {"replay": answer, "promoted": move["changed"]}


def _played(year: pd.DataFrame, fortnights: Sequence[int]) -> Iterator[pd.DataFrame]:
    """The flights of each of ``fortnights``, counted from ``SECOND_HALF`` on."""
    number = (year.date - pd.Timestamp(SECOND_HALF)).dt.days // DAYS
    for wanted in fortnights:
        yield year[number == wanted]


def _settings() -> str:
    """What a check does by itself: train again once the model is worse, or all is different; not for a warm July."""
    root = Path(__file__).resolve().parents[2]
    command = ["env", f"PYTHONPATH={root}", sys.executable, "-m", "examples.churn.retrain"]
    return (
        "[drift]\n"
        f"checks_per_day = {1 / DAYS:.3f}\n"
        'on_critical = ["command"]\n'
        'on_performance = ["command"]\n'
        f"command = {json.dumps(command)}"
    )


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--year"]
    tell(Path(words[0] if words else "build/churn").resolve(), HALF_A_YEAR if "--year" in sys.argv else SUMMER)
