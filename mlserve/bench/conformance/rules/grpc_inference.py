"""gRPC: inference, one call a request or many on a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlserve.bench.conformance.calls import Refused, contents_of, infer_message, is_typed, response_outputs
from mlserve.bench.conformance.probe import UNKNOWN, Probe, ProbedModel, same
from mlserve.bench.conformance.rules.datatypes import DATATYPES
from mlserve.bench.conformance.tensors import Tensor, binary_request
from mlserve.bench.conformance.verdicts import Book, Level, RuleBroken, RuleSkipped, expect

book = Book("grpc-infer", port="grpc")
datatypes = Book("grpc-datatypes", port="grpc")
stream = Book("grpc-stream", port="grpc")
classification = Book("grpc-infer", port="grpc", extension="classification")
schedule = Book("grpc-infer", port="grpc", extension="schedule_policy")

LARGE_BYTES = 5_000_000
"""More than the 4 MiB at which gRPC's libraries cut by default, which clients of this protocol lift."""
ON_A_STREAM = 5


def _typed(model: ProbedModel) -> bool:
    return all(is_typed(meta.datatype) for meta in model.inputs)


def _refused(probe: Probe, message: Any, *statuses: str) -> None:
    try:
        probe.port().infer(message)
    except Refused as refusal:
        expect(refusal.status in statuses, f"{refusal.status} in place of {' or '.join(statuses)}: {refusal.sentence}")
    else:
        raise RuleBroken("it was answered")


def _over_http(probe: Probe, model: ProbedModel, tensors: list[Tensor]) -> list[Tensor]:
    if "binary_tensor_data" in probe.extensions:
        return probe.answer(model, *binary_request(tensors, parameters={"binary_data_output": True}))
    return probe.answer(model, model.request())


@book.must("raw-contents")
def _raw(probe: Probe) -> None:
    """Raw contents are answered as the same request is over HTTP."""
    model = probe.model()
    found = probe.port().infer(infer_message(model.name, model.rows()))
    same(_over_http(probe, model, model.rows()), response_outputs(found), "HTTP and gRPC")


@book.must("typed-contents")
def _typed_contents(probe: Probe) -> None:
    """Typed contents are answered as raw ones."""
    model = probe.model(_typed, "inputs other than FP16 and BF16")
    found = probe.port().infer(infer_message(model.name, model.rows(), typed=True))
    same(_over_http(probe, model, model.rows()), response_outputs(found), "HTTP and typed contents")


@book.should("answers-are-raw")
def _answers_raw(probe: Probe) -> None:
    """Answers have raw contents, one for each output, whatever the request had: clients read nothing else rightly."""
    model = probe.model(_typed, "inputs other than FP16 and BF16")
    for typed in (False, True):
        found = probe.port().infer(infer_message(model.name, model.rows(), typed=typed))
        expect(len(found.raw_output_contents) == len(found.outputs), "outputs without raw contents")


@book.must("answer-names-model-version-and-id")
def _names(probe: Probe) -> None:
    """An answer has the model's name, its version, and the request's id."""
    model = probe.model()
    found = probe.port().infer(infer_message(model.name, model.rows(), id="g-7"))
    expect(found.model_name == model.name, f"model_name is '{found.model_name}'")
    expect(not model.versions or found.model_version in model.versions, f"model_version is '{found.model_version}'")
    expect(found.id == "g-7", f"id is '{found.id}'")


@book.must("takes-a-version")
def _version(probe: Probe) -> None:
    """A request may name a version."""
    model = probe.model(lambda model: len(model.versions) > 0, "versions in its metadata")
    found = probe.port().infer(infer_message(model.name, model.rows(), model_version=model.versions[-1]))
    expect(found.model_version == model.versions[-1], f"model_version is '{found.model_version}'")


@book.must("one-output-comes-alone")
def _one(probe: Probe) -> None:
    """A request that asks for one output gets that one."""
    model = probe.giving(2)
    message = infer_message(model.name, model.rows())
    message.outputs.add(name=model.outputs[-1].name)
    found = [one.name for one in probe.port().infer(message).outputs]
    expect(found == [model.outputs[-1].name], f"asked for '{model.outputs[-1].name}', and got {', '.join(found)}")


@book.must("unknown-model")
def _unknown_model(probe: Probe) -> None:
    """Inference on a model that does not exist is NOT_FOUND."""
    _refused(probe, infer_message(UNKNOWN, probe.model().rows()), "NOT_FOUND")


@book.must("unknown-version")
def _unknown_version(probe: Probe) -> None:
    """Inference on a version that does not exist is refused."""
    model = probe.model()
    message = infer_message(model.name, model.rows(), model_version="987654321")
    _refused(probe, message, "NOT_FOUND", "INVALID_ARGUMENT", "UNAVAILABLE")


@book.must("unknown-input")
def _unknown_input(probe: Probe) -> None:
    """An input that the model does not have is INVALID_ARGUMENT."""
    model = probe.model()
    message = infer_message(model.name, model.rows())
    message.inputs[0].name = "no-such-input"
    _refused(probe, message, "INVALID_ARGUMENT")


