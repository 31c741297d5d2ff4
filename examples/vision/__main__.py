"""``python -m examples.vision``: from a trained network to a smaller one in production, by ``mlserve`` commands."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from examples.serving import serving
from examples.story import Story
from examples.vision.train import DATA_URI, Training, train

RESULTS = "results.json"
MAX_DROP = "0.005"
"""Of 599 held-out rows at most two more may go wrong than did."""


def tell(folder: Path) -> None:
    """Run the whole story in ``folder``, which is emptied first. Raises SystemExit where something went wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started_s = time.perf_counter()
    story = Story(folder)
    print(f"mlserve and a convolutional network: the commands are typed in {_shown(folder)}")

    training = _train(story)
    results: dict[str, Any] = {"accuracy": training.accuracy, "parity": _export(story, training)}
    results["refused"] = _quantize_blindly(story)
    results["quantized"] = _quantize(story)
    results["served"] = _serve(story)

    (folder / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\nDone in {time.perf_counter() - started_s:.0f} s; nothing is left running.")
    print(f"All figures: {_shown(folder / RESULTS)}")


def _train(story: Story) -> Training:
    with story.step("train four convolutions with PyTorch on scikit-learn's digits"):
        training = train(story.folder)
        story.say(
            f"accuracy {training.accuracy:.4f} on {training.held_out_rows} rows that it has not seen "
            f"({training.rows} rows to learn from)"
        )
    return training


def _export(story: Story, training: Training) -> dict[str, Any]:
    with story.step("export it to ONNX, prove that both answer the same, and register it"):
        report = story.mlserve("export", "digits.pt2", "-o", "digits.onnx", "--sample", "held_out.npz")
        parity: dict[str, Any] = report["parity"]
        story.say(f"{parity['rows']} rows agree; the largest difference is {parity['max_abs']:.1e}")
        story.mlserve("init")
        accuracy = f"accuracy={training.accuracy:.4f}"
        answer = story.mlserve("register", "digits", "digits.onnx", "--data", DATA_URI, "--metric", accuracy)
        story.say(f"{answer['ref']} is {answer['digest'][:19]}…")
    return parity


def _quantize_blindly(story: Story) -> dict[str, Any]:
    with story.step("static INT8 calibrated on blank images, as a careless script would: refused, nothing is written"):
        blank = np.zeros((64, 1, 8, 8), np.float32)
        np.savez(story.folder / "blank.npz", image=blank)
        report = _quantized(story, "blank.npz", "blind.onnx", exits=(7,))
        for reason in report["reasons"]:
            story.say(f"✗ {reason}")
    return report


def _quantize(story: Story) -> dict[str, Any]:
    with story.step("static INT8 calibrated on training rows, judged on rows that neither has seen"):
        report = _quantized(story, "calibration.npz", "small.onnx")
        metric, calibration = report["metric"], report["calibration"]
        speeds = ", ".join(f"{item['speedup']:.2f}× at {item['rows']}" for item in report["latency"])
        low, high = metric["interval"]
        story.say(
            f"{report['size_ratio']:.2f}× smaller; as fast by rows in a call: {speeds}\n"
            f"accuracy {metric['before']:.4f} → {metric['after']:.4f} "
            f"(95 % sure that it falls by {max(low, 0):.4f} to {high:.4f})\n"
            f"{calibration['rows']} rows fixed the ranges of {len(calibration['coverage']['tensors'])} values, which "
            f"cut off {calibration['coverage']['clipped']:.2%} of held-out values at most"
        )
        answer = story.mlserve("register", "digits", "small.onnx", "--parent", "digits:1", "--tag", "method=int8")
        story.say(f"{answer['ref']} descends from {answer['parent']}, and its evidence came along:")
        for item in story.mlserve("show", answer["ref"])["evidence"]:
            story.say(f"  {'✓' if item['passed'] else '–'} {item['kind']}")
    return report


def _quantized(story: Story, calibration: str, output: str, exits: tuple[int, ...] = (0,)) -> dict[str, Any]:
    report: dict[str, Any] = story.mlserve(
        "quantize", "digits:1", "-o", output, "--to", "int8", "--calibrate", calibration,
        "--evaluate", "held_out.npz", "--metric", "accuracy", "--max-drop", MAX_DROP, exits=exits,
    )  # fmt: skip
    return report


def _serve(story: Story) -> dict[str, Any]:
    with story.step("promote the small one, serve it, and ask it over HTTP"):
        story.mlserve("promote", "digits:2", "--to", "production", "--reason", "a quarter of the size")
        with serving(story.folder, story.folder / "server.log", "digits") as url:
            story.say(f"$ mlserve serve digits --port 0 &\nready at {url}")
            outputs = story.mlserve("predict", url, "held_out.npz")
        decided = np.array(outputs["logits"]).argmax(-1)
        with np.load(story.folder / "held_out.npz") as held_out:
            accuracy = float((decided == held_out["label"]).mean())
        story.say(f"{len(decided)} rows answered, {accuracy:.4f} of them rightly")
    return {"rows": len(decided), "accuracy": accuracy}


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    tell(Path(sys.argv[1] if len(sys.argv) > 1 else "build/vision").resolve())
