"""HTTP itself: connections that are kept, bodies in pieces, and what is no HTTP at all. Source: RFC 9112, RFC 9110."""

from __future__ import annotations

import json

from mlserve.bench.conformance.exchange import Reply
from mlserve.bench.conformance.probe import Probe, ProbedModel, same
from mlserve.bench.conformance.tensors import outputs_of
from mlserve.bench.conformance.verdicts import Book, expect

book = Book("http")

CLOSED_WITHIN_S = 5.0


def _body(model: ProbedModel) -> bytes:
    return json.dumps(model.request()).encode()


def _head(probe: Probe, model: ProbedModel, length: int | None, **headers: str) -> bytes:
    spelt = {name.replace("_", "-"): value for name, value in headers.items()}
    return probe.http.head("POST", f"{model.path}/infer", spelt, length)


def _is_expected(probe: Probe, model: ProbedModel, reply: Reply) -> None:
    same(probe.answer(model, model.request()), outputs_of(reply), "another answer than to a plain request")


def _lives(probe: Probe) -> None:
    model = probe.model()
    probe.infer(model, model.request()).expect(200)


@book.must("connections-are-kept")
def _kept(probe: Probe) -> None:
    """A connection takes one request after the other."""
    model = probe.model()
    body = _body(model)
    with probe.http.connected() as connection:
        for _ in range(3):
            connection.send(_head(probe, model, len(body)) + body)
            _is_expected(probe, model, connection.reply())


@book.should("kept-after-a-refusal")
def _kept_after(probe: Probe) -> None:
    """A connection lives on after a refused request whose body was whole."""
    model = probe.model()
    body = _body(model)
    with probe.http.connected() as connection:
        connection.send(_head(probe, model, 2) + b"{]")
        connection.reply().refusal()
        connection.send(_head(probe, model, len(body)) + body)
        _is_expected(probe, model, connection.reply())


@book.must("pipelined-answers-are-in-order")
def _pipelined(probe: Probe) -> None:
    """Requests sent without waiting are answered in their order."""
    model = probe.model()
    bodies = [json.dumps(model.request(id=f"p-{number}")).encode() for number in range(8)]
    with probe.http.connected() as connection:
        connection.send(b"".join(_head(probe, model, len(body)) + body for body in bodies))
        found = [connection.reply() for _ in bodies]
    ids = [reply.document().get("id") for reply in found]
    expect(ids == [f"p-{number}" for number in range(8)], f"answers to {ids}")


@book.must("close-is-obeyed")
def _close(probe: Probe) -> None:
    """A request with Connection: close is answered, and then the connection is closed."""
    model = probe.model()
    body = _body(model)
    with probe.http.connected() as connection:
        connection.send(_head(probe, model, len(body), Connection="close") + body)
        _is_expected(probe, model, connection.reply())
        expect(connection.is_closed(CLOSED_WITHIN_S), "the connection stays open")


@book.must("http-1.0-is-answered")
def _old(probe: Probe) -> None:
    """A request of HTTP/1.0 is answered, and then the connection is closed."""
    head = probe.http.head("GET", "/v2").replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")
    with probe.http.connected() as connection:
        connection.send(head)
        expect(connection.reply("GET").expect(200).document()["name"] == probe.server["name"], "another answer")
        expect(connection.is_closed(CLOSED_WITHIN_S), "the connection stays open")


@book.must("header-names-have-no-case")
def _case(probe: Probe) -> None:
    """Header names are taken in any case."""
    model = probe.model()
    body = _body(model)
    head = _head(probe, model, len(body)).replace(b"Content-Length", b"cOnTeNt-LeNgTh").replace(b"Host", b"HOST")
    with probe.http.connected() as connection:
        connection.send(head + body)
        _is_expected(probe, model, connection.reply())


@book.must("bodies-come-in-pieces")
def _pieces(probe: Probe) -> None:
    """A request may come in pieces, however they are cut."""
    model = probe.model()
    body = _body(model)
    whole = _head(probe, model, len(body)) + body
    with probe.http.connected() as connection:
        for at in range(0, len(whole), 17):
            connection.send(whole[at : at + 17])
        _is_expected(probe, model, connection.reply())


