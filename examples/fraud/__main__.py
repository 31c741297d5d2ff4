"""``make demo``: one model's loop on real data, every step through the ``mlserve`` command."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from examples.fraud.client import Client
from examples.fraud.server import serving
from examples.fraud.train import DATA_URI, Training, train
from examples.story import Story

POLICY = Path(__file__).with_name("policy.toml")
RESULTS = "results.json"


def tell(folder: Path) -> None:
    """Run the whole story in ``folder``, which is emptied first. Raises SystemExit where something went wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started_s = time.perf_counter()
    story = Story(folder)
    print(f"mlserve demo: from two trained pipelines to a governed server, in {_shown(folder)}")

    results = {"training": _train(story)}
    results["parity"] = _export(story)
    _register(story, results["training"])
    results |= _serve_and_swap(story)
    results["quantized"] = _quantize(story)
    reports = _report(story)

    (folder / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    _close(folder, reports, time.perf_counter() - started_s)


def _train(story: Story) -> list[dict[str, object]]:
    with story.step("train two scikit-learn pipelines (scaler + MLP) on 569 real rows, half of them held out"):
        trainings = train(story.folder)
        for version, item in enumerate(trainings, start=1):
            story.say(
                f"version {version}: accuracy {item.accuracy:.4f} on held-out rows, hidden {item.params['hidden']}"
            )
    return [_figures(item) for item in trainings]


def _figures(item: Training) -> dict[str, object]:
    return {"params": item.params, "accuracy": item.accuracy, "log_loss": item.log_loss}


def _export(story: Story) -> list[object]:
    parities = []
    with story.step("export both to ONNX, and prove that scikit-learn and ONNX Runtime answer the same"):
        for name in ("v1", "v2"):
            report = story.mlserve("export", f"{name}.skops", "-o", f"{name}.onnx", "--sample", "held_out.csv")
            parity = report["parity"]
            story.say(
                f"{parity['rows_over']} of {parity['rows']} rows differ; largest difference {parity['max_abs']:.1e}"
            )
            parities.append(parity)
    return parities


def _register(story: Story, trainings: list[dict[str, object]]) -> None:
    with story.step("register both as immutable versions, with metrics, parameters and the data they come from"):
        story.mlserve("init")
        for version, item in enumerate(trainings, start=1):
            answer = story.mlserve(
                "register", "fraud", f"v{version}.onnx", "--data", DATA_URI,
                "--metric", f"accuracy={item['accuracy']:.4f}", "--metric", f"log_loss={item['log_loss']:.4f}",
                *[word for name, value in item["params"].items() for word in ("--param", f"{name}={value}")],
            )  # fmt: skip
            story.say(f"{answer['ref']} is {answer['digest'][:19]}…")
        story.mlserve("policy", "set", "fraud", str(POLICY))
        story.say("from now on production demands proven parity and no worse accuracy than what is there")


def _serve_and_swap(story: Story) -> dict[str, object]:
    with story.step("promote version 1 and serve it"):
        move = story.mlserve("promote", "fraud:1", "--to", "production", "--reason", "first model")
        _say_gates(story, move)
    with serving(story.folder, story.folder / "server.log", "fraud") as url:
        story.say(f"$ mlserve serve fraud --port 0 &      # {url}")
        with story.step("predict over HTTP"):
            outputs = story.mlserve("predict", url, "held_out.csv")
            name, values = next(iter(outputs.items()))
            story.say(f"{len(values)} rows answered; {name} of the first five: {values[:5]}")
        client = Client(url, "fraud", *_one_row(story))
        client.start()
        try:
            return {"swap": _swap(story, client), "rollback": _roll_back(story, client)}
        finally:
            client.stop()


def _swap(story: Story, client: Client) -> dict[str, object]:
    with story.step("promote version 2 while a client keeps sending requests"):
        if not client.wait_for("1", 200):
            sys.exit(f"the client got no answers of version 1: {client.failures[:3]}")
        started_s = time.perf_counter()
        move = story.mlserve("promote", "fraud:2", "--to", "production", "--reason", "better", "--wait")
        _say_gates(story, move)
        if not client.wait_for("2", 200):
            sys.exit(f"version 2 never answered: {dict(client.versions)} {client.failures[:3]}")
        swap_s = time.perf_counter() - started_s
        story.say(
            f"{client.requests} requests, {len(client.failures)} failed, slowest {client.slowest_ms:.1f} ms; "
            f"answers by version: {dict(client.versions)}"
        )
        if client.failures:
            sys.exit(f"requests failed during the swap: {client.failures[:3]}")
        if client.answers["1"] == client.answers["2"]:
            sys.exit("the answers did not change with the version")
    return {"requests": client.requests, "failed": 0, "slowest_ms": client.slowest_ms, "command_to_answers_s": swap_s}


def _roll_back(story: Story, client: Client) -> dict[str, object]:
    with story.step("roll back, and read who moved what when and why"):
        before = client.versions["1"]
        move = story.mlserve("rollback", "fraud", "--reason", "only to show it")
        story.say(f"production holds {move['ref']} again (generation {move['generation']}); was {move['previous']}")
        if not client.wait_for("1", before + 100):
            sys.exit("version 1 did not come back")
        client.stop()
        if client.failures:
            sys.exit(f"requests failed during the rollback: {client.failures[:3]}")
        for entry in story.mlserve("history", "fraud"):
            story.say(f"{entry['at'][:19]}  {entry['stage']} ← {entry['ref']}  by {entry['by']}: {entry['reason']}")
    return {"to": move["ref"], "failed": len(client.failures)}


def _quantize(story: Story) -> list[object]:
    kept = []
    with story.step("quantize version 2 under an accuracy gate, and register what passed beside its parent"):
        for method in ("int8-dynamic", "fp16"):
            output = f"v2-{method}.onnx"
            report = story.mlserve(
                "quantize", "fraud:2", "-o", output, "--to", method, "--evaluate", "held_out.csv",
                "--metric", "accuracy", "--max-drop", "0.01", exits=(0, 7),
            )  # fmt: skip
            metric = report["metric"]
            verdict = "passed" if report["passed"] else "refused"
            story.say(
                f"{verdict}: {report['size_ratio']:.2f}× smaller, {report['speedup']:.2f}× as fast, "
                f"{metric['name']} {metric['before']:.4f} → {metric['after']:.4f}"
            )
            if report["passed"]:
                answer = story.mlserve("register", "fraud", output, "--parent", "fraud:2", "--tag", f"method={method}")
                story.say(f"{answer['ref']} descends from fraud:2")
            kept.append(report)
    return kept


def _report(story: Story) -> list[Path]:
    reports = [story.folder / f"fraud-{version}.html" for version in (1, 2)]
    with story.step("write a report of each version: signature, metrics, evidence, history"):
        for version, report in enumerate(reports, start=1):
            story.mlserve("show", f"fraud:{version}", "--report", report.name)
    return reports


def _say_gates(story: Story, move: dict[str, object]) -> None:
    for gate in move["gates"]:
        mark = "✓" if gate["passed"] else "–"
        story.say(f"{mark} gate {gate['name']}: {gate['detail']}")


def _one_row(story: Story) -> tuple[str, list[float]]:
    signature = story.mlserve("show", "fraud:1")["signature"]
    lines = (story.folder / "held_out.csv").read_text(encoding="utf-8").splitlines()
    return signature["inputs"][0]["name"], [float(value) for value in lines[1].split(",")[:-1]]


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _close(folder: Path, reports: list[Path], seconds: float) -> None:
    print(f"\nDone in {seconds:.0f} s.")
    print(f"Reports: {', '.join(_shown(path) for path in reports)}; all figures: {_shown(folder / RESULTS)}")
    print(
        "\nNext, type:\n"
        f"    source .venv/bin/activate && cd {_shown(folder)}\n"
        "    mlserve list fraud                 # the versions, their stages and metrics\n"
        "    mlserve diff fraud:1 fraud:2       # what differs between two of them\n"
        "    mlserve serve fraud                # the server again, on port 8000\n"
        "    mlserve promote fraud:3 --to staging"
    )


if __name__ == "__main__":
    tell(Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo").resolve())
