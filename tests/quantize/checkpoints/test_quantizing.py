"""Checkpoint folders made smaller: what is written, what it is measured by, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mlserve.checkpoint.packaging import read_manifest
from mlserve.core.evidence import read_sidecar
from mlserve.errors import InvalidInput, MlserveError, NotFound, Unsupported, UsageError
from mlserve.quantize.checkpoints.quantizing import quantize_checkpoint
from mlserve.quantize.checkpoints.reporting import CheckpointReport
from mlserve.quantize.gate import Demands
from mlserve.quantize.quantizing import quantize
from tests.checkpoints import VOCABULARY, Trained, dtypes_in, make_model, make_tokenizer, save

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LOOSE = Demands(max_drop=1e9)
METHODS = ("bnb-int8", "bnb-nf4")
SHAPES = ("llama", "gpt2")

INT8_BOUND, NF4_BOUND = 0.005, 0.02
"""Growth of the perplexity, as a share of it: measured 0.0004 and 0.006; a corrupt 4-bit save has 0.02 to 0.04."""


def run(source: Path, out: Path, method: str, evaluate: Path | None, **more: Any) -> CheckpointReport:
    said = {"metric": "perplexity", "demands": LOOSE, "by": "tester", "now": NOW} | more
    return quantize_checkpoint(source, out, method=method, evaluate=evaluate, **said)


Made = Mapping[tuple[str, str], CheckpointReport]


@pytest.fixture(scope="session")
def made(llama: Trained, gpt2: Trained, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Both shapes by both methods, once."""
    folder = tmp_path_factory.mktemp("quantized")
    sources = {"llama": llama, "gpt2": gpt2}
    return {
        (shape, method): run(sources[shape].folder, folder / f"{shape}-{method}", method, sources[shape].held_out)
        for shape in SHAPES
        for method in METHODS
    }


def output_of(report: CheckpointReport) -> Path:
    assert report.output is not None
    return report.output


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("method", "bound"), [("bnb-int8", INT8_BOUND), ("bnb-nf4", NF4_BOUND)])
def test_little_perplexity_is_lost(made: Made, shape: str, method: str, bound: float) -> None:
    perplexity = made[shape, method].metrics["perplexity"]

    assert perplexity.before < VOCABULARY / 4, "the model has learned something"
    assert abs(perplexity.drop) < bound * perplexity.before
    assert perplexity.interval[0] <= perplexity.drop <= perplexity.interval[1]


@pytest.mark.parametrize("shape", SHAPES)
def test_fewer_bits_cost_more(made: Made, shape: str) -> None:
    eight, four = (made[shape, method] for method in METHODS)

    assert 0.0 < eight.metrics["kl"].after < four.metrics["kl"].after < 0.1
    assert 1.0 >= eight.metrics["agreement"].after > four.metrics["agreement"].after > 0.8
    assert four.size_ratio > eight.size_ratio > 1.5
    assert four.memory_bytes[1] < eight.memory_bytes[1] < eight.memory_bytes[0]


def test_random_weights_are_clearly_worse(llama: Trained, tmp_path: Path) -> None:
    from mlserve.quantize.checkpoints.trial import try_both

    tokenizer = make_tokenizer([llama.held_out.read_text()])
    save(tmp_path / "random", make_model("llama", seed=3, pad=tokenizer.eos_token_id), tokenizer)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(llama.folder / name, tmp_path / "random" / name)

    found = try_both(llama.folder, tmp_path / "random", llama.held_out, lambda *_: None)

    assert found.metrics["perplexity"].after > 0.8 * VOCABULARY > 2 * found.metrics["perplexity"].before
    assert found.metrics["agreement"].after < 0.2
    assert found.metrics["kl"].after > 1.0


@pytest.mark.parametrize(("method", "stored"), [("bnb-int8", "I8"), ("bnb-nf4", "U8")])
def test_what_is_written_holds_small_weights_and_says_how_they_were_made(made: Made, method: str, stored: str) -> None:
    out = output_of(made["llama", method])

    types = dtypes_in(out / "model.safetensors")
    assert sum(name.endswith("proj.weight") and kind == stored for name, kind in types.items()) == 14
    assert any("nested_absmax" in name for name in types) == (method == "bnb-nf4"), "4 bits need scales of scales"
    provenance = json.loads((out / "mlserve.json").read_text())
    assert provenance["method"] == method
    assert provenance["parent"] == made["llama", method].parent
    assert (out / "tokenizer.json").is_file()
    assert json.loads((out / "config.json").read_text())["quantization_config"]["quant_method"] == "bitsandbytes"


def test_the_evidence_beside_it_is_of_what_was_written(made: Made) -> None:
    report = made["llama", "bnb-nf4"]

    evidence = {item.kind: item for item in read_sidecar(output_of(report), read_manifest(output_of(report)).digest)}

    assert evidence["quantization"].figures["memory_bytes"]["after"] == report.memory_bytes[1]
    assert [speed["rows"] for speed in evidence["quantization"].figures["tokens_per_s"]] == [1, 8]
    assert evidence["accuracy"].figure("perplexity") == report.metrics["perplexity"].after
    assert evidence["accuracy"].figure("metrics.kl.drop") == report.metrics["kl"].drop
    assert evidence["accuracy"].data_digest is not None


