"""Requests for texts in, arrays of one batch out: as for any model, with each request's wish beside its rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from mlserve.checkpoint.generation import SIGNATURE, read_wish
from mlserve.serving.gathering import Array, Intake
from mlserve.serving.generation.runner import ECHOES, MAX_TOKENS, NO_SEED, SEED, TEMPERATURE, TOP_P
from mlserve.serving.seam import InferRequest


class GenerationIntake(Intake):
    """Requests of unlike wishes share a run: each row is continued by its own."""

    def __init__(self, *, is_batchable: bool) -> None:
        super().__init__(SIGNATURE, is_batchable=is_batchable)

    def admit(self, request: InferRequest) -> tuple[int, Hashable]:
        """As ``Intake.admit``. Raises InvalidInput for parameters that no text can be continued by, too."""
        read_wish(request.parameters)
        return super().admit(request)

    def gather(self, requests: Sequence[InferRequest]) -> dict[str, Array]:
        arrays = super().gather(requests)
        wishes = [
            wish
            for request in requests
            for wish in [read_wish(request.parameters)] * (request.inputs[0].shape[0] if request.inputs else 0)
        ]
        return arrays | {
            MAX_TOKENS: np.array([wish.max_tokens for wish in wishes], np.int64),
            TEMPERATURE: np.array([wish.temperature for wish in wishes], np.float64),
            TOP_P: np.array([wish.top_p for wish in wishes], np.float64),
            SEED: np.array([NO_SEED if wish.seed is None else wish.seed for wish in wishes], np.int64),
            ECHOES: np.array([wish.echoes for wish in wishes], bool),
        }
