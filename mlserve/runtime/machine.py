"""This machine, as far as figures of speed depend on it."""

from __future__ import annotations

import onnxruntime

from mlserve.runtime.processor import processor_name
from mlserve.runtime.tuned import Machine


def machine_here(provider: str, cores: int) -> Machine:
    """This machine, for a process that may use ``cores`` of it and runs models on ``provider``."""
    return Machine(processor_name(), cores, provider, onnxruntime.__version__)
