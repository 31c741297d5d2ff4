"""The same handler under mosec, in a virtual environment of its own: ``python mosec_handler.py --port PORT``.

BENCH_MODEL names the model. Imports nothing of ours: this environment has mosec, ONNX Runtime and numpy.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime
from mosec import Server, Worker


class Predictor(Worker):
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows = np.asarray([one["features"] for one in data], dtype=np.float32)
        (found,) = self._session.run(None, {"x": rows})
        return [{"probabilities": row} for row in found.tolist()]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Predictor, num=1, max_batch_size=64, max_wait_time=2)
    server.run()
