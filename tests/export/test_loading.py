"""What may be loaded, what may not, and what is said about it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer

from mlserve.errors import InvalidInput, MlserveError, NotFound, Unsupported, UsageError
from mlserve.export.loading import load_source

HERE = Path()


class Payload:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran").absolute(),)


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".joblib", ".JOBLIB"])
def test_a_pickle_is_not_run_without_permission(suffix: str) -> None:
    path = Path(f"model{suffix}")
    path.write_bytes(pickle.dumps(Payload()))

    with pytest.raises(UsageError) as caught:
        load_source(str(path), allow_pickle=False, folder=HERE)

    assert "--allow-pickle" in str(caught.value.hint)
    assert not Path("ran").exists()


def test_a_pickle_is_loaded_with_permission() -> None:
    Path("model.pkl").write_bytes(pickle.dumps({"a": 1}))

    assert load_source("model.pkl", allow_pickle=True, folder=HERE) == {"a": 1}


def test_a_compressed_joblib_file_is_loaded() -> None:
    joblib.dump([1, 2], "model.joblib", compress=3)

    assert load_source("model.joblib", allow_pickle=True, folder=HERE) == [1, 2]


def test_a_pickle_finds_the_module_that_lies_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("elsewhere")
    folder.mkdir()
    (folder / "beside_pickle.py").write_text("class Kept:\n    value = 7\n")
    (folder / "model.pkl").write_bytes(b"cbeside_pickle\nKept\n.")

    assert load_source("elsewhere/model.pkl", allow_pickle=True, folder=HERE).value == 7


@pytest.mark.parametrize(
    ("name", "content", "error", "fact"),
    [
        pytest.param("model.pkl", b"", InvalidInput, "not a pickle", id="empty pickle"),
        pytest.param("model.joblib", b"garbage", InvalidInput, "not a pickle", id="garbage"),
        pytest.param("model.pkl", b"cno_such_module_here\nA\n.", InvalidInput, "needs the module", id="module missing"),
        pytest.param("model.pkl", b"cos\nno_such\n.", InvalidInput, "not a pickle", id="attribute missing"),
        pytest.param("model.skops", b"garbage", InvalidInput, "not a skops file", id="no skops"),
        pytest.param("model.txt", b"x", Unsupported, "not a file that can be exported", id="other suffix"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(name: str, content: bytes, error: type[Exception], fact: str) -> None:
    Path(name).write_bytes(content)

    with pytest.raises(error, match=fact):
        load_source(name, allow_pickle=True, folder=HERE)


@pytest.mark.parametrize("source", ["nowhere.joblib", "no/such/file", "a:b.skops"])
def test_a_file_that_is_not_there_is_not_found(source: str) -> None:
    with pytest.raises(NotFound):
        load_source(source, allow_pickle=True, folder=HERE)


def test_a_skops_file_of_an_estimator_is_loaded() -> None:
    skops.io.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), "model.skops")

    model = load_source("model.skops", allow_pickle=False, folder=HERE)

    np.testing.assert_allclose(model.coef_, [2.0])


def shift(table: Any) -> Any:
    return table + 1


def test_a_skops_file_with_the_users_own_code_needs_permission() -> None:
    skops.io.dump(FunctionTransformer(shift), "model.skops")

    with pytest.raises(UsageError, match="shift") as caught:
        load_source("model.skops", allow_pickle=False, folder=HERE)

    assert "--allow-pickle" in str(caught.value.hint)
    assert load_source("model.skops", allow_pickle=True, folder=HERE).func is shift


def write_module(text: str, name: str = "own.py") -> str:
    Path(name).write_text(text)
    return name


@pytest.mark.parametrize(
    ("attribute", "loaded"),
    [
        pytest.param("VALUE", 3, id="an object"),
        pytest.param("build", 4, id="a function"),
        pytest.param("partial", 5, id="a partial"),
        pytest.param("Holder.inner", 6, id="an attribute of a class"),
    ],
)
def test_an_attribute_of_a_file_is_the_object_or_what_it_makes(attribute: str, loaded: int) -> None:
    write_module(
        "import functools\nVALUE = 3\ndef build(): return 4\npartial = functools.partial(int, '5')\n"
        "class Holder:\n    inner = 6\n"
    )

    assert load_source(f"own.py:{attribute}", allow_pickle=False, folder=HERE) == loaded


def test_a_module_is_found_in_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    write_module("VALUE = 9\n", "module_in_the_working_directory.py")

    assert load_source("module_in_the_working_directory:VALUE", allow_pickle=False, folder=HERE) == 9


def test_random_weights_are_the_same_at_each_load() -> None:
    write_module("import random, numpy\ndef build(): return random.random(), numpy.random.rand()\n")
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]

    first, second = (load_source("own.py:build", allow_pickle=False, folder=HERE) for _ in range(2))

    assert first == second
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


@pytest.mark.parametrize(
    ("source", "error", "fact"),
    [
        pytest.param("own.py:nothing", NotFound, "has no 'nothing'", id="no attribute"),
        pytest.param("none.py:a", NotFound, "no file 'none.py'", id="no file"),
        pytest.param("no_such_module_at_all:a", NotFound, "no module", id="no module"),
        pytest.param("own.py:fails", InvalidInput, "ZeroDivisionError", id="call fails"),
        pytest.param("broken.py:a", InvalidInput, "SyntaxError", id="import fails"),
        pytest.param("needy.py:a", InvalidInput, "needs the module 'absent_module'", id="needs another module"),
    ],
)
def test_code_that_cannot_be_used_is_refused(source: str, error: type[MlserveError], fact: str) -> None:
    write_module("def fails(): return 1 / 0\n")
    write_module("def\n", "broken.py")
    write_module("import absent_module\n", "needy.py")

    with pytest.raises(error, match=fact):
        load_source(source, allow_pickle=False, folder=HERE)


def test_an_interrupt_in_the_users_code_is_an_interrupt() -> None:
    write_module("def build(): raise KeyboardInterrupt\n")

    with pytest.raises(KeyboardInterrupt):
        load_source("own.py:build", allow_pickle=False, folder=HERE)


def test_the_search_path_is_as_before() -> None:
    import sys

    write_module("import sys\nVALUE = 1\n")
    before = list(sys.path)

    load_source("own.py:VALUE", allow_pickle=False, folder=HERE)

    assert sys.path == before
