"""The newest models that the installed ONNX Runtime loads, found by loading some: tables are soon out of date.

``onnx`` may be newer, and then writes by default what ONNX Runtime refuses: onnx 1.23 writes IR 14 and opset 28, while
ONNX Runtime 1.31 loads IR 13 and opset 26 at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from mlserve.errors import MlserveError
from mlserve.runtime.model import load_model

KNOWN_IR, KNOWN_OPSET = 10, 20
"""What every ONNX Runtime that mlserve takes is known to load, and what mlserve writes."""

MARGIN = 2
"""So far beyond what onnx itself writes is tried, for ONNX Runtime may be the newer of the two."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The highest IR and the highest opset of the ONNX domain that load; 0 where none did."""

    ir: int
    opset: int

    @property
    def is_enough(self) -> bool:
        """Whether what mlserve writes can be loaded."""
        return self.ir >= KNOWN_IR and self.opset >= KNOWN_OPSET


def find_ceilings() -> Ceilings:
    """The ceilings of the ONNX Runtime that is installed."""
    ir = next((ir for ir in _down(onnx.IR_VERSION) if _is_loaded(ir, KNOWN_OPSET)), 0)
    newest = onnx.defs.onnx_opset_version()
    opset = next((opset for opset in _down(newest) if _is_loaded(min(ir or KNOWN_IR, KNOWN_IR), opset)), 0)
    return Ceilings(ir, opset)


def onnx_writes() -> Ceilings:
    """The IR and opset that the installed onnx writes where nobody says which."""
    return Ceilings(onnx.IR_VERSION, onnx.defs.onnx_opset_version())


def _down(newest: int) -> range:
    return range(newest + MARGIN, 0, -1)


def _is_loaded(ir: int, opset: int) -> bool:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, ir_version=ir, opset_imports=[helper.make_opsetid("", opset)])
    try:
        load_model(model.SerializeToString(), device="cpu").close()
    except MlserveError:
        return False
    return True
