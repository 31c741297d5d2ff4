"""``python -m examples.ranking``: a ranker, its traffic, and two candidates of which one only seemed to be better."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.ranking import client
from examples.ranking.features import CANDIDATES, Question, questions
from examples.ranking.train import train
from examples.serving import serving
from examples.story import Story

POLICY = Path(__file__).with_name("policy.toml")
RESULTS, REPORT, OUTCOMES, CAPTURE = "results.json", "replay.html", "outcomes.jsonl", "capture"
METRIC = "ndcg@10"
RANKERS = ("champion", "better", "clicks")
LEARNED_SHARE = 0.35
CANDIDATE_REFS = ("ranker:2", "ranker:3")
PATIENCE_S = 60.0
Asked = Sequence[tuple[str, Question]]


def tell(folder: Path) -> None:
    """Run the whole story in ``folder``, which is emptied first. Raises SystemExit where something went wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started_s = time.perf_counter()
    story = Story(folder)
    print("mlserve demo: a version is proven on the traffic that there really is, live and after the fact")

    traffic = _learn(story)
    _export(story)
    _register(story)
    results: dict[str, Any] = {"shadow": _serve(story, traffic)}
    results["outcomes"] = _join(story, traffic)
    results["replay"] = _replay(story)
    results["promoted"] = _promote(story)

    (folder / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\nDone in {time.perf_counter() - started_s:.0f} s; nothing is left running.")
    print(f"Read in a browser: {folder / REPORT}\nAll figures:       {folder / RESULTS}")


def _learn(story: Story) -> Asked:
    with story.step("make queries and documents of Python's own documentation, and train three rankers"):
        found = questions()
        learned = round(LEARNED_SHARE * len(found))
        for ranker in train(story.folder, found[:learned]):
            story.say(f"{ranker.model.stem} has learned from {ranker.learned_from}")
        example = found[-1]
        story.say(f"{len(found)} queries, {CANDIDATES} documents for each; {learned} to learn from. One of the others:")
        story.say(f"“{example.query.sentence}”")
        for text, is_relevant in list(zip(example.shown, example.relevant, strict=True))[:3]:
            story.say(f"  {'+' if is_relevant else ' '} {text.module}.{text.name}: {text.sentence}")
    return [(f"query-{number:04}", question) for number, question in enumerate(found[learned:])]


def _export(story: Story) -> None:
    with story.step("export them to ONNX, and prove that they answer as LightGBM does"):
        for name in RANKERS:
            parity = story.mlserve("export", f"{name}.lgb", "-o", f"{name}.onnx", "--sample", "asked.csv")["parity"]
            story.say(f"{parity['rows'] - parity['rows_over']} of {parity['rows']} rows agree")


def _register(story: Story) -> None:
    with story.step("register all three; the first serves, and from now on traffic decides who may follow it"):
        story.mlserve("init")
        for name in RANKERS:
            story.mlserve("register", "ranker", f"{name}.onnx", "--tag", f"learned={name}")
        story.mlserve("promote", "ranker:1", "--to", "production", "--reason", "the first one")
        shutil.copy(POLICY, story.folder)
        story.mlserve("policy", "set", "ranker", POLICY.name)


def _serve(story: Story, traffic: Asked) -> dict[str, Any]:
    """Serve and capture; each candidate stands in shadow for a part of the traffic. What each has shown, by ref."""
    shown = {}
    half = (len(traffic) + 1) // 2
    with serving(story.folder, story.folder / "server.log", "ranker", "--capture", CAPTURE) as url:
        story.say(f"$ mlserve serve ranker --capture {CAPTURE} --port 0 &\nready at {url}")
        for ref, part in zip(CANDIDATE_REFS, (traffic[:half], traffic[half:]), strict=True):
            with story.step(f"{ref} goes into the shadow of production while people search"):
                story.mlserve("promote", ref, "--to", "shadow", "--traffic", "100%", "--wait")
                answers = client.ask(url, "ranker", part)
                _wait_for(lambda: client.shadow(url, "ranker"), "compared", len(part))
                story.say(f"{len(answers)} queries answered, every one of them by {ref} too, whose answers nobody saw")
                # Captured requests are on disk within a second; what is true of them is usually known much later.
                time.sleep(1.0)
                told = client.tell_outcomes(url, "ranker", part)
                story.say(f"of {told['joined']} rows it became known whether they were relevant")
                story.mlserve("withdraw", "ranker@shadow", "--reason", "seen enough")
                shown[ref] = _shown(story, ref)
                story.say(f"live, {ref}: {_ranked(shown[ref], shown[ref]['labelled_rows'])}")
    return shown


def _join(story: Story, traffic: Asked) -> Any:
    with story.step("join what turned out to be true to the captured requests, from a file this time"):
        lines = [json.dumps({"request_id": name, "label": question.relevant.tolist()}) for name, question in traffic]
        (story.folder / OUTCOMES).write_text("\n".join(lines) + "\n", encoding="utf-8")
        told = story.mlserve("outcome", "ranker", OUTCOMES, "--capture", CAPTURE)
        story.say(f"{told['joined']} joined, {told['duplicate']} known already, {told['unmatched']} of no request")
    return told


def _replay(story: Story) -> list[Any]:
    with story.step("replay all recorded traffic through both candidates, and refuse what ranks worse"):
        answers = story.mlserve(
            "replay", f"{CAPTURE}/ranker", "--against", CANDIDATE_REFS[0], "--against", CANDIDATE_REFS[1],
            "--metric", METRIC, "--fail-on", f"{METRIC}_drop>0", "--report", REPORT, exits=(0, 7),
        )  # fmt: skip
        for answer in answers:
            mark, figures = "✓" if answer["passed"] else "✗", _ranked(answer["metrics"], answer["rows"])
            story.say(f"{mark} offline, {answer['ref']}: {figures}")
    return list(answers)


def _promote(story: Story) -> dict[str, Any]:
    with story.step("let the gate decide, which reads what was measured on traffic"):
        refused = story.mlserve("promote", CANDIDATE_REFS[1], "--to", "production", exits=(7,))
        _say_gates(story, refused)
        move = story.mlserve("promote", CANDIDATE_REFS[0], "--to", "production", "--reason", "ranks better on traffic")
        _say_gates(story, move)
    return {"refused": refused, "moved": move}


def _shown(story: Story, ref: str) -> dict[str, Any]:
    """The figures that the shadow of ``ref`` left as evidence. Raises SystemExit where there are none on labels."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        found = [item["figures"] for item in story.mlserve("show", ref)["evidence"] if item["kind"] == "shadow"]
        if found and "labelled_rows" in found[0]:
            return dict(found[0])
        time.sleep(0.5)
    sys.exit(f"the shadow of {ref} left no figures on what turned out to be true: {found}")


def _ranked(figures: dict[str, Any], rows: int) -> str:
    return f"NDCG@10 {figures[f'{METRIC}_before']:.3f} → {figures[METRIC]:.3f}, on {rows} rows"


def _say_gates(story: Story, move: dict[str, Any]) -> None:
    story.say(f"{move['ref']} {'may not enter' if not move['changed'] else 'is in'} {move['stage']}:")
    for gate in move["gates"]:
        mark = {True: "✓", False: "✗", None: "–"}[gate["passed"]]
        measured = "" if gate["measured"] is None else f"{gate['measured']:.4g}, "
        story.say(f"  {mark} {gate['name']}: {measured}{gate['detail']}")


def _wait_for(read: Any, figure: str, least: float) -> None:
    """Until what ``read`` gives has a ``figure`` of ``least`` or more. Raises SystemExit after a minute."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (found := read().get(figure)) is None or found < least:
        if time.monotonic() > deadline_s:
            sys.exit(f"the shadow has not come to {figure} of {least:g} within {PATIENCE_S:.0f} s: {read()}")
        time.sleep(0.1)


if __name__ == "__main__":
    tell(Path(sys.argv[1] if len(sys.argv) > 1 else "build/ranking").resolve())