@book.must("chunked-bodies")
def _chunked(probe: Probe) -> None:
    """A body may come in chunks (Transfer-Encoding: chunked)."""
    model = probe.model()
    body = _body(model)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + 50]), body[at : at + 50]) for at in range(0, len(body), 50))
    with probe.http.connected() as connection:
        connection.send(_head(probe, model, None, Transfer_Encoding="chunked") + chunks + b"0\r\n\r\n")
        _is_expected(probe, model, connection.reply())


@book.must("expect-continue")
def _continue(probe: Probe) -> None:
    """A client that waits for 100 Continue gets it, and then its answer."""
    model = probe.model()
    body = _body(model)
    with probe.http.connected() as connection:
        connection.send(_head(probe, model, len(body), Expect="100-continue"))
        status_line = connection.interim().split(b"\r\n")[0].decode("latin-1")
        expect(" 100 " in status_line, f"'{status_line}' in place of 100")
        connection.send(body)
        _is_expected(probe, model, connection.reply())


@book.should("head-is-a-get-without-body")
def _head_method(probe: Probe) -> None:
    """HEAD is answered as GET is, without a body."""
    reply = probe.http.ask("HEAD", "/v2/health/live").expect(200)
    expect(reply.body == b"", "a body came")


@book.must("garbage-is-refused")
def _garbage(probe: Probe) -> None:
    """What is no HTTP is refused with 400, or the connection closed, and the server lives on."""
    for odd in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET\r\n\r\n", b"GET /v2 SMTP/1.1\r\n\r\n"):
        with probe.http.connected() as connection:
            connection.send(odd)
            if (reply := connection.reply_or_close("GET")) is not None:
                reply.expect(400, 501, 505)
    _lives(probe)


@book.must("odd-lengths-are-refused")
def _lengths(probe: Probe) -> None:
    """Refuses a Content-Length that is negative or no number, or two that differ, and lives on."""
    model = probe.model()
    plain = _head(probe, model, None)[:-2]
    for odd in (b"Content-Length: -1", b"Content-Length: ten", b"Content-Length: 5\r\nContent-Length: 6"):
        with probe.http.connected() as connection:
            connection.send(plain + odd + b"\r\n\r\nhello")
            if (reply := connection.reply_or_close()) is not None:
                expect(400 <= reply.status < 500, f"{reply.status} for '{odd.decode()}'")
    _lives(probe)


@book.must("length-and-chunks-are-refused")
def _smuggled(probe: Probe) -> None:
    """A request with both Content-Length and chunks is refused, or ends its connection: it could smuggle another."""
    model = probe.model()
    body = _body(model)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with probe.http.connected() as connection:
        connection.send(_head(probe, model, len(chunked), Transfer_Encoding="chunked") + chunked)
        reply = connection.reply_or_close()
        if reply is not None and reply.status == 200:
            expect(connection.is_closed(CLOSED_WITHIN_S), "answered, and the connection stays open")
        elif reply is not None:
            expect(400 <= reply.status < 500, f"{reply.status} in place of a refusal")
    _lives(probe)


@book.should("endless-headers-are-refused")
def _headers(probe: Probe) -> None:
    """Refuses headers of a megabyte, or closes the connection, and lives on."""
    model = probe.model()
    plain = _head(probe, model, None)[:-2]
    with probe.http.connected() as connection:
        connection.send(plain + b"X-Filler: " + b"a" * 1_000_000 + b"\r\n\r\n")
        if (reply := connection.reply_or_close()) is not None:
            reply.expect(400, 413, 431)
    _lives(probe)


@book.must("a-client-that-leaves-hurts-nobody")
def _leaves(probe: Probe) -> None:
    """Clients that leave in the middle of a request take nobody along."""
    model = probe.model()
    body = _body(model)
    for cut in (10, len(_head(probe, model, len(body))) + 3):
        for _ in range(8):
            with probe.http.connected() as connection:
                connection.send((_head(probe, model, len(body)) + body)[:cut])
        with probe.http.connected() as connection:
            connection.send(_head(probe, model, len(body)) + body)
    _lives(probe)
