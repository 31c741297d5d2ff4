"""Whether and how a version's batches run in slots: which devices, which models, with recorded graphs or without."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mlserve.errors import InvalidInput, Unavailable
from mlserve.runtime.bound import BoundModel, reason_against_graphs, reason_against_slots
from mlserve.runtime.model import OnnxModel
from mlserve.runtime.providers import CPU, CUDA

log = logging.getLogger(__name__)

Mode = Literal["auto", "on", "off"]
RECORDING = {CUDA: {"enable_cuda_graph": "1"}}
"""Provider options of a session that records graphs."""


@dataclass(frozen=True, slots=True)
class Slotted:
    """The model that runs, and in words how: ``slots``, ``slots and graphs``, why not, or nothing where not wanted."""

    model: OnnxModel
    shown: str


def in_slots(model: OnnxModel, sizes: Sequence[int], mode: Mode, reload: Callable[[], OnnxModel]) -> Slotted:
    """``model`` with its batches in slots of ``sizes`` where that is wanted: "auto" is on devices other than the CPU.

    ``reload`` loads it once more as ``RECORDING`` says; the session without graphs is then let go. A model of which no
    graph can be recorded runs in slots without. Rows must be independent, as a certificate says.
    """
    if mode == "off" or (mode == "auto" and model.providers[0] == CPU):
        return Slotted(model, "")
    reason = reason_against_slots(model.signature)
    if reason is not None:
        return Slotted(model, f"no slots: {reason}")
    if model.providers[0] != CUDA:
        return Slotted(BoundModel(model, sizes), "slots")
    reason = reason_against_graphs(model.operators)
    if reason is None:
        try:
            recording = BoundModel(reload(), sizes, is_recorded=True)
        except (InvalidInput, Unavailable) as error:
            reason = error.message
        else:
            model.close()
            return Slotted(recording, "slots and graphs")
    log.info("no CUDA graphs: %s", reason)
    return Slotted(BoundModel(model, sizes), f"slots without graphs: {reason}")
