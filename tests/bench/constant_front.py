"""mlserve's HTTP front end that answers each POST with the same bytes: ``python -m tests.bench.constant_front PORT``.

The limit of the row on CPU per request: what is left is sockets, HTTP and the reply's head.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any

import uvloop

from mlserve.serving.http import front
from mlserve.serving.http.exchanges import Exchange
from mlserve.serving.http.heads import Head
from tests.serving.fakes import FakeEngine

TEXT = (
    b'{"model_name":"tabular","model_version":"1","outputs":[{"name":"probabilities","datatype":"FP32",'
    b'"shape":[1,2],"data":[0.123456,0.876543]}]}'
)


class ConstantAnswering:
    """In the place of ``Answering``: every request gets the same reply."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def begin(self, exchange: Exchange, head: Head, body: bytes) -> None:
        common = exchange.common
        common.numbered += 1
        # As the short way of a real answer puts it together.
        exchange.reply = b"%bcontent-length: %d\r\nmlserve-request-id: %b-%x\r\n\r\n%b" % (
            common.lines.ok_json,
            len(TEXT),
            common.prefix,
            common.numbered,
            TEXT,
        )


async def serve(port: int) -> None:
    front.Answering = ConstantAnswering  # type: ignore[assignment, misc]
    await front.HttpFront(FakeEngine()).listen("127.0.0.1", port)
    gc.freeze()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