@book.must("missing-input")
def _missing(probe: Probe) -> None:
    """A request without the model's inputs is INVALID_ARGUMENT."""
    _refused(probe, infer_message(probe.model().name, []), "INVALID_ARGUMENT")


@book.must("unknown-output")
def _unknown_output(probe: Probe) -> None:
    """An output that the model does not have is INVALID_ARGUMENT."""
    model = probe.model()
    message = infer_message(model.name, model.rows())
    message.outputs.add(name="no-such-output")
    _refused(probe, message, "INVALID_ARGUMENT", "NOT_FOUND")


@book.must("other-datatype")
def _other_type(probe: Probe) -> None:
    """An input of another datatype than the model's is INVALID_ARGUMENT."""
    model = probe.model()
    message = infer_message(model.name, model.rows())
    message.inputs[0].datatype = "INT8" if message.inputs[0].datatype != "INT8" else "BYTES"
    _refused(probe, message, "INVALID_ARGUMENT")


@book.must("negative-dimension")
def _negative(probe: Probe) -> None:
    """A shape with a negative size is INVALID_ARGUMENT."""
    model = probe.model()
    message = infer_message(model.name, model.rows())
    message.inputs[0].shape[0] = -1
    _refused(probe, message, "INVALID_ARGUMENT")


@book.must("raw-and-typed")
def _both(probe: Probe) -> None:
    """Raw contents beside typed ones are INVALID_ARGUMENT."""
    model = probe.model(_typed, "inputs other than FP16 and BF16")
    tensors = model.rows()
    message = infer_message(model.name, tensors)
    contents_of(tensors[0], message.inputs[0])
    _refused(probe, message, "INVALID_ARGUMENT")


@book.must("neither-raw-nor-typed")
def _neither(probe: Probe) -> None:
    """Inputs without contents are INVALID_ARGUMENT."""
    model = probe.model()
    message = infer_message(model.name, model.rows())
    del message.raw_input_contents[:]
    _refused(probe, message, "INVALID_ARGUMENT")


@book.must("too-few-raw-contents")
def _few(probe: Probe) -> None:
    """Fewer raw contents than inputs, or more, are INVALID_ARGUMENT."""
    model = probe.model()
    message = infer_message(model.name, model.rows())
    message.raw_input_contents.append(b"")
    _refused(probe, message, "INVALID_ARGUMENT")


@book.must("raw-contents-of-another-length")
def _length(probe: Probe) -> None:
    """Raw contents that are not of the shape's length are INVALID_ARGUMENT."""
    model = probe.model()
    for change in (b"\0\0\0\0", None):
        message = infer_message(model.name, model.rows())
        blob = message.raw_input_contents[0]
        message.raw_input_contents[0] = blob + change if change else blob[:-1]
        _refused(probe, message, "INVALID_ARGUMENT")


@book.must("typed-contents-of-another-length")
def _typed_length(probe: Probe) -> None:
    """Typed contents with fewer elements than the shape says are INVALID_ARGUMENT."""
    model = probe.model(_typed, "inputs other than FP16 and BF16")
    tensors = model.rows()
    message = infer_message(model.name, tensors, typed=True)
    message.inputs[0].ClearField("contents")
    first = tensors[0]
    contents_of(Tensor(first.name, first.datatype, first.values.reshape(-1)[:-1]), message.inputs[0])
    if first.values.size < 2:
        raise RuleSkipped("needs an input of two elements")
    _refused(probe, message, "INVALID_ARGUMENT")


@book.must("garbage-is-refused")
def _garbage(probe: Probe) -> None:
    """Bytes that are no message are refused, and the server lives on."""
    try:
        probe.port().raw_call("ModelInfer", b"\xff" * 64)
    except Refused as refusal:
        expect(refusal.status in ("INVALID_ARGUMENT", "INTERNAL", "UNKNOWN"), f"{refusal.status}: {refusal.sentence}")
    else:
        raise RuleBroken("it was answered")
    model = probe.model()
    probe.port().infer(infer_message(model.name, model.rows()))


@book.should("large-messages")
def _large(probe: Probe) -> None:
    """Messages of more than 4 MiB are taken, as Triton's client sends them."""
    model = max((one for one in probe.models if one.is_batchable), key=_row_bytes, default=probe.batchable())
    count = LARGE_BYTES // max(_row_bytes(model), 1) + 1
    found = response_outputs(probe.port().infer(infer_message(model.name, model.rows(count))))
    expect(all(one.shape[:1] == [count] for one in found), f"shapes {[one.shape for one in found]}")


@book.must("parameters-of-all-kinds")
def _parameters(probe: Probe) -> None:
    """Parameters may be texts, integers, floats and truths; those without a meaning change nothing."""
    model = probe.model()
    message = infer_message(model.name, model.rows())
    message.parameters["conform_text"].string_param = "a"
    message.parameters["conform_whole"].int64_param = 3
    message.parameters["conform_unsigned"].uint64_param = 2**63
    message.parameters["conform_float"].double_param = 0.5
    message.parameters["conform_truth"].bool_param = True
    same(_over_http(probe, model, model.rows()), response_outputs(probe.port().infer(message)), "with parameters")


