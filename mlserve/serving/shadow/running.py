"""The shadow's own version: opened in its process, and run on what production was asked, as production was."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.core.settings import Device
from mlserve.errors import InvalidInput, MlserveError
from mlserve.runtime.certificate import Certificate, certify
from mlserve.runtime.model import Arrays, OnnxModel, load_model
from mlserve.runtime.threads import ThreadPlan
from mlserve.serving.shadow.mirrored import Mirrored

CERTIFY_S = 10.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of some requests: the version's outputs, or why there are none. ``run_s`` is time on the clock,
    ``cpu_s`` the processor's."""

    mirrored: Mirrored
    outputs: Arrays | None
    error: str = ""
    status: int = 200
    run_s: float = 0.0
    cpu_s: float = 0.0


class ShadowModel:
    """A version, ready to run. ``is_batchable``: whether rows of several requests may share a run."""

    def __init__(self, model: OnnxModel, *, is_batchable: bool) -> None:
        self.model = model
        self.is_batchable = is_batchable

    def run(self, mirrored: Mirrored) -> list[Ran]:
        """All of a run as production ran it; request by request where that fails, or may not be. Never raises."""
        if mirrored.requests > 1 and not self.is_batchable:
            return self._one_by_one(mirrored)
        ran = self._run(mirrored)
        if ran.outputs is None and mirrored.requests > 1:
            return self._one_by_one(mirrored)
        return [ran]

    def _one_by_one(self, mirrored: Mirrored) -> list[Ran]:
        return [self._run(mirrored.alone(at)) for at in range(mirrored.requests)]

    def _run(self, mirrored: Mirrored) -> Ran:
        known = {spec.name for spec in self.model.signature.outputs}
        names = [name for name in mirrored.outputs if name in known]
        if not names:
            wanted = ", ".join(f"'{name}'" for name in mirrored.outputs)
            return Ran(mirrored, None, f"it gives none of what production answered: {wanted}", InvalidInput.http_status)
        start_s, cpu_s = time.perf_counter(), time.process_time()
        try:
            outputs = self.model.run(mirrored.inputs, names)
            if mirrored.head.is_sliced:
                _check_rows(outputs, sum(mirrored.rows_each))
        except MlserveError as error:
            return Ran(mirrored, None, error.message, error.http_status)
        except Exception as error:  # a model can break what runs it in ways nobody has thought of
            return Ran(mirrored, None, f"the run broke: {type(error).__name__}", 500)
        return Ran(mirrored, outputs, run_s=time.perf_counter() - start_s, cpu_s=time.process_time() - cpu_s)


def _check_rows(outputs: Mapping[str, np.ndarray[Any, Any]], rows: int) -> None:
    for name, array in outputs.items():
        if array.shape[:1] != (rows,):
            raise InvalidInput(f"output '{name}' has shape {list(array.shape)} for {rows} rows")


def open_shadow(
    path: Path, *, label: str, device: Device, threads: int, certificate: Mapping[str, Any] | None
) -> ShadowModel:
    """The version in ``path``. Raises as ``load_model``.

    Without a ``certificate`` that says whether its rows are independent, that is shown now.
    """
    model = load_model(path, device=device, threads=ThreadPlan(1, threads), label=label)
    known = None if certificate is None else Certificate.from_dict(certificate)
    shown = known or certify(model, budget_s=CERTIFY_S)
    return ShadowModel(model, is_batchable=shown.batchable)
