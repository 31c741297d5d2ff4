"""ONNX Runtime alone, the limit of every server on it: ``python -m tests.bench.bare_session MODEL INPUTS.npz``.

Each line on stdin, ``ROWS CALLERS THREADS SECONDS``, is answered with the rows a second of so many callers of one
session, each with so many rows a run.
"""

from __future__ import annotations

import sys
import threading
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime


def session_of(model: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def rows_per_s(session: Any, inputs: dict[str, Any], rows: int, callers: int, seconds: float) -> float:
    feeds = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()}
    session.run(None, feeds)
    counts = [0] * callers
    began_s = perf_counter()
    end_s = began_s + seconds

    def call(number: int) -> None:
        while perf_counter() < end_s:
            session.run(None, feeds)
            counts[number] += rows

    threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (perf_counter() - began_s)


def main(model: str, inputs_file: str) -> None:
    inputs = dict(np.load(inputs_file))
    session, threads_now = None, 0
    for line in sys.stdin:
        rows, callers, threads, seconds = line.split()
        if int(threads) != threads_now:  # one at a time: a pool of threads beside it would be in the way
            session, threads_now = session_of(model, int(threads)), int(threads)
        print(rows_per_s(session, inputs, int(rows), int(callers), float(seconds)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
