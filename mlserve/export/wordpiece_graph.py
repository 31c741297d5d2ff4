"""BERT's tokenizer as a graph: ``text`` string [batch] → ids and mask int64 [batch, sequence], filled up on the right.

The operator BertTokenizer of onnxruntime-extensions does not answer as its original: it takes one text at a time, knows
no special token in a text, strips only some accents, and keeps the beginning of a word that it cannot finish. So it is
given what it does well, words that are normalised and separated already, and those of all rows at once:

    rows joined by a private character ─► characters and special tokens ─► a table of what each becomes ─► joined
        ─► unknown words ─► BertTokenizer ─► ids of all rows in line ─► cut where rows begin, truncated, filled up
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mlserve.export.wordpiece import ROW, UNKNOWN, WordPiece
from mlserve.runtime.extensions import DOMAIN

TEXT = "text"
_DELETED = r"[\x{0}\x{E000}-\x{F8FF}\x{F0000}-\x{FFFFD}\x{100000}-\x{10FFFD}]"
"""Private characters, which BERT's normaliser drops, and NUL, which it drops too and where some operators stop."""

_ML_OPSET = 3


def wordpiece_graph(rules: WordPiece, outputs: Sequence[str], opset: int) -> onnx.ModelProto:
    """The graph of ``rules`` with those of ``input_ids``, ``attention_mask`` and ``token_type_ids`` in ``outputs``."""
    nodes = _Nodes()
    line = _words(nodes, rules)
    ids = nodes.add("BertTokenizer", [line], outputs=3, domain=DOMAIN, **_options(rules))
    _rows(nodes, rules, ids, outputs)
    graph = helper.make_graph(
        nodes.nodes,
        "tokenizer",
        [helper.make_tensor_value_info(TEXT, TensorProto.STRING, ["batch"])],
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in outputs],
        nodes.constants,
    )
    opsets = {"": opset, "ai.onnx.ml": _ML_OPSET, DOMAIN: 1}
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid(*one) for one in opsets.items()])


def _words(nodes: _Nodes, rules: WordPiece) -> str:
    """One string [1]: the words of all rows with a space between them, rows separated by the word ``ROW``."""
    cleaned = nodes.replaced(TEXT, _DELETED, "")
    line = nodes.add("StringJoin", [cleaned, nodes.strings(ROW), nodes.numbers(0)], domain=DOMAIN)
    if rules.alone:
        ranges = "".join(rf"\x{{{low:X}}}-\x{{{high:X}}}" for low, high in rules.alone)
        line = nodes.replaced(line, f"([{ranges}])", r" \1 ")
    units = f"({'|'.join([*map(re.escape, rules.special), '(?s:.)'])})"
    parts = nodes.add(
        "StringRegexSplitWithOffsets", [line, nodes.strings(units), nodes.strings(units)], outputs=4, domain=DOMAIN
    )
    # Shape inference of onnx takes LabelEncoder's input for typed, and ends the process where it is not; Cast types it.
    typed = nodes.add("Cast", [parts], to=TensorProto.STRING)
    table = {**rules.characters, ROW: f" {ROW} ", **{token: f" {token} " for token in rules.special}}
    shown = nodes.add(
        "LabelEncoder",
        [typed],
        domain="ai.onnx.ml",
        keys_strings=list(table),
        values_strings=list(table.values()),
        default_string=UNKNOWN,
    )
    joined = nodes.add("StringJoin", [shown, nodes.strings(""), nodes.numbers(0)], domain=DOMAIN)
    known = nodes.replaced(joined, rf"[^ ]*\x{{{ord(UNKNOWN):X}}}[^ ]*", rules.unknown)
    return nodes.replaced(nodes.replaced(known, " +", " "), "^ | $", "")


def _options(rules: WordPiece) -> dict[str, Any]:
    """``ROW`` is one more piece at the end, so that rows can be told apart."""
    return {
        "vocab_file": "\n".join([*rules.pieces, ROW]),
        "do_lower_case": 0,
        "do_basic_tokenize": 0,
        "tokenize_chinese_chars": 0,
        "strip_accents": 0,
        "suffix_indicator": rules.prefix,
        "unk_token": rules.unknown,
        "cls_token": rules.first,
        "sep_token": rules.last,
        "pad_token": rules.pieces[rules.padding_id],
        "mask_token": rules.unknown,
    }


def _rows(nodes: _Nodes, rules: WordPiece, ids: str, outputs: Sequence[str]) -> None:
    """``ids`` [tokens] of all rows, as ``first, row, ROW, row, …, last``, cut into [batch, sequence]."""
    numbers = nodes.numbers
    count = nodes.add("Shape", [ids])
    last_place = nodes.add("Sub", [count, numbers(1)])
    is_row = nodes.add("Equal", [ids, numbers(len(rules.pieces))])
    marks = nodes.add("Reshape", [nodes.add("NonZero", [is_row]), numbers(-1)])
    begins = nodes.add("Concat", [numbers(0), marks], axis=0)
    ends = nodes.add("Concat", [marks, last_place], axis=0)
    longest = numbers(rules.max_tokens - 1)
    # The place where a row begins holds a mark, which ``first`` takes; ``last`` comes where the row ends.
    lengths = nodes.add("Min", [nodes.add("Sub", [ends, begins]), longest])
    width = nodes.add("Add", [nodes.add("ReduceMax", [lengths], keepdims=0), nodes.number(1)])
    steps = nodes.add("Unsqueeze", [nodes.add("Range", [nodes.number(0), width, nodes.number(1)]), numbers(0)])
    at = nodes.add("Add", [nodes.add("Unsqueeze", [begins, numbers(1)]), steps])
    taken = nodes.add("Gather", [ids, nodes.add("Min", [at, last_place])])
    lengths = nodes.add("Unsqueeze", [lengths, numbers(1)])
    is_inside = nodes.add("Less", [steps, lengths])
    is_last = nodes.add("Equal", [steps, lengths])
    is_first = nodes.add("Equal", [steps, numbers(0)])
    framed = nodes.add("Where", [is_inside, taken, numbers(rules.padding_id)])
    framed = nodes.add("Where", [is_first, numbers(rules.pieces.index(rules.first)), framed])
    framed = nodes.add("Where", [is_last, numbers(rules.pieces.index(rules.last)), framed])
    mask = nodes.add("Cast", [nodes.add("Or", [is_inside, is_last])], to=TensorProto.INT64)
    zeros = nodes.add("Sub", [mask, mask])
    for name, value in (("input_ids", framed), ("attention_mask", mask), ("token_type_ids", zeros)):
        if name in outputs:
            nodes.nodes.append(helper.make_node("Identity", [value], [name], name=name))


class _Nodes:
    """Nodes and constants, named by their order."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: Sequence[str], *, outputs: int = 1, **attributes: Any) -> str:
        """The name of the first output of a new node."""
        name = f"{operator}_{len(self.nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=name, **attributes))
        return name

    def replaced(self, value: str, pattern: str, by: str) -> str:
        inputs = [value, self.strings(pattern), self.strings(by)]
        return self.add("StringRegexReplace", inputs, domain=DOMAIN, global_replace=1)

    def strings(self, *texts: str) -> str:
        return self._constant(np.array(texts, object))

    def numbers(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64))

    def number(self, value: int) -> str:
        return self._constant(np.array(value, np.int64))

    def _constant(self, array: np.ndarray[Any, Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name
