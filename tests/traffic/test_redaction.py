"""What a policy lets through: by tensor, by column, by model; and that nothing that it drops reaches the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidConfig
from mlserve.rows.capture_file import files_of
from mlserve.traffic.recorded import Source
from mlserve.traffic.redaction import Redaction, read_policy
from mlserve.traffic.surveying import requests_of
from tests.traffic.making import captured, recorded

KEY = b"a secret of some length"


def policy(folder: Path, text: str, key: bytes | None = KEY) -> Redaction:
    path = folder / "policy.toml"
    path.write_text(text)
    return read_policy(path, key)


def apply(redaction: Redaction, model: str = "m", **arrays: Any) -> dict[str, Any]:
    found = redaction.apply(model, "input", {name: np.array(value) for name, value in arrays.items()})
    assert found is not None
    return dict(found)


def test_without_a_policy_all_is_kept_as_it_is() -> None:
    arrays = {"x": np.ones(3)}

    assert read_policy(None, None).apply("m", "input", arrays) is arrays


def test_what_is_not_named_is_dropped_where_the_default_says_so(tmp_path: Path) -> None:
    redaction = policy(tmp_path, 'default = "deny"\n[inputs]\na = "keep"\n')

    assert apply(redaction, a=[1.0], b=[2.0]).keys() == {"a"}
    assert redaction.apply("m", "output", {"a": np.ones(1)}) == {}


def test_columns_have_rules_of_their_own(tmp_path: Path) -> None:
    given = np.array([[1.26, 2.0, 3.0, 4.0]], np.float32)
    redaction = policy(tmp_path, '[inputs]\nx = { columns = { "0" = { round = 1 }, "2-9" = "drop" } }\n')

    (found,) = apply(redaction, x=given).values()

    assert found.dtype == np.float32
    assert found[0, :2].tolist() == [np.float32(1.3), 2.0]
    assert np.isnan(found[0, 2:]).all()
    assert given[0, 2] == 3.0, "what is still being answered with must not change"


def test_columns_that_no_rule_names_follow_the_default(tmp_path: Path) -> None:
    redaction = policy(tmp_path, 'default = "deny"\n[inputs]\nx = { columns = { "1" = "keep" } }\n')

    assert apply(redaction, x=[[1, 2, 3]])["x"].tolist() == [[0, 2, 0]]


def test_hashes_are_equal_where_values_are_and_need_the_key(tmp_path: Path) -> None:
    text = '[inputs]\nx = "hash"\n'
    one, other = policy(tmp_path, text), policy(tmp_path, text, b"another secret, as long")
    names = np.array(["ann", "bob", "ann"], object)

    found = apply(one, x=names)["x"].tolist()
    assert found[0] == found[2] != found[1]
    assert found != apply(other, x=names)["x"].tolist()
    numbers = apply(one, x=np.array([5, 6, 5], np.int64))["x"]
    assert numbers.dtype == np.int64
    assert numbers[0] == numbers[2] != numbers[1]
    assert 5 not in numbers
    assert np.isnan(apply(one, x=np.ones(2, np.float32))["x"]).all()


def test_a_model_s_rules_go_before_those_for_all(tmp_path: Path) -> None:
    redaction = policy(tmp_path, '[inputs]\nx = "drop"\n[models.fraud.inputs]\nx = "keep"\n')

    assert apply(redaction, "fraud", x=[1]).keys() == {"x"}
    assert apply(redaction, "other", x=[1]) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('default = "drop"', "it is keep or deny"),
        ('[inputs]\nx = "hide"', "a rule is keep, drop, hash"),
        ('[inputs]\nx = { columns = { "1:2" = "keep" } }', "is no column"),
        ("[input]\nx = 1", "no 'input' here"),
        ("[inputs", "cannot be read"),
    ],
)
def test_a_policy_that_is_none_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        policy(tmp_path, text)


def test_hashing_without_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no key") as refused:
        policy(tmp_path, '[inputs]\nx = { columns = { "0" = "hash" } }', key=None)
    assert "serve.capture_key_file" in str(refused.value.hint)


def test_unit_keys_are_hashed_with_the_key() -> None:
    assert Redaction(key=KEY).unit_key("ann") != Redaction().unit_key("ann")
    assert len(Redaction().unit_key("ann")) == 32


def test_what_is_dropped_never_reaches_the_disk(tmp_path: Path) -> None:
    spec = TensorSpec("name", DType.STRING, ("batch",))
    source = Source("m", 1, None, Signature((spec,), (spec,)))
    names = np.array(["Ann Example"], object)
    one = recorded((1,), source=source, inputs={"name": names}, outputs={"name": names})

    captured(tmp_path / "c", one, redaction=policy(tmp_path, '[inputs]\nname = "drop"\n[outputs]\nname = "hash"\n'))

    (path,) = files_of(tmp_path / "c")
    assert b"Ann Example" not in path.read_bytes()
    (found,) = requests_of(tmp_path / "c")
    assert found["inputs"] == {"name": None}
    assert len(found["outputs"]["name"][0]) == 32
