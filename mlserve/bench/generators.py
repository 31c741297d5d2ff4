"""HTTP load from one process or several, and the same against a constant responder.

One generator works in the caller's process. Several are processes of their own, ``python -m mlserve.bench.generators``;
each gets its share of the clients and of the schedule, and all begin at the same moment of the clock they share.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from mlserve.bench.load import Load, run_load
from mlserve.bench.messages import Message, constant_reply
from mlserve.bench.outcomes import Outcome
from mlserve.bench.responder import HOST, responding
from mlserve.bench.stretches import Stretch
from mlserve.errors import MlserveError, Unavailable

_START_S = 0.3
"""What all generators have to connect, before they begin together."""


@dataclass(frozen=True, slots=True)
class ServerDriver:
    """Load for the server at ``host`` and ``port`` with ``messages``, from ``processes`` generators.

    Over HTTP or, with ``tls``, HTTPS; with the path of a method in ``grpc``, over gRPC and with ``metadata``.
    """

    host: str
    port: int
    messages: Sequence[Message]
    processes: int = 1
    grpc: str | None = None
    tls: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)

    def run(self, stretch: Stretch, on_turn: Callable[[], None]) -> Outcome:
        load = Load(self.host, self.port, self.messages, stretch, self.grpc, self.tls, metadata=self.metadata)
        return generate(load, self.processes, on_turn)

    def ceiling(self, stretch: Stretch) -> Outcome | None:
        """Each generator has a responder of its own. None over TLS, which the responder does not speak."""
        if self.tls:
            return None
        message = self.messages[0]
        is_grpc = self.grpc is not None
        reply = (message.ending or b"") if is_grpc else constant_reply(message)
        shares = _shares(stretch, self.processes)
        with ExitStack() as stack:
            ports = [stack.enter_context(responding(len(message.request), reply, is_grpc=is_grpc)) for _ in shares]
            loads = [Load(HOST, port, [message], share, self.grpc) for port, share in zip(ports, shares, strict=True)]
            return _generate_all(loads, lambda: None)


def generate(load: Load, processes: int, on_turn: Callable[[], None]) -> Outcome:
    """Do ``load`` with so many processes, fewer where there are fewer clients. Raises Unavailable."""
    return _generate_all([replace(load, stretch=share) for share in _shares(load.stretch, processes)], on_turn)


def _shares(stretch: Stretch, processes: int) -> list[Stretch]:
    """What each of ``processes`` generators is to do.

    >>> [share.concurrency for share in _shares(Stretch(7, 1.0), 3)]
    [3, 2, 2]
    """
    count = min(processes, stretch.concurrency)
    return [
        replace(
            stretch,
            concurrency=len(range(number, stretch.concurrency, count)),
            due=None if stretch.due is None else stretch.due[number::count],
        )
        for number in range(count)
    ]


def _generate_all(loads: Sequence[Load], on_turn: Callable[[], None]) -> Outcome:
    if len(loads) == 1:
        return run_load(loads[0], on_turn)
    with ExitStack() as stack:
        generators = []
        for _ in loads:
            generators.append(stack.enter_context(_started()))
            stack.callback(generators[-1].kill)
        for generator in generators:
            _line(generator)
        start_s = perf_counter() + _START_S
        for generator, load in zip(generators, loads, strict=True):
            assert generator.stdin is not None
            pickle.dump(replace(load, start_s=start_s), generator.stdin)
            generator.stdin.close()
        outcomes = [_outcome(generator) for generator in generators]
        on_turn()
    whole = outcomes[0]
    for outcome in outcomes[1:]:
        whole.add(outcome)
    return whole


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "mlserve.bench.generators"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def _line(generator: subprocess.Popen[bytes]) -> bytes:
    assert generator.stdout is not None
    return generator.stdout.readline()


def _outcome(generator: subprocess.Popen[bytes]) -> Outcome:
    assert generator.stdout is not None
    try:
        found: Any = pickle.load(generator.stdout)
    except EOFError as error:
        raise Unavailable("a load generator ended before it was done") from error
    if isinstance(found, Exception):
        raise found
    assert isinstance(found, Outcome)
    return found


def main() -> None:
    """Do the load that comes on stdin, and write what came of it to stdout."""
    print("ready", flush=True)
    load = pickle.load(sys.stdin.buffer)
    try:
        found: Outcome | MlserveError = run_load(load)
    except MlserveError as error:
        found = Unavailable(error.message)
    pickle.dump(found, sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
