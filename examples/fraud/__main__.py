"""``make demo``: one model's loop on real data, every step through the ``mlserve`` command."""

from __future__ import annotations

import json
import shutil
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from examples.fraud.client import Client
from examples.fraud.train import DATA_URI, Training, train
from examples.serving import serving
from examples.story import Story

POLICY = Path(__file__).with_name("policy.toml")
RESULTS = "results.json"
ENOUGH = 200
"""Answers of a version that show that it really serves."""


def tell(folder: Path) -> None:
    """Run the whole story in ``folder``, which is emptied first. Raises SystemExit where something went wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started_s = time.perf_counter()
    story = Story(folder)
    print(f"mlserve demo: from two trained pipelines to a governed server; the commands are typed in {_shown(folder)}")

    results = {"training": _train(story)}
    results["parity"] = _export(story)
    _register(story, results["training"])
    results |= _serve_and_swap(story)
    results["quantized"] = _quantize(story)
    reports = _report(story)

    (folder / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    _close(folder, reports, time.perf_counter() - started_s)


def _train(story: Story) -> list[dict[str, object]]:
    with story.step("train two scikit-learn pipelines (scaler + MLP) on scikit-learn's breast-cancer table"):
        trainings = train(story.folder)
        for version, item in enumerate(trainings, start=1):
            layers = " and ".join(map(str, item.params["hidden"]))
            story.say(
                f"version {version}: accuracy {item.accuracy:.4f} on {item.held_out_rows} rows that it has not seen "
                f"({item.params['rows']} rows to learn from, hidden layers of {layers})"
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
            same = parity["rows"] - parity["rows_over"]
            story.say(f"{same} of {parity['rows']} rows agree; the largest difference is {parity['max_abs']:.1e}")
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
        shutil.copy(POLICY, story.folder)
        story.mlserve("policy", "set", "fraud", POLICY.name)
        story.say("from now on production demands proven parity, and an accuracy at most 0.01 below what stands there")


def _serve_and_swap(story: Story) -> dict[str, object]:
    with ExitStack() as until_the_end:
        with story.step("promote version 1, and serve what is in production"):
            move = story.mlserve("promote", "fraud:1", "--to", "production", "--reason", "first model")
            _say_gates(story, move)
            url = until_the_end.enter_context(serving(story.folder, story.folder / "server.log", "fraud"))
            story.say(f"$ mlserve serve fraud --port 0 &\nready at {url}")
        with story.step("ask it over HTTP"):
            outputs = story.mlserve("predict", url, "held_out.csv")
            name, values = next(iter(outputs.items()))
            story.say(f"{len(values)} rows answered; {name} of the first five: {values[:5]}")
        client = Client(url, "fraud", *_one_row(story, url))
        until_the_end.callback(client.stop)
        client.start()
        return {"swap": _swap(story, client), "rollback": _roll_back(story, client)}


def _swap(story: Story, client: Client) -> dict[str, object]:
    with story.step("promote version 2 while a client keeps sending requests"):
        if not client.wait_for("1", ENOUGH):
            sys.exit(f"the client got no answers of version 1: {client.failures[:3]}")
        before, started_s = len(client.latencies_ms), time.perf_counter()
        move = story.mlserve("promote", "fraud:2", "--to", "production", "--reason", "better", "--wait")
        _say_gates(story, move)
        if not client.wait_for("2", ENOUGH):
            sys.exit(f"version 2 never answered: {dict(client.versions)} {client.failures[:3]}")
        during_ms = client.latencies_ms[before:]
        figures = {
            "requests": len(during_ms),
            "failed": len(client.failures),
            "slowest_ms": max(during_ms),
            "command_to_first_answer_s": client.first_s["2"] - started_s,
        }
        story.say(
            f"{figures['requests']} requests sent meanwhile, {figures['failed']} failed, "
            f"the slowest took {figures['slowest_ms']:.1f} ms\n"
            f"version 2 answered {figures['command_to_first_answer_s']:.1f} s after the command was typed: "
            f"{_probabilities(client, '1')} became {_probabilities(client, '2')}"
        )
        _check_no_failure(client)
        if client.answers["1"] == client.answers["2"]:
            sys.exit("the answers did not change with the version")
    return figures


def _roll_back(story: Story, client: Client) -> dict[str, object]:
    with story.step("roll back, and read who moved what when and why"):
        answers, before = client.versions["1"], len(client.latencies_ms)
        move = story.mlserve("rollback", "fraud", "--reason", "only to show it")
        if not client.wait_for("1", answers + ENOUGH):
            sys.exit("version 1 did not come back")
        client.stop()
        _check_no_failure(client)
        sent = len(client.latencies_ms) - before
        story.say(f"production holds {move['ref']} again; {sent} requests sent meanwhile, 0 failed")
        for entry in story.mlserve("history", "fraud"):
            at = entry["at"][:19].replace("T", " ")
            story.say(f"{at} UTC  {entry['ref']} → {entry['stage']}  by {entry['by']}: {entry['reason']}")
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
    with story.step("write a page about each version: signature, metrics, evidence, history"):
        for version, report in enumerate(reports, start=1):
            story.mlserve("show", f"fraud:{version}", "--report", report.name)
    return reports


def _say_gates(story: Story, move: dict[str, object]) -> None:
    gates = move["gates"]
    passed = sum(gate["passed"] is True for gate in gates)
    story.say(
        f"{move['stage']} holds {move['ref']} (generation {move['generation']}); {passed} of {len(gates)} gates passed:"
    )
    width = max(len(gate["name"]) for gate in gates)
    for gate in gates:
        mark = {True: "✓", False: "✗", None: "–"}[gate["passed"]]
        story.say(f"  {mark} {gate['name']:<{width}}  {gate['detail']}")


def _check_no_failure(client: Client) -> None:
    if client.failures:
        sys.exit(f"{len(client.failures)} requests failed: {client.failures[:3]}")


def _probabilities(client: Client, version: str) -> list[float]:
    data = next(output["data"] for output in client.answers[version] if output["name"] == "probabilities")
    return [round(value, 3) for value in data]


def _one_row(story: Story, url: str) -> tuple[str, list[float]]:
    """The input's name, as the server tells it, and the first held-out row without its label."""
    with urllib.request.urlopen(f"{url}/v2/models/fraud", timeout=30) as answer:
        name = json.load(answer)["inputs"][0]["name"]
    lines = (story.folder / "held_out.csv").read_text(encoding="utf-8").splitlines()
    return name, [float(value) for value in lines[1].split(",")[:-1]]


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _close(folder: Path, reports: list[Path], seconds: float) -> None:
    print(f"\nDone in {seconds:.0f} s; nothing is left running.")
    print(f"Read in a browser: {', '.join(_shown(path) for path in reports)}")
    print(f"All figures:       {_shown(folder / RESULTS)}")
    print(
        "\nNext, type:\n"
        f"    source .venv/bin/activate && cd {_shown(folder)}\n"
        "    mlserve list fraud                         # the versions, their stages and metrics\n"
        "    mlserve diff fraud:1 fraud:2               # what differs between two of them\n"
        "    mlserve promote fraud:3 --to staging       # the quantized one, where people may try it\n"
        "    mlserve serve fraud --port 8000            # the server again; Ctrl-C ends it"
    )


if __name__ == "__main__":
    tell(Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo").resolve())
