"""The load generator counts what is answered, what is answered wrongly, and what the server kept waiting."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from mlserve.bench.arrivals import arrivals
from mlserve.bench.clients import learn
from mlserve.bench.load import Load, run_load
from mlserve.bench.messages import Message, post_json
from mlserve.bench.outcomes import LOST, REFUSED, WRONG, Outcome
from mlserve.bench.stretches import Stretch
from mlserve.errors import InvalidInput, Unavailable
from tests.serving.fakes import FakeEngine, doubling
from tests.serving.http.fronts import Front, fronting

HOST = "127.0.0.1"
REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
HI = Message(b"x" * 10, b"\r\n\r\nhi")
UNIFORM = arrivals("uniform", 100, 0.3, np.random.default_rng(0))


@pytest.fixture
def front() -> Iterator[Front]:
    engine = FakeEngine()
    engine.add(doubling())
    with fronting(engine) as front:
        yield front


def ask(front: Front, *rows: float, model: str = "fraud") -> list[bytes]:
    tensors = [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [value] * 3} for value in rows]
    return [post_json(HOST, front.port, f"/v2/models/{model}/infer", {"inputs": [tensor]}) for tensor in tensors]


def measure(port: int, messages: list[Message], concurrency: int = 3, duration_s: float = 0.2) -> Outcome:
    return run_load(Load(HOST, port, messages, Stretch(concurrency, duration_s, warmup_s=0.05)))


@contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where each client is talked to by ``talk``, in a thread of its own."""
    with socket.create_server((HOST, 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_talk, args=(talk, client), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _talk(talk: Callable[[socket.socket], None], client: socket.socket) -> None:
    with client:
        try:
            talk(client)
        except OSError:
            return


def in_turn(reply: bytes, pause: Callable[[int], float] = lambda number: 0.0) -> Callable[[socket.socket], None]:
    """Answers each ten bytes with ``reply``; before answer number n of this client, a ``pause(n)``."""

    def talk(client: socket.socket) -> None:
        number = 0
        while client.recv(10, socket.MSG_WAITALL):
            time.sleep(pause(number))
            client.sendall(reply)
            number += 1

    return talk


def test_right_answers_are_counted_and_timed(front: Front) -> None:
    found = measure(front.port, learn(HOST, front.port, ask(front, 1, 2, 3)))

    assert found.failed == 0
    assert found.answered == found.requests > 0
    assert found.rps * 0.2 == pytest.approx(found.requests, abs=3)  # three clients, of whose requests a part may count
    p50, p99 = found.latencies.percentiles_s([0.5, 0.99])
    assert 0 < p50 <= p99
    assert found.cpu_s > 0


def test_a_message_is_learnt_with_its_own_answer(front: Front) -> None:
    one, two = learn(HOST, front.port, ask(front, 1, 2))

    assert one.ending is not None
    assert one.ending.startswith(b"\r\n\r\n{")
    assert b"[2.0,2.0,2.0]" in one.ending
    assert two.ending is not None
    assert b"[4.0,4.0,4.0]" in two.ending


@pytest.mark.parametrize("due", [pytest.param(None, id="closed loop"), pytest.param(UNIFORM, id="open loop")])
def test_answers_that_belong_to_another_request_are_failures(front: Front, due: np.ndarray | None) -> None:
    one, two = learn(HOST, front.port, ask(front, 1, 2))
    swapped = [replace(one, ending=two.ending), replace(two, ending=one.ending)]

    found = run_load(Load(HOST, front.port, swapped, Stretch(3, 0.3, due=due)))

    assert found.failures.keys() == {WRONG}
    assert found.answered == 0
    assert found.requests > 0


def test_refusals_are_failures_even_if_nothing_is_expected(front: Front) -> None:
    found = measure(front.port, [Message(request) for request in ask(front, 1, model="nix")])

    assert found.failures.keys() == {"status 404"}


def test_a_server_that_refuses_is_not_measured(front: Front) -> None:
    with pytest.raises(InvalidInput, match="answered 404"):
        learn(HOST, front.port, ask(front, 1, model="nix"))


def test_nobody_there_is_said() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]

        with pytest.raises(Unavailable, match=f"nobody answers at 127.0.0.1:{port}"):
            learn(HOST, port, [b""])
        with pytest.raises(Unavailable, match=f"nobody answers at 127.0.0.1:{port}"):
            measure(port, [Message(b"")])


def hang_up(client: socket.socket) -> None:
    client.recv(1)
    client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")


def test_a_server_that_hangs_up_has_lost_what_was_under_way_and_is_asked_again() -> None:
    with serving(hang_up) as port:
        with pytest.raises(Unavailable, match="in the middle of a reply"):
            learn(HOST, port, [b"x"])
        found = measure(port, [HI], concurrency=2)

    assert found.failures[LOST] > 2
    assert found.answered == 0


def test_a_server_that_goes_away_is_refusing_until_it_is_back() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        gone = threading.Timer(0.1, listener.close)
        gone.start()
        found = run_load(Load(HOST, port, [HI], Stretch(1, 0.3, due=UNIFORM[:1])))
        gone.join()

    assert found.failures.keys() <= {LOST, REFUSED}
    assert found.requests > 0


def test_a_reply_in_pieces_and_a_request_larger_than_the_buffers_go_through() -> None:
    body = bytes(range(256)) * 8192
    asked = Message(b"y" * (8 << 20), b"\r\n\r\n" + body)

    def talk(client: socket.socket) -> None:
        while client.recv(8 << 20, socket.MSG_WAITALL):
            client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    with serving(talk) as port:
        found = measure(port, [asked], concurrency=2, duration_s=0.5)

    assert found.failed == 0
    assert found.answered > 0


def test_a_chunked_reply_is_taken_as_a_whole() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"

    with serving(in_turn(chunked)) as port:
        (learnt,) = learn(HOST, port, [HI.request])
        found = measure(port, [learnt])

    assert learnt == HI
    assert found.failed == 0
    assert found.answered > 0


def test_an_open_loop_asks_all_that_is_due_and_no_more() -> None:
    with serving(in_turn(REPLY)) as port:
        found = run_load(Load(HOST, port, [HI], Stretch(4, 0.2, warmup_s=0.1, due=UNIFORM)))

    # Those due in the first tenth of a second are warm-up.
    assert (found.answered, found.failed) == (20, 0)
    assert found.lags.count == 20


def test_what_a_stalled_server_keeps_waiting_counts_with_all_of_its_wait() -> None:
    def talk_with_a_stall(client: socket.socket) -> None:
        in_turn(REPLY, lambda number: 0.2 if number == 0 else 0.0)(client)

    with serving(talk_with_a_stall) as port:
        closed = run_load(Load(HOST, port, [HI], Stretch(1, 0.3)))
        open_ = run_load(Load(HOST, port, [HI], Stretch(1, 0.3, due=UNIFORM)))

    # One client, one stall of 0.2 s. The closed loop waits with the server and notes it once; twenty more requests
    # were due meanwhile, and their users waited too.
    assert closed.answered - closed.latencies.within(0.1) == 1
    assert open_.answered == len(UNIFORM)
    assert open_.answered - open_.latencies.within(0.1) >= 10


def test_of_a_request_across_the_end_the_part_within_counts_towards_the_rate() -> None:
    with serving(in_turn(REPLY, lambda number: 0.4)) as port:
        found = run_load(Load(HOST, port, [HI], Stretch(4, 0.4, warmup_s=0.2)))

    # Four clients, each answered after 0.4 s: ten a second. Four are sent within the stretch, and of the four before
    # and the four within a half lies within, whichever way the ends are counted.
    assert found.answered == 4
    assert found.rps == pytest.approx(10, rel=0.2)


def test_requests_longer_than_the_stretch_still_have_their_rate() -> None:
    with serving(in_turn(REPLY, lambda number: 0.5)) as port:
        found = run_load(Load(HOST, port, [HI], Stretch(4, 0.2, warmup_s=0.1)))

    # Four clients, each answered after half a second: eight a second, of which none begins within the stretch.
    assert found.requests == 0
    assert found.rps == pytest.approx(8, rel=0.2)


def test_an_open_loop_that_is_answered_late_has_taken_longer() -> None:
    with serving(in_turn(REPLY, lambda number: 0.1)) as port:
        found = run_load(Load(HOST, port, [HI], Stretch(1, 0.1, due=UNIFORM[:5])))

    assert found.answered == 5
    assert found.took_s >= 0.5
    assert found.rps <= 10


def test_what_is_never_answered_is_a_failure() -> None:
    with serving(in_turn(REPLY, lambda number: 60.0)) as port:
        closed = run_load(Load(HOST, port, [HI], Stretch(2, 0.1, drain_s=0.05)))
        open_ = run_load(Load(HOST, port, [HI], Stretch(2, 0.3, drain_s=0.05, due=UNIFORM)))

    assert dict(closed.failures) == {"unanswered": 2}
    assert dict(open_.failures) == {"unanswered": len(UNIFORM)}
