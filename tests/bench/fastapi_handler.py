"""What people write by hand: FastAPI, uvicorn, onnxruntime.

``python -m tests.bench.fastapi_handler MODEL WORKERS PORT``

``/predict`` takes rows of a table and ``/image`` images, typed as the tutorials type them; ``/tensor`` any array, its
body parsed by hand with orjson, as people write it who have looked where the time goes.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import onnxruntime
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

MODEL = "BENCH_MODEL"
THREADS = "BENCH_THREADS"


class Rows(BaseModel):
    features: list[list[float]]


class Image(BaseModel):
    data: list[list[list[list[float]]]]


class Answer(BaseModel):
    probabilities: list[list[float]]


def app() -> FastAPI:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get(THREADS, "1"))
    session = onnxruntime.InferenceSession(os.environ[MODEL], options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    made = FastAPI()

    # async, so that the short run spares itself the thread pool: the quicker way to write it.
    @made.post("/predict")
    async def predict(rows: Rows) -> Answer:
        (found,) = session.run(None, {name: np.asarray(rows.features, dtype=np.float32)})
        return Answer(probabilities=found.tolist())

    # Not async: a long run goes to the thread pool, so that two cores work.
    @made.post("/image")
    def image(image: Image) -> dict[str, list[list[float]]]:
        (found,) = session.run(None, {name: np.asarray(image.data, dtype=np.float32)})
        return {"data": found.tolist()}

    def run(body: bytes) -> bytes:
        (found,) = session.run(None, {name: np.asarray(orjson.loads(body)["data"], dtype=np.float32)})
        return orjson.dumps({"data": found}, option=orjson.OPT_SERIALIZE_NUMPY)

    @made.post("/tensor")
    async def tensor(request: Request) -> Response:
        import asyncio

        answer = await asyncio.to_thread(run, await request.body())
        return Response(answer, media_type="application/json")

    return made


if __name__ == "__main__":
    os.environ[MODEL] = sys.argv[1]
    uvicorn.run(
        "tests.bench.fastapi_handler:app",
        factory=True,
        workers=int(sys.argv[2]),
        port=int(sys.argv[3]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
    )
