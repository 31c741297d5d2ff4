"""The rules themselves: our server keeps each, each can be broken, and what breaks which."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest

from mlserve.bench.conformance.calls import GrpcPort
from mlserve.bench.conformance.exchange import HEADER_LENGTH, HttpPort
from mlserve.bench.conformance.probe import Probe, discovered
from mlserve.bench.conformance.rules import ALL
from mlserve.bench.conformance.running import run_rules
from mlserve.bench.conformance.verdicts import Outcome, Rule
from mlserve.protocol.messages import InferResponseMessage
from tests.bench.conformance.faults import NEARLY_RIGHT
from tests.bench.conformance.faulty import Answered, Asked, Fault, spoiled


def test_our_own_server_keeps_every_rule(probe: Probe) -> None:
    found = run_rules(probe, ALL, may_change=True)

    assert [(one.rule.name, one.detail) for one in found.verdicts if one.outcome is not Outcome.PASSED] == []


def test_there_are_many_rules_each_with_its_own_name_and_sentence() -> None:
    assert len(ALL) >= 120
    assert len({rule.name for rule in ALL}) == len(ALL)
    assert all(rule.sentence and not rule.sentence.endswith(".") for rule in ALL)


# Each rule must be able to fail: there is a server so crude that it breaks it.

CRUDE: dict[str, Callable[[Asked, Answered], Answered | None]] = {
    "all is well": lambda asked, answered: Answered(200, {"content-type": "text/plain"}, b"{}"),
    "nothing is known": lambda asked, answered: Answered(404, {}, b'{"error": "no"}'),
    "breaks": lambda asked, answered: Answered(500, {}, b"Traceback (most recent call last)"),
    "refuses": lambda asked, answered: Answered(400, {}, b"no"),
    "hangs up": lambda asked, answered: None,
    "compresses everything": lambda asked, answered: replace(
        answered, headers=answered.headers | {"content-encoding": "br", HEADER_LENGTH: "0"}
    ),
    "invents": lambda asked, answered: answered.with_document(
        {"id": "x", "error": 3, "extensions": ["magic"], "outputs": [], "versions": [1], "inputs": [
            {"name": "x", "datatype": "FP31", "shape": [-7]}, {"name": "x", "datatype": "FP31", "shape": [-7]}]}
    ),
}  # fmt: skip


@contextmanager
def crude_grpc(says: Callable[[Any], bytes]) -> Iterator[GrpcPort]:
    """A gRPC server that answers every method, of a call or of a stream, with what ``says`` gives."""

    class Everything(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            if details.method.endswith(("ModelStreamInfer", "ServerReflectionInfo")):
                return grpc.stream_stream_rpc_method_handler(self.stream)
            return grpc.unary_unary_rpc_method_handler(lambda request, context: says(context))

        def stream(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            yield says(context)

    running = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Everything()])
    port = GrpcPort(f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}")
    running.start()
    try:
        yield port
    finally:
        port.close()
        running.stop(0)


def _aborts(context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.DATA_LOSS, "no")
    raise AssertionError("abort raises")


def test_each_rule_of_http_is_broken_by_some_crude_server(probe: Probe) -> None:
    rules = [rule for rule in ALL if rule.port == "http" and rule.subject != "http"]
    broken: set[str] = set()
    for name, going in CRUDE.items():
        with spoiled(probe.http.url, Fault(name, going=going)) as url:
            left = [rule for rule in rules if rule.name not in broken]
            broken |= _failed(replace(probe, http=HttpPort(url, timeout_s=5)), left)

    assert {rule.name for rule in rules} - broken == set()


def test_each_rule_of_grpc_is_broken_by_some_crude_server(probe: Probe) -> None:
    rules = [rule for rule in ALL if rule.port == "grpc"]
    empty = InferResponseMessage(model_name="a").SerializeToString()
    broken: set[str] = set()
    for says in (_aborts, lambda context: b"", lambda context: empty):
        with crude_grpc(says) as port:
            left = [rule for rule in rules if rule.name not in broken]
            broken |= _failed(replace(probe, grpc=port), left)

    assert {rule.name for rule in rules} - broken == set()


def test_each_rule_of_connections_is_broken_by_some_crude_server(probe: Probe) -> None:
    rules = [rule for rule in ALL if rule.subject == "http"]
    replies = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-something\r\n\r\n",
    ]
    broken: set[str] = set()
    for reply in replies:
        with _babbling(reply) as url:
            broken |= _failed(replace(probe, http=HttpPort(url, timeout_s=0.5)), rules)

    assert {rule.name for rule in rules} - broken == set()


@contextmanager
def _babbling(reply: bytes) -> Iterator[str]:
    """A server that says the same to whatever comes, and leaves the connection open."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            open_ones.append(stream)
            threading.Thread(target=babble, args=(stream,), daemon=True).start()

    def babble(stream: socket.socket) -> None:
        try:
            while stream.recv(65536):
                stream.sendall(reply)
        except OSError:
            pass

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        for stream in open_ones:
            stream.close()


def _failed(probe: Probe, rules: list[Rule]) -> set[str]:
    found = run_rules(replace(probe, patience_s=0.1), rules, may_change=True)
    return {one.rule.name for one in found.verdicts if one.outcome is Outcome.FAILED}


@pytest.mark.parametrize(("fault", "rule"), [pytest.param(*case, id=case[0].name) for case in NEARLY_RIGHT])
def test_a_server_that_is_nearly_right_is_found_out(probe: Probe, fault: Fault, rule: str) -> None:
    others = {one.name: one for one in ALL}

    with spoiled(probe.http.url, fault) as url:
        found = _failed(replace(probe, http=HttpPort(url)), [others[rule], others["server.live-is-200"]])

    assert found == {rule}


def test_a_proxy_without_a_fault_breaks_nothing(probe: Probe) -> None:
    rules = [rule for rule in ALL if rule.port == "http" and rule.subject != "http"]

    with spoiled(probe.http.url, Fault("none")) as url:
        assert _failed(replace(probe, http=HttpPort(url)), rules) == set()


def test_rules_of_extensions_that_are_not_advertised_are_not_looked_at(probe: Probe) -> None:
    bare = replace(probe, extensions=frozenset())

    found = run_rules(bare, [rule for rule in ALL if rule.extension is not None], may_change=True)

    assert {one.outcome for one in found.verdicts} == {Outcome.SKIPPED}


def test_without_the_grpc_port_its_rules_are_not_looked_at(probe: Probe) -> None:
    found = run_rules(replace(probe, grpc=None), [rule for rule in ALL if rule.port == "grpc"])

    assert {one.outcome for one in found.verdicts} == {Outcome.SKIPPED}


def test_nothing_is_unloaded_unless_that_is_allowed(probe: Probe) -> None:
    found = run_rules(probe, [rule for rule in ALL if rule.changes])

    assert found.verdicts
    assert {one.outcome for one in found.verdicts} == {Outcome.SKIPPED}


def test_models_are_found_by_the_list_where_there_is_no_index(probe: Probe) -> None:
    def going(asked: Asked, answered: Answered) -> Answered:
        return Answered(404, {}, b'{"error": "no"}') if asked.path.endswith("/index") else answered

    with spoiled(probe.http.url, Fault("no index", going=going)) as url:
        found = discovered(HttpPort(url))

    assert {model.name for model in found.models} == {model.name for model in probe.models}
