"""Champion or challenger: which of the two answers a request that names neither version nor stage.

A request with a unit key goes where ``core.assignment`` puts that key, on every server and each time. One without is
dealt out by its number among such requests in this process, so that the challenger gets its share of them too; nothing
is sticky about those. A request of several rows goes to one arm as a whole.
"""

from __future__ import annotations

import numpy as np

from mlserve.core.assignment import CHAMPION, arm_of, salt_of
from mlserve.serving.loaded import Loaded
from mlserve.serving.seam import InferRequest


class Split:
    """A champion and its challenger, both loaded. ``key_input`` names the input whose first element is the unit key."""

    __slots__ = ("_shares", "challenger", "champion", "key_input", "keyless", "salt")

    def __init__(
        self, champion: Loaded, challenger: Loaded, share: float, *, key_input: str | None = None, keyless: int = 0
    ) -> None:
        self.champion = champion
        self.challenger = challenger
        self.key_input = key_input
        self.salt = salt_of(challenger.name, challenger.version)
        self.keyless = keyless
        self._shares = (share,)

    @property
    def share(self) -> float:
        """The challenger's part of the requests, from 0 to 1."""
        return self._shares[0]

    def choose(self, request: InferRequest) -> Loaded:
        """The version that is to answer ``request``."""
        key = request.unit_key
        if key is None and self.key_input is not None:
            key = key_in(request, self.key_input)
        if key is None:
            self.keyless += 1
            key = f"request {self.keyless}"
        return self.champion if arm_of(key, self.salt, self._shares) == CHAMPION else self.challenger


def key_in(request: InferRequest, name: str) -> str | None:
    """The first element of the input ``name`` as text, None where there is none.

    Numbers are written as Python writes them, so 7 and 7.0 are two keys; bytes are read as UTF-8.
    """
    for tensor in request.inputs:
        if tensor.name != name:
            continue
        values = tensor.values
        flat = values.flat if isinstance(values, np.ndarray) else values
        if len(flat) == 0:
            return None
        first = flat[0]
        if isinstance(first, np.generic):
            first = first.item()
        return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)
    return None