@schedule.must("priority-and-timeout")
def _priority(probe: Probe) -> None:
    """priority is taken as uint64_param and timeout as int64_param, as Triton's client sends them."""
    model = probe.model()
    message = infer_message(model.name, model.rows())
    message.parameters["priority"].uint64_param = 1
    message.parameters["timeout"].int64_param = 30_000_000
    same(_over_http(probe, model, model.rows()), response_outputs(probe.port().infer(message)), "with a priority")


@classification.must("classes")
def _classes(probe: Probe) -> None:
    """An output with the parameter classification comes as BYTES of value and index."""

    def scores(model: ProbedModel) -> list[str]:
        return [meta.name for meta in model.outputs if meta.datatype in ("FP32", "FP64") and len(meta.shape) == 2]

    model = probe.model(lambda model: model.is_batchable and bool(scores(model)), "rows of float scores as an output")
    message = infer_message(model.name, model.rows(2))
    message.outputs.add(name=scores(model)[0]).parameters["classification"].int64_param = 1
    (found,) = response_outputs(probe.port().infer(message))
    expect(found.datatype == "BYTES" and found.shape == [2, 1], f"{found.datatype} of shape {found.shape}")
    expect(all(b":" in value for value in found.values.reshape(-1)), f"classes {found.flat()}")


def _of_datatype(datatype: str, typed: bool) -> Callable[[Probe], None]:
    def check(probe: Probe) -> None:
        model, at = probe.taking(datatype)
        if typed and not _typed(model):
            raise RuleSkipped("a model with FP16 or BF16 beside it")
        tensors = model.rows()
        found = response_outputs(probe.port().infer(infer_message(model.name, tensors, typed=typed)))
        same(_over_http(probe, model, tensors), found, f"HTTP and gRPC with '{tensors[at].name}'")

    return check


for _datatype in DATATYPES:
    datatypes.add(
        f"{_datatype.lower()}-raw", Level.MUST, f"{_datatype} is taken as raw contents", _of_datatype(_datatype, False)
    )
    if is_typed(_datatype):
        datatypes.add(
            f"{_datatype.lower()}-typed",
            Level.MUST,
            f"{_datatype} is taken as typed contents",
            _of_datatype(_datatype, True),
        )


def _row_bytes(model: ProbedModel) -> int:
    return sum(len(tensor.raw()) for tensor in model.rows(1))


def _requests(model: ProbedModel, count: int = ON_A_STREAM) -> list[Any]:
    return [infer_message(model.name, model.rows(), id=f"s-{number}") for number in range(count)]


@stream.must("each-request-is-answered")
def _stream(probe: Probe) -> None:
    """ModelStreamInfer answers each request of a stream once, with its id, as ModelInfer does."""
    model = probe.model()
    found = probe.port().stream(_requests(model))
    errors = [one.error_message for one in found if one.error_message]
    expect(not errors, f"errors {errors}")
    ids = sorted(one.infer_response.id for one in found)
    expect(ids == sorted(f"s-{number}" for number in range(ON_A_STREAM)), f"answers to {ids}")
    expected = _over_http(probe, model, model.rows())
    for one in found:
        same(expected, response_outputs(one.infer_response), "HTTP and a stream")


@stream.must("an-error-is-one-answer")
def _stream_error(probe: Probe) -> None:
    """A wrong request on a stream gets an error_message, and the others their answers."""
    model = probe.model()
    requests = _requests(model)
    requests[1] = infer_message(UNKNOWN, model.rows(), id="s-1")
    found = probe.port().stream(requests)
    wrong = [one for one in found if one.error_message]
    expect(len(wrong) == 1, f"{len(wrong)} errors for one wrong request")
    expect(len(found) == ON_A_STREAM, f"{len(found)} answers to {ON_A_STREAM} requests")


@stream.must("an-empty-stream-ends")
def _stream_empty(probe: Probe) -> None:
    """A stream without requests ends without an answer."""
    found = probe.port().stream([])
    expect(not found, f"{len(found)} answers")


@stream.should("errors-as-statuses-on-demand")
def _stream_status(probe: Probe) -> None:
    """With the metadata triton_grpc_error a wrong request ends the stream with its status."""
    model = probe.model()
    wrong = infer_message(UNKNOWN, model.rows())
    try:
        found = probe.port().stream([wrong], [("triton_grpc_error", "true")])
    except Refused as refusal:
        expect(refusal.status == "NOT_FOUND", f"{refusal.status}: {refusal.sentence}")
    else:
        raise RuleBroken(f"the stream ended well, with {len(found)} answers")


@book.must("answers-go-to-their-requests")
def _at_once(probe: Probe) -> None:
    """Rows of one request keep their order, and are answered as alone."""
    model = probe.batchable()
    whole = response_outputs(probe.port().infer(infer_message(model.name, model.rows(3))))
    for row in range(3):
        alone = [Tensor(one.name, one.datatype, one.values[[row]]) for one in model.rows(3)]
        found = response_outputs(probe.port().infer(infer_message(model.name, alone)))
        same(found, [Tensor(one.name, one.datatype, np.asarray(one.values[[row]])) for one in whole], f"row {row}")
