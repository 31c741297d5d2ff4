"""Signatures: reading back, fitting arrays, standing in for one another."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput

dims = st.one_of(st.integers(0, 5), st.sampled_from(["batch", "seq", "N"]), st.none())
specs = st.builds(
    TensorSpec, st.text(min_size=1, max_size=5), st.sampled_from(DType), st.lists(dims, max_size=4).map(tuple)
)


def distinct(items: list[TensorSpec]) -> tuple[TensorSpec, ...]:
    return tuple({spec.name: spec for spec in items}.values())


some_specs = st.lists(specs, max_size=4).map(distinct)
signatures = st.builds(Signature, some_specs, some_specs)


@given(signatures)
def test_a_signature_survives_json(signature: Signature):
    assert Signature.from_dict(json.loads(json.dumps(signature.to_dict()))) == signature


@given(signatures)
def test_a_signature_can_stand_in_for_itself(signature: Signature):
    assert signature.incompatibilities(signature) == []


@given(specs)
def test_a_spec_accepts_an_array_of_its_own_shape(spec: TensorSpec):
    assert spec.accepts([7 if length == -1 else length for length in spec.shape])


@given(specs, st.integers(0, 3))
def test_a_spec_refuses_another_rank(spec: TensorSpec, extra: int):
    assert not spec.accepts([1] * (len(spec.dims) + 1 + extra))


def test_a_spec_refuses_another_length_where_it_is_fixed():
    assert not TensorSpec("x", DType.FLOAT32, ("batch", 4)).accepts([1, 3])


X = TensorSpec("x", DType.FLOAT32, ("batch", 4))
Y = TensorSpec("y", DType.FLOAT32, ("batch", 3))
OLD = Signature((X,), (Y,))


@pytest.mark.parametrize(
    ("newer", "problem"),
    [
        pytest.param(Signature((), (Y,)), "input 'x' is gone", id="input gone"),
        pytest.param(Signature((X, replace(X, name="z")), (Y,)), "input 'z' is new", id="input new"),
        pytest.param(Signature((X,), ()), "output 'y' is gone", id="output gone"),
        pytest.param(
            Signature((replace(X, dtype=DType.FLOAT64),), (Y,)), "input 'x' was float32 and is float64", id="dtype"
        ),
        pytest.param(Signature((replace(X, dims=("batch",)),), (Y,)), "input 'x' had 2 dims and has 1", id="rank"),
        pytest.param(
            Signature((replace(X, dims=("batch", 5)),), (Y,)), "input 'x' was [-1, 4] and is [-1, 5]", id="length"
        ),
        pytest.param(
            Signature((replace(X, dims=(1, 4)),), (Y,)), "input 'x' was [-1, 4] and is [1, 4]", id="input narrowed"
        ),
        pytest.param(
            Signature((X,), (replace(Y, dims=("batch", None)),)),
            "output 'y' was [-1, 3] and is [-1, -1]",
            id="output loosened",
        ),
    ],
)
def test_what_would_break_a_client_is_said(newer: Signature, problem: str):
    assert OLD.incompatibilities(newer) == [problem]


@pytest.mark.parametrize(
    "newer",
    [
        pytest.param(Signature((replace(X, dims=("batch", "width")),), (Y,)), id="accepts more"),
        pytest.param(Signature((replace(X, dims=("N", 4)),), (Y,)), id="axis renamed"),
        pytest.param(Signature((X,), (Y, replace(Y, name="z"))), id="gives more"),
    ],
)
def test_what_no_client_notices_is_compatible(newer: Signature):
    assert OLD.incompatibilities(newer) == []


@pytest.mark.parametrize(
    ("signature", "name"),
    [
        pytest.param(OLD, "batch", id="shared"),
        pytest.param(Signature((X,), (replace(Y, dims=("N", 3)),)), None, id="two names"),
        pytest.param(Signature((replace(X, dims=()),), (Y,)), None, id="a scalar"),
        pytest.param(Signature((replace(X, dims=(None, 4)),), (replace(Y, dims=(None,)),)), None, id="no name"),
        pytest.param(Signature((replace(X, dims=(1, 4)),), (replace(Y, dims=(1,)),)), None, id="fixed"),
        pytest.param(Signature((), ()), None, id="nothing"),
    ],
)
def test_the_batch_axis_is_the_one_that_all_share(signature: Signature, name: str | None):
    assert signature.batch_dim == name


def test_an_unknown_input_names_the_nearest():
    with pytest.raises(InvalidInput, match="the model has no input 'ids'") as caught:
        Signature((TensorSpec("input_ids", DType.INT64, ()),), ()).input("ids")

    assert caught.value.hint == "it has input_ids"


def test_named_parts_are_found():
    assert (OLD.input("x"), OLD.output("y")) == (X, Y)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="empty"),
        pytest.param({"name": "x", "datatype": None, "dims": []}, id="no datatype"),
        pytest.param({"name": "x", "datatype": "FP33", "dims": []}, id="unknown datatype"),
        pytest.param({"name": "x", "datatype": "FP32", "dims": "ab"}, id="text as dims"),
        pytest.param({"name": "x", "datatype": "FP32", "dims": [1.5]}, id="fraction"),
        pytest.param({"name": "x", "datatype": "FP32", "dims": [-1]}, id="negative"),
        pytest.param({"name": "x", "datatype": "FP32", "dims": [True]}, id="boolean"),
        pytest.param({"name": "x", "datatype": "FP32", "dims": None}, id="no dims"),
        pytest.param("x", id="text"),
    ],
)
def test_what_is_no_tensor_description_is_refused(fields):
    with pytest.raises(InvalidInput):
        TensorSpec.from_dict(fields)


@pytest.mark.parametrize("fields", [{}, {"inputs": [], "outputs": 3}, {"inputs": ["x"], "outputs": []}, None])
def test_what_is_no_signature_is_refused(fields):
    with pytest.raises(InvalidInput):
        Signature.from_dict(fields)
