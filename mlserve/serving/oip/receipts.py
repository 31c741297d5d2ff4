"""A request's receipt: where its time went, and what answered it."""

from __future__ import annotations

from mlserve.serving.seam import Answer

_US = 1e6


def receipt_of(answer: Answer, arrived_s: float, encoded_s: float) -> str:
    """Microseconds in queue, gathering, running and encoding, which sum to ``total``; then batch, version, provider.

    Both times are on the clock of ``RunTiming``. Written as a dictionary of structured fields (RFC 9651), so that
    ``queue=12`` and the like can be read from the text as it stands.
    """
    view, timing = answer.batch.view, answer.batch.timing
    parts: list[str] = []
    if timing is None:
        parts += ("cached", f"total={_us(encoded_s - arrived_s)}")
    else:
        # Each mark is rounded, not each part, so that the parts sum to the whole.
        # What was over when the request came, in a run that it shares, took none of its time.
        times_s = timing.taken_s, timing.gathered_s, timing.ran_s, encoded_s
        marks = [0, *(max(0, _us(at - arrived_s)) for at in times_s)]
        names = ("queue", "gather", "run", "encode")
        parts += (f"{name}={after - before}" for name, before, after in zip(names, marks[:-1], marks[1:], strict=True))
        parts += (f"total={marks[-1]}", f"rows={timing.rows}", f"requests={timing.requests}")
    facts = {"version": view.version, "digest": view.digest or "", "provider": ",".join(view.providers[:1])}
    return ", ".join([*parts, *(f'{name}="{value}"' for name, value in facts.items() if value)])


def _us(seconds: float) -> int:
    return round(_US * seconds)