def test_the_same_folder_gives_the_same_bytes(made: Made, llama: Trained, tmp_path: Path) -> None:
    again = run(llama.folder, tmp_path / "again", "bnb-nf4", None)

    assert again.digest == made["llama", "bnb-nf4"].digest


def test_a_4_bit_model_saved_after_it_was_run_is_corrupt_and_ours_is_not(
    made: Made, llama: Trained, tmp_path: Path
) -> None:
    """bitsandbytes 0.50 on a CPU with AVX512-BF16: the first run repacks the weights, and saving does not undo it."""
    from mlserve.quantize.checkpoints.trial import try_both

    if "avx512_bf16" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("only where weights are repacked")
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    model = AutoModelForCausalLM.from_pretrained(
        llama.folder, quantization_config=options, device_map="cpu", dtype=torch.bfloat16
    )
    with torch.no_grad():
        model(input_ids=torch.arange(8)[None])
    model.save_pretrained(tmp_path / "corrupt")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(llama.folder / name, tmp_path / "corrupt" / name)

    corrupt = try_both(llama.folder, tmp_path / "corrupt", llama.held_out, lambda *_: None).metrics["perplexity"]
    ours = made["llama", "bnb-nf4"].metrics["perplexity"]

    assert corrupt.drop > 3 * abs(ours.drop)
    assert corrupt.drop > NF4_BOUND * corrupt.before


def test_what_loses_too_much_is_not_written(llama: Trained, tmp_path: Path) -> None:
    out = tmp_path / "small"

    report = run(llama.folder, out, "bnb-nf4", llama.held_out, metric="kl", demands=Demands(max_drop=1e-9))

    assert report.output is None
    assert not report.passed
    assert report.reasons[0].startswith("kl falls by")
    assert list(tmp_path.iterdir()) == []


def test_force_writes_it_and_the_evidence_says_so(llama: Trained, tmp_path: Path) -> None:
    demands = Demands(max_drop=1e-9)
    report = run(llama.folder, tmp_path / "s", "bnb-int8", llama.held_out, metric="kl", demands=demands, force=True)

    evidence = {item.kind: item for item in read_sidecar(tmp_path / "s", str(report.digest))}

    assert report.is_forced
    assert evidence["quantization"].figures["forced"]
    assert evidence["accuracy"].passed is False


def test_an_older_checkpoint_is_replaced_whole(made: Made, llama: Trained, tmp_path: Path) -> None:
    out = Path(shutil.copytree(output_of(made["llama", "bnb-int8"]), tmp_path / "out"))
    (out / "vocab.txt").write_text("of the old one")
    (tmp_path / "out.evidence.json").write_text("of the old one")

    report = run(llama.folder, out, "bnb-nf4", None)

    assert read_manifest(out).digest == report.digest
    assert not (out / "vocab.txt").exists()
    assert read_sidecar(out, str(report.digest))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.evidence.json"]


def _others(out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        pytest.param(_others, InvalidInput, id="a folder of other things"),
        pytest.param(lambda out: out.write_text("x"), InvalidInput, id="a file"),
        pytest.param(lambda out: out.symlink_to(out.parent), InvalidInput, id="a link"),
    ],
)
def test_what_is_no_checkpoint_is_never_replaced(
    llama: Trained, tmp_path: Path, prepare: Callable[[Path], object], error: type[MlserveError]
) -> None:
    prepare(tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(error):
        run(llama.folder, tmp_path / "out", "bnb-nf4", None)

    assert sorted(tmp_path.rglob("*")) == before


def test_the_source_is_never_overwritten(llama: Trained) -> None:
    before = read_manifest(llama.folder)

    with pytest.raises(UsageError):
        run(llama.folder, llama.folder, "bnb-nf4", None)

    assert read_manifest(llama.folder) == before


@pytest.mark.parametrize(
    ("more", "error"),
    [
        pytest.param({"method": "int8"}, UsageError, id="a method of ONNX"),
        pytest.param({"method": "bnb-nf5"}, UsageError, id="no method"),
        pytest.param({"metric": "accuracy"}, UsageError, id="a metric of others"),
        pytest.param({"evaluate": Path("missing.txt")}, NotFound, id="no text"),
    ],
)
def test_what_cannot_be_asked_of_a_checkpoint(
    llama: Trained, tmp_path: Path, more: dict[str, Any], error: type[MlserveError]
) -> None:
    said = {"method": "bnb-nf4", "metric": "kl", "evaluate": llama.held_out} | more

    with pytest.raises(error):
        quantize(llama.folder, tmp_path / "out", by="tester", now=NOW, **said)


def test_a_text_of_one_token_is_too_short(llama: Trained, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("a")

    with pytest.raises(InvalidInput, match="two tokens"):
        run(llama.folder, tmp_path / "out", "bnb-nf4", tmp_path / "short.txt")


def test_what_is_quantized_already_is_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="quantized already"):
        run(output_of(made["gpt2", "bnb-int8"]), tmp_path / "out", "bnb-nf4", None)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="checkpoint folders"):
        quantize(tmp_path / "m.onnx", tmp_path / "out", method="bnb-nf4", by="tester", now=NOW)


def test_a_model_whose_outputs_are_not_finite_does_not_pass(made: Made) -> None:
    assert all(math.isfinite(one.drop) for report in made.values() for one in report.metrics.values())
    assert all(report.passed for report in made.values())
