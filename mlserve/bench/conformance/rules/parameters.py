"""Request parameters: those with a meaning, and those that nobody knows."""

from __future__ import annotations

from mlserve.bench.conformance.probe import Probe, same
from mlserve.bench.conformance.verdicts import Book, RuleSkipped

book = Book("parameters", extension="parameters")
schedule = Book("schedule", extension="schedule_policy")


@book.must("of-all-kinds-are-taken")
def _kinds(probe: Probe) -> None:
    """Parameters may be texts, numbers and truths; one without a meaning changes nothing."""
    model = probe.model()
    parameters = {"conform_text": "a", "conform_number": 3, "conform_float": 0.5, "conform_truth": True}
    found = probe.answer(model, model.request(parameters=parameters))
    same(probe.answer(model, model.request()), found, "with parameters and without")


@book.must("empty-are-as-none")
def _empty(probe: Probe) -> None:
    """An empty object of parameters is as none."""
    model = probe.model()
    same(probe.answer(model, model.request()), probe.answer(model, model.request(parameters={})), "with none")


@book.should("reserved-names-are-refused")
def _reserved(probe: Probe) -> None:
    """Refuses parameters that begin with triton_, which are the server's own, with 4xx and an error."""
    model = probe.model()
    probe.infer(model, model.request(parameters={"triton_secret": 1})).refusal()


@book.should("sequences-are-not-ignored")
def _sequences(probe: Probe) -> None:
    """A server without sequences refuses a request of one, in place of forgetting its state silently."""
    if "sequence" in probe.extensions:
        raise RuleSkipped("the server has sequences")
    model = probe.model()
    reply = probe.infer(model, model.request(parameters={"sequence_id": 7, "sequence_start": True}))
    reply.refusal(*(() if 400 <= reply.status < 500 else (501,)))


@schedule.must("priority-is-taken")
def _priority(probe: Probe) -> None:
    """Takes a priority: 0 for the default, 1 for the highest."""
    model = probe.model()
    for level in (0, 1):
        same(
            probe.answer(model, model.request()),
            probe.answer(model, model.request(parameters={"priority": level})),
            f"priority {level}",
        )


@schedule.must("timeout-is-taken")
def _timeout(probe: Probe) -> None:
    """Takes a timeout in microseconds."""
    model = probe.model()
    found = probe.answer(model, model.request(parameters={"timeout": 30_000_000}))
    same(probe.answer(model, model.request()), found, "with a timeout of 30 s")


@schedule.must("timeout-that-passes-is-an-error")
def _passed(probe: Probe) -> None:
    """A request whose timeout of a microsecond passes gets an error, unless it was answered all the same."""
    model = probe.model()
    reply = probe.infer(model, model.request(parameters={"timeout": 1}))
    if reply.status != 200:
        reply.refusal(429, 503, 504, 408)
    probe.infer(model, model.request()).expect(200)


@schedule.must("odd-priority-is-refused")
def _odd(probe: Probe) -> None:
    """Refuses a priority or timeout that is negative or no number, with 4xx and an error."""
    model = probe.model()
    for parameters in ({"priority": "high"}, {"priority": -1}, {"timeout": "soon"}, {"timeout": -5}):
        probe.infer(model, model.request(parameters=parameters)).refusal()
