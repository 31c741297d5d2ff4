"""The port behind which a version runs: ONNX in this process, a language model in one of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from mlserve.core.tensors import Signature

Arrays = dict[str, np.ndarray[Any, Any]]


class Runner(Protocol):
    """A loaded version. ``run`` may be called from several threads."""

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What computes, the first choice first."""

    @property
    def platform(self) -> str:
        """What the protocol calls its kind."""

    @property
    def is_repeatable(self) -> bool:
        """Whether equal inputs get equal answers: nothing draws random numbers."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it computes in another process, so that a run needs a thread to wait in but no core of ours."""

    @property
    def is_up(self) -> bool:
        """Whether it can answer now."""

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]], outputs: Sequence[str] | None = None) -> Arrays:
        """The outputs by name, all of them in the signature's order, or ``outputs`` in theirs.

        Raises InvalidInput for what it refuses, Unavailable when it cannot answer now.
        """

    def close(self) -> None:
        """Let it go. Closing again does nothing."""
