"""What people write by hand: FastAPI, uvicorn, onnxruntime. ``python -m tests.bench.fastapi_handler MODEL PORT``."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Rows(BaseModel):
    features: list[list[float]]


class Answer(BaseModel):
    probabilities: list[list[float]]


def app(model: str) -> FastAPI:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    made = FastAPI()

    # async, so that the short run spares itself the thread pool: the quicker way to write it.
    @made.post("/predict")
    async def predict(rows: Rows) -> Answer:
        (found,) = session.run(None, {"x": np.asarray(rows.features, dtype=np.float32)})
        return Answer(probabilities=found.tolist())

    return made


if __name__ == "__main__":
    uvicorn.run(
        app(sys.argv[1]), port=int(sys.argv[2]), loop="uvloop", http="httptools", access_log=False, log_level="error"
    )
