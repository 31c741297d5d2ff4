"""A metric of the user's own, out of a module in the working directory."""

from pathlib import Path

import numpy as np
import pytest

from mlserve.compare.quality import evaluate, metric_named
from mlserve.errors import InvalidInput, UsageError

CODE = """
import numpy as np
print("hello")

def cost(outputs, labels):
    return np.abs(outputs["y"] - labels).sum()
cost.higher_is_better = False

def spread(outputs, labels):
    assert labels is None
    return outputs["y"].std()

def broken(outputs, labels):
    return outputs["nowhere"]

def wordy(outputs, labels):
    return "good"
"""


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> str:
    """A name that no other test has imported before."""
    Path("own_metrics_4711.py").write_text(CODE)
    monkeypatch.delitem(__import__("sys").modules, "own_metrics_4711", raising=False)
    return "own_metrics_4711"


def test_it_gets_outputs_and_labels_and_says_which_way_is_better(module: str, capsys: pytest.CaptureFixture[str]):
    cost = metric_named(f"{module}:cost")

    assert cost.is_higher_better is False
    assert metric_named(f"{module}:spread").is_higher_better is True
    assert evaluate(f"{module}:cost", {"y": np.array([1.0, 2.0])}, None, np.array([3.0, 3.0])) == 3.0
    assert evaluate(f"{module}:spread", {"y": np.array([1.0, 3.0])}, None, None) == 1.0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "fact", "hint"),
    [
        ("own_metrics_4711:csot", "has no function 'csot'", "did you mean 'cost'?"),
        ("own_metrics_4712:cost", "no module 'own_metrics_4712'", "run it from the folder that the module lies in"),
        ("own_metrics_4711:", "has no function ''", None),
    ],
)
def test_a_function_that_is_not_there_is_a_usage_error(name: str, fact: str, hint: str | None):
    with pytest.raises(UsageError, match=fact) as caught:
        metric_named(name)

    assert caught.value.hint == hint


@pytest.mark.parametrize(("name", "fact"), [("broken", "KeyError: 'nowhere'"), ("wordy", "ValueError")])
def test_what_it_raises_and_what_is_no_number_is_told(module: str, name: str, fact: str):
    with pytest.raises(InvalidInput, match=fact):
        evaluate(f"{module}:{name}", {"y": np.ones(2)}, None, None)


def test_a_module_that_cannot_be_imported_is_told():
    Path("own_metrics_4713.py").write_text("1 / 0")

    with pytest.raises(InvalidInput, match="ZeroDivisionError"):
        metric_named("own_metrics_4713:cost")
