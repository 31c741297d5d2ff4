"""Several graphs joined into one: the outputs of each feed the inputs of the next.

    input x ─► [0/ …preprocess… ] ─ Identity ─► [1/ …model… ] ─ Identity ─► [2/ …postprocess… ] ─► output y

Everything inside a stage gets the stage's number in front, so names never clash. Seams, inputs and outputs are Identity
nodes, which runtimes take out again; so a graph's inside, subgraphs included, is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper
from onnx.compose import add_prefix
from onnx.version_converter import convert_version

from mlserve.core.refs import did_you_mean
from mlserve.core.tensors import Dim, Signature, TensorSpec
from mlserve.errors import InvalidInput, UsageError
from mlserve.graph.properties import get_properties, set_properties
from mlserve.graph.signature import read_signature

DEFAULT_DOMAIN = ""


@dataclass(frozen=True, slots=True)
class Seam:
    """``output`` of stage ``source`` feeds ``input`` of stage ``target``; stages count from 0."""

    source: int
    output: str
    target: int
    input: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How stages are joined. ``inputs`` of the whole are those that nothing feeds, by name: who takes them."""

    signatures: tuple[Signature, ...]
    seams: tuple[Seam, ...]
    inputs: Mapping[str, tuple[tuple[int, TensorSpec], ...]]

    def fed(self, stage: int) -> dict[str, Seam]:
        """The seams into ``stage``, by the input that each feeds."""
        return {seam.input: seam for seam in self.seams if seam.target == stage}


def plan_seams(signatures: Sequence[Signature], mapping: Mapping[str, str]) -> Plan:
    """Which output feeds which input: by ``mapping`` (output → input), else by equal names, else the one left over.

    An output feeds any stage after its own; of several with one name the nearest feeds. Inputs of equal name that
    nothing feeds are one input of the whole. Outputs of the last stage are those of the whole; others that nothing
    takes are dropped. Raises UsageError for names that are not there or a stage that nothing feeds, InvalidInput for
    types and shapes that do not go together.
    """
    if len(signatures) < 2:
        raise UsageError("there is nothing to join", hint="mlserve compose A.onnx B.onnx -o OUT.onnx")
    _check_mapping(signatures, mapping)
    seams: list[Seam] = []
    inputs: dict[str, list[tuple[int, TensorSpec]]] = {}
    for spec in signatures[0].inputs:
        inputs.setdefault(spec.name, []).append((0, spec))
    for target in range(1, len(signatures)):
        found = _feed(signatures, target, mapping)
        if not found:
            wanted = ", ".join(f"'{spec.name}'" for spec in signatures[target].inputs)
            raise UsageError(f"nothing feeds model {target + 1}, which takes {wanted}", hint="--map OUTPUT=INPUT")
        for seam in found:
            _check_seam(signatures, seam)
        seams += found
        taken = {seam.input for seam in found}
        for spec in signatures[target].inputs:
            if spec.name not in taken:
                inputs.setdefault(spec.name, []).append((target, spec))
    for takers in inputs.values():
        for stage, spec in takers[1:]:
            first, known = takers[0]
            _check_fit(f"input '{spec.name}' of model {first + 1}", known, f"that of model {stage + 1}", spec)
    return Plan(tuple(signatures), tuple(seams), {name: tuple(takers) for name, takers in inputs.items()})


def compose(models: Sequence[onnx.ModelProto], plan: Plan) -> onnx.ModelProto:
    """The joined graph of ``models``, which stay as they are. Raises InvalidInput for operator sets that clash."""
    opsets = _opsets(models)
    version = opsets[DEFAULT_DOMAIN]
    stages = [_prefixed(_converted(model, version, number), number) for number, model in enumerate(models)]
    dims = _Dims(plan)
    graph = onnx.GraphProto(name="composed")
    for name, takers in plan.inputs.items():
        stage, spec = takers[0]
        graph.input.append(_value(name, spec, dims.of(stage, spec)))
        graph.node.extend(_identity(name, f"{number}/{name}") for number, _ in takers)
    for number, stage_model in enumerate(stages):
        for seam in plan.fed(number).values():
            graph.node.append(_identity(f"{seam.source}/{seam.output}", f"{number}/{seam.input}"))
        graph.node.extend(stage_model.graph.node)
        graph.initializer.extend(stage_model.graph.initializer)
        graph.sparse_initializer.extend(stage_model.graph.sparse_initializer)
    last = len(stages) - 1
    for spec in plan.signatures[last].outputs:
        graph.node.append(_identity(f"{last}/{spec.name}", spec.name))
        graph.output.append(_value(spec.name, spec, dims.of(last, spec)))
    _check_names(graph)
    joined = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())],
        functions=[function for model in stages for function in model.functions],
        ir_version=max(model.ir_version for model in models),
    )
    properties: dict[str, str] = {}
    for model in models:
        properties |= get_properties(model)
    set_properties(joined, properties)
    return joined


def _check_mapping(signatures: Sequence[Signature], mapping: Mapping[str, str]) -> None:
    outputs = [spec.name for signature in signatures[:-1] for spec in signature.outputs]
    inputs = [spec.name for signature in signatures[1:] for spec in signature.inputs]
    for output, target in mapping.items():
        if output not in outputs:
            raise UsageError(f"no model before the last has an output '{output}'", hint=did_you_mean(output, outputs))
        if target not in inputs:
            raise UsageError(f"no model after the first has an input '{target}'", hint=did_you_mean(target, inputs))


