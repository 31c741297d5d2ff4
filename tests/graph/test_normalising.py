"""Two exports of one model become equal bytes, and nothing leaks."""

import uuid

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from mlserve.graph.document import check_graph
from mlserve.graph.normalising import normalise
from mlserve.graph.properties import get_properties, set_properties
from tests import models


def littered(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """``model`` with what exporters leave behind, different for each ``seed``."""
    note = f"/home/ada/train_{seed}.py:12"
    model.doc_string = note
    model.graph.doc_string = note
    model.graph.name = f"ONNX(MLP){uuid.UUID(int=seed + 2**127).hex}"
    model.graph.metadata_props.add(key="ExportedProgram.graph", value=note)
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = note
        value.metadata_props.add(key="pkg", value=note)
    for node in model.graph.node:
        node.doc_string = note
        node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=note)
        for attribute in node.attribute:
            attribute.doc_string = note
            if attribute.HasField("g"):
                attribute.g.doc_string = note
                attribute.g.node[0].doc_string = note
    for tensor in model.graph.initializer:
        tensor.doc_string = note
        tensor.metadata_props.add(key="pkg", value=note)
    return model


@pytest.mark.parametrize("build", [models.classifier, models.with_control_flow, models.strings])
def test_two_exports_of_one_model_become_equal_bytes(build):
    one, other = (normalise(littered(build(), seed)).SerializeToString(deterministic=True) for seed in (1, 2))

    assert one == other
    assert b"ada" not in one


def test_the_model_itself_is_changed_and_returned():
    model = models.classifier()

    assert normalise(model) is model


def test_what_the_model_computes_stays():
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    models_both = models.classifier(), normalise(littered(models.classifier(), 1))

    before, after = (
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
        for m in models_both
    )

    np.testing.assert_array_equal(before, after)


@given(st.lists(st.tuples(st.sampled_from(["", "ai.onnx", "ai.onnx.ml", "x"]), st.integers(1, 26)), min_size=1))
def test_each_domain_is_imported_once_at_its_highest(imports):
    model = models.classifier()
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in imports)

    normalise(model)

    wanted: dict[str, int] = {}
    for domain, version in imports:
        known = domain.replace("ai.onnx", "") if domain == "ai.onnx" else domain
        wanted[known] = max(version, wanted.get(known, 0))
    assert [(opset.domain, opset.version) for opset in model.opset_import] == sorted(wanted.items())


def test_functions_import_each_domain_once_too():
    model = models.classifier()
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("", 20)]
    model.functions.append(
        helper.make_function("d", "f", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], opsets)
    )
    model.functions[0].doc_string = "note"

    normalise(model)

    assert [opset.version for opset in model.functions[0].opset_import] == [20]
    assert not model.functions[0].doc_string


@pytest.mark.parametrize(("before", "after"), [(14, 10), (10, 10), (8, 8)])
def test_the_ir_is_lowered_to_what_every_runtime_loads_and_never_raised(before: int, after: int):
    model = models.classifier()
    model.ir_version = before

    assert normalise(model).ir_version == after
    check_graph(model)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("main_graph", "main_graph", id="kept"),
        pytest.param("6f9619ff-8b86-d011-b42d-00cf4fc964ff", "model", id="only a uuid"),
        pytest.param("", "model", id="none"),
    ],
)
def test_the_graph_keeps_a_name_without_randomness(before: str, after: str):
    model = models.classifier()
    model.graph.name = before

    assert normalise(model).graph.name == after


def test_the_models_own_properties_stay_in_order():
    model = models.classifier()
    for key in ("b", "a"):
        model.metadata_props.add(key=key, value=key.upper())

    normalise(model)

    assert [(prop.key, prop.value) for prop in model.metadata_props] == [("a", "A"), ("b", "B")]


@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_properties_are_added_and_replaced(first: dict[str, str], second: dict[str, str]):
    model = models.echo()

    set_properties(model, first)
    set_properties(model, second)

    assert get_properties(model) == first | second


@given(st.dictionaries(st.text(), st.text(), min_size=2))
def test_the_order_of_setting_leaves_no_trace(properties: dict[str, str]):
    one, other = models.echo(), models.echo()

    set_properties(one, properties)
    set_properties(other, dict(reversed(properties.items())))

    assert one == other
