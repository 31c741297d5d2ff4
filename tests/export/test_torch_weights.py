"""Files of weights, with the code that builds their module: what fits is exported, what does not is told by name."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mlserve.core.digests import digest_file
from mlserve.core.evidence import read_sidecar
from mlserve.errors import InvalidInput, NotFound, UsageError
from tests.export.exports import answers, run_export, saved_rows

NETS = """
import torch
from torch import nn

def layers(width=8):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

def make():
    return layers()

def wide():
    return layers(9)

def with_example():
    return layers(), torch.randn(2, 4)

class Longer(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.third(self.second(self.first(x)))

def number():
    return 3
"""

ROWS = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


def trained() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture(autouse=True)
def sample() -> Path:
    Path("nets.py").write_text(NETS)
    return saved_rows(input=ROWS)


def under(prefix: str, weights: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{key}": tensor for key, tensor in weights.items()}


SAVED = {
    "state dict": ("weights.pt", torch.save, lambda weights: weights),
    "upper case": ("WEIGHTS.PTH", torch.save, lambda weights: weights),
    "safetensors": ("weights.safetensors", save_file, lambda weights: weights),
    "checkpoint of a training loop": ("last.ckpt", torch.save, lambda weights: {"epoch": 3, "state_dict": weights}),
    "of DataParallel": ("weights.pt", torch.save, lambda weights: under("module.", weights)),
    "of torch.compile": ("weights.pt", torch.save, lambda weights: under("_orig_mod.", weights)),
    "half precision": ("weights.pt", torch.save, lambda weights: {key: t.half() for key, t in weights.items()}),
}


@pytest.mark.parametrize(("name", "save", "held"), [pytest.param(*case, id=name) for name, case in SAVED.items()])
def test_weights_answer_in_the_module_of_the_factory(name: str, save: Any, held: Any, sample: Path) -> None:
    module = trained()
    save(held(dict(module.state_dict())), name)

    report = run_export(name, factory="nets.py:make", sample=sample)

    assert (report.framework, report.passed, report.signature.batch_dim) == ("torch", True, "batch")
    expected = module(torch.from_numpy(ROWS)).detach().numpy()
    np.testing.assert_allclose(answers(Path("out.onnx"), {"input": ROWS})["output"], expected, atol=2e-3)
    (evidence,) = read_sidecar(Path("out.onnx"), report.digest)
    assert evidence.figures["source_digest"] == digest_file(Path(name))


def test_the_factory_may_give_example_inputs() -> None:
    torch.save(trained().state_dict(), "weights.pt")

    report = run_export("weights.pt", factory="nets.py:with_example")

    assert report.passed
    assert [spec.dims for spec in report.signature.inputs] == [("batch", 4)]


def test_a_named_framework_reads_weights_of_any_suffix(sample: Path) -> None:
    torch.save(trained().state_dict(), "pytorch_model.bin")

    assert run_export("pytorch_model.bin", framework="torch", factory="nets.py:make", sample=sample).passed
    assert run_export("pytorch_model.bin", factory="nets.py:make", sample=sample).framework == "torch"


def test_the_same_weights_give_the_same_bytes(sample: Path) -> None:
    torch.save(trained().state_dict(), "weights.pt")

    first = run_export("weights.pt", Path("a.onnx"), factory="nets.py:make", sample=sample)
    second = run_export("weights.pt", Path("b.onnx"), factory="nets.py:make", sample=sample)

    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("factory", "fact"),
    [
        pytest.param(
            "nets.py:Longer",
            r"lacks 'first\.weight', 'first\.bias', 'second\.weight' and 3 more "
            r"and has '0\.weight', '0\.bias', '2\.weight' and 1 more that the module does not know",
            id="other names",
        ),
        pytest.param("nets.py:wide", r"'0\.weight' has shape \(8, 4\), and \(9, 4\) in the module", id="other shapes"),
        pytest.param("nets.py:number", "the factory gave a int, not a torch module", id="no module"),
    ],
)
def test_weights_that_do_not_fit_are_told_by_name(factory: str, fact: str, sample: Path) -> None:
    torch.save(trained().state_dict(), "weights.pt")

    with pytest.raises(InvalidInput, match=fact):
        run_export("weights.pt", framework="torch", factory=factory, sample=sample)

    assert not Path("out.onnx").exists()


def test_weights_without_a_factory_ask_for_one(sample: Path) -> None:
    torch.save(trained().state_dict(), "weights.pt")

    with pytest.raises(UsageError, match="holds weights") as caught:
        run_export("weights.pt", sample=sample)

    assert "--factory" in str(caught.value.hint)


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran").absolute(),)


@pytest.mark.parametrize("save", [torch.save, lambda held, path: Path(path).write_bytes(pickle.dumps(held))])
def test_code_among_the_weights_is_not_run(save: Any, sample: Path) -> None:
    save({"state_dict": trained().state_dict(), "extra": Payload()}, "weights.pt")

    with pytest.raises((UsageError, InvalidInput)):
        run_export("weights.pt", factory="nets.py:make", sample=sample)

    assert not Path("ran").exists()


def test_a_module_pickled_whole_needs_permission_and_no_factory(sample: Path) -> None:
    torch.save(trained(), "module.pt")

    with pytest.raises(UsageError, match="more than weights") as caught:
        run_export("module.pt", sample=sample)
    report = run_export("module.pt", sample=sample, allow_pickle=True)

    assert "--allow-pickle" in str(caught.value.hint)
    assert report.passed


def test_a_torchscript_archive_is_refused_with_what_to_save_instead(sample: Path) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(trained()), "module.pt")

    with pytest.raises(InvalidInput, match="TorchScript") as caught:
        run_export("module.pt", factory="nets.py:make", sample=sample)

    assert ".pt2" in str(caught.value.hint)


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("model/data.pkl", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))


def test_a_zip_bomb_is_not_unpacked(sample: Path) -> None:
    bomb(Path("weights.pt"))

    with pytest.raises(InvalidInput, match=r"unpacks 'model/data\.pkl'"):
        run_export("weights.pt", factory="nets.py:make", sample=sample)


def test_tensors_without_names_are_no_weights(sample: Path) -> None:
    torch.save([torch.zeros(3)], "weights.pt")

    with pytest.raises(InvalidInput, match="holds a list"):
        run_export("weights.pt", factory="nets.py:make", sample=sample)


@pytest.mark.parametrize(
    ("source", "options", "error", "fact"),
    [
        pytest.param("none.pt", {"factory": "nets.py:make"}, NotFound, "no file 'none.pt'", id="no weights"),
        pytest.param("weights.pt", {"factory": "nets.py:none"}, NotFound, "has no 'none'", id="no function"),
        pytest.param("weights.pt", {"factory": "make"}, UsageError, "does not name a function", id="no module"),
        pytest.param(
            "weights.pt",
            {"factory": "nets.py:make", "framework": "sklearn"},
            UsageError,
            "is for sklearn",
            id="of another framework",
        ),
    ],
)
def test_what_the_words_do_not_say_is_told(
    source: str, options: dict[str, Any], error: type[Exception], fact: str, sample: Path
) -> None:
    torch.save(trained().state_dict(), "weights.pt")

    with pytest.raises(error, match=fact):
        run_export(source, sample=sample, **options)