def _feed(signatures: Sequence[Signature], target: int, mapping: Mapping[str, str]) -> list[Seam]:
    """The seams into ``target``."""
    wanted = [spec.name for spec in signatures[target].inputs]
    sources = [(stage, spec.name) for stage in range(target - 1, -1, -1) for spec in signatures[stage].outputs]
    mapped = {name: output for output, name in mapping.items() if name in wanted}
    found: list[Seam] = []
    for name in wanted:
        output = mapped.get(name, name)
        stage = next((stage for stage, candidate in sources if candidate == output), None)
        if stage is not None and (name in mapped or output not in mapping):
            found.append(Seam(stage, output, target, name))
    left = [name for name in wanted if name not in {seam.input for seam in found}]
    nearest = [name for stage, name in sources if stage == target - 1 and name not in mapping]
    unused = [name for name in nearest if name not in {seam.output for seam in found}]
    if not found and len(left) == 1 and len(unused) == 1:
        found.append(Seam(target - 1, unused[0], target, left[0]))
    return found


def _check_seam(signatures: Sequence[Signature], seam: Seam) -> None:
    source, target = signatures[seam.source].output(seam.output), signatures[seam.target].input(seam.input)
    giver, taker = (
        f"output '{seam.output}' of model {seam.source + 1}",
        f"input '{seam.input}' of model {seam.target + 1}",
    )
    _check_fit(giver, source, taker, target)


def _check_fit(giver: str, source: TensorSpec, taker: str, target: TensorSpec) -> None:
    if source.dtype is not target.dtype:
        given, taken = (spec.dtype.oip or spec.dtype.value for spec in (source, target))
        raise InvalidInput(f"{giver} is {given}, and {taker} takes {taken}")
    is_fit = len(source.dims) == len(target.dims) and all(
        given == taken or not isinstance(given, int) or not isinstance(taken, int)
        for given, taken in zip(source.dims, target.dims, strict=True)
    )
    if not is_fit:
        raise InvalidInput(f"{giver} has shape {list(source.shape)}, and {taker} takes {list(target.shape)}")


class _Dims:
    """The names of free axes: one for all that must be equal, different ones for all others."""

    def __init__(self, plan: Plan) -> None:
        self._joined: dict[tuple[int, str], tuple[int, str]] = {}
        for seam in plan.seams:
            self._join(
                seam.source, plan.signatures[seam.source].output(seam.output),
                seam.target, plan.signatures[seam.target].input(seam.input),
            )  # fmt: skip
        for takers in plan.inputs.values():
            for stage, spec in takers[1:]:
                self._join(takers[0][0], takers[0][1], stage, spec)
        self._names: dict[tuple[int, str], str] = {}

    def of(self, stage: int, spec: TensorSpec) -> tuple[Dim, ...]:
        return tuple(self._name((stage, dim)) if isinstance(dim, str) else dim for dim in spec.dims)

    def _join(self, one: int, first: TensorSpec, other: int, second: TensorSpec) -> None:
        for given, taken in zip(first.dims, second.dims, strict=True):
            if isinstance(given, str) and isinstance(taken, str):
                self._joined[self._root((other, taken))] = self._root((one, given))

    def _root(self, key: tuple[int, str]) -> tuple[int, str]:
        while (above := self._joined.get(key, key)) != key:
            key = above
        return key

    def _name(self, key: tuple[int, str]) -> str:
        root = self._root(key)
        if root not in self._names:
            name = root[1]
            while name in self._names.values():
                name = f"{name}_{root[0]}"
            self._names[root] = name
        return self._names[root]


def _opsets(models: Sequence[onnx.ModelProto]) -> dict[str, int]:
    """The highest version of each domain; the default one is always there."""
    opsets = {DEFAULT_DOMAIN: 1}
    for model in models:
        for one in model.opset_import:
            domain = DEFAULT_DOMAIN if one.domain == "ai.onnx" else one.domain
            opsets[domain] = max(opsets.get(domain, 1), one.version)
    return opsets


def _converted(model: onnx.ModelProto, version: int, number: int) -> onnx.ModelProto:
    """``model`` at the ONNX operator set ``version``, a copy where that is another than its own."""
    own = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=version)
    if own == version:
        return model
    try:
        return convert_version(model, version)
    except Exception as error:  # the converter raises whatever its C++ raises
        raise InvalidInput(
            f"model {number + 1} is of operator set {own} and cannot be brought to {version}, which another one has",
            hint=f"mlserve export … --opset {version}",
        ) from error


def _prefixed(model: onnx.ModelProto, number: int) -> onnx.ModelProto:
    """A copy with ``NUMBER/`` before every name, those of inputs and outputs too."""
    return add_prefix(model, f"{number}/", inplace=False)


def _identity(source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Identity", [source], [target], name=f"seam {source} to {target}")


def _value(name: str, spec: TensorSpec, dims: tuple[Dim, ...]) -> Any:
    return helper.make_tensor_value_info(name, spec.dtype.onnx, list(dims))


def _check_names(graph: onnx.GraphProto) -> None:
    """An output of the whole that is called as an input of the whole cannot be told from it."""
    both = {value.name for value in graph.input} & {value.name for value in graph.output}
    if both:
        raise UsageError(f"'{min(both)}' would be an input and an output of the whole", hint="rename one of them")


def signatures_of(models: Sequence[onnx.ModelProto]) -> list[Signature]:
    """What each takes and gives."""
    return [read_signature(model) for model in models]
