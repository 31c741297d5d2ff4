"""Compressed bodies, both ways."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace

from mlserve.bench.conformance.exchange import HEADER_LENGTH, Reply
from mlserve.bench.conformance.probe import Probe, ProbedModel, same
from mlserve.bench.conformance.tensors import binary_request, outputs_of
from mlserve.bench.conformance.verdicts import Book, RuleBroken, expect

book = Book("compression")

ROWS = 64
"""Enough for an answer that is worth compressing."""


def _large(probe: Probe) -> ProbedModel:
    return probe.batchable()


def _inflated(reply: Reply) -> Reply:
    """The reply with its body as it was before compression. Raises RuleBroken."""
    coding = reply.headers.get("content-encoding", "identity")
    try:
        match coding:
            case "gzip":
                body = gzip.decompress(reply.body)
            case "deflate":
                body = zlib.decompress(reply.body)
            case "identity":
                return reply
            case _:
                raise RuleBroken(f"Content-Encoding is '{coding}'")
    except (OSError, EOFError, zlib.error) as error:
        raise RuleBroken(f"a body that is no {coding}: {error}") from None
    return replace(reply, body=body)


@book.should("gzip-request")
def _gzip(probe: Probe) -> None:
    """Takes a body compressed by gzip."""
    model = probe.model()
    body = gzip.compress(json.dumps(model.request()).encode())
    same(
        probe.answer(model, model.request()),
        probe.answer(model, body, {"Content-Encoding": "gzip"}),
        "plain and compressed",
    )


@book.should("deflate-request")
def _deflate(probe: Probe) -> None:
    """Takes a body compressed by deflate (a zlib stream)."""
    model = probe.model()
    body = zlib.compress(json.dumps(model.request()).encode())
    same(
        probe.answer(model, model.request()),
        probe.answer(model, body, {"Content-Encoding": "deflate"}),
        "plain and compressed",
    )


@book.should("gzip-request-with-bytes")
def _gzip_binary(probe: Probe) -> None:
    """JSON and bytes are compressed together; the header has the length of the JSON before that."""
    model = probe.model()
    body, headers = binary_request(model.rows())
    found = probe.answer(model, gzip.compress(body), headers | {"Content-Encoding": "gzip"})
    same(probe.answer(model, model.request()), found, "plain and compressed")


@book.should("gzip-answer")
def _gzip_answer(probe: Probe) -> None:
    """Answers by gzip where the client accepts it, or plainly, and the same."""
    model = _large(probe)
    reply = _inflated(probe.infer(model, model.request(ROWS), {"Accept-Encoding": "gzip"}))
    same(probe.answer(model, model.request(ROWS)), outputs_of(reply), "plain and compressed")


@book.should("deflate-answer")
def _deflate_answer(probe: Probe) -> None:
    """Answers by deflate where the client accepts it, or plainly, and the same."""
    model = _large(probe)
    reply = _inflated(probe.infer(model, model.request(ROWS), {"Accept-Encoding": "deflate"}))
    same(probe.answer(model, model.request(ROWS)), outputs_of(reply), "plain and compressed")


@book.should("answer-with-bytes-has-the-plain-length")
def _header(probe: Probe) -> None:
    """The header of a compressed answer with bytes has the length of the JSON before compression."""
    model = _large(probe)
    request = model.request(ROWS, parameters={"binary_data_output": True})
    reply = probe.infer(model, request, {"Accept-Encoding": "gzip"}).expect(200)
    if "binary_tensor_data" in probe.extensions:
        expect(HEADER_LENGTH in reply.headers, "the header is missing")
    same(probe.answer(model, model.request(ROWS)), outputs_of(_inflated(reply)), "plain and compressed")


@book.must("plain-unless-asked")
def _plain(probe: Probe) -> None:
    """Does not compress for a client that does not accept it."""
    model = _large(probe)
    for headers in ({}, {"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip;q=0, deflate;q=0"}):
        reply = probe.infer(model, model.request(ROWS), headers).expect(200)
        found = reply.headers.get("content-encoding", "identity")
        expect(found == "identity", f"'{found}' for {headers or 'no Accept-Encoding'}")


@book.should("unknown-coding")
def _unknown(probe: Probe) -> None:
    """Refuses a Content-Encoding that it does not know, with 4xx and an error."""
    model = probe.model()
    probe.infer(model, model.request(), {"Content-Encoding": "squeeze"}).refusal()


@book.should("broken-gzip")
def _broken(probe: Probe) -> None:
    """Refuses a body that is not of the coding it says, or cut, with 4xx and an error."""
    model = probe.model()
    plain = json.dumps(model.request()).encode()
    for body in (plain, gzip.compress(plain)[:-12], gzip.compress(plain)[:5]):
        probe.infer(model, body, {"Content-Encoding": "gzip"}).refusal()
    probe.infer(model, model.request()).expect(200)
