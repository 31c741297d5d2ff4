"""How a promotion, a rollback or a withdrawal is told: the sentence, the gates, and exit 7 where a gate refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from mlserve.cli.output import Output

if TYPE_CHECKING:
    from mlserve.registry.records import Gate, Move

ANSWER_IS_NO = 7


def tell_move(out: Output, move: Move, sentence: str) -> None:
    """Print ``move`` under ``sentence``. Raises ``typer.Exit`` with 7 if it was refused."""
    made = move.ref if move.changed and not move.dry_run else None
    out.result(sentence, move, made=made, good=move.allowed)
    out.details(("gate", "passed", "measured", "threshold", "detail"), [_row(gate) for gate in move.gates])
    for warning in move.warnings:
        out.warn(warning)
    if not move.allowed:
        name = (move.ref or "").partition(":")[0]
        out.hint(f"mlserve policy show {name} says what is demanded; --force --reason TEXT skips it")
        raise typer.Exit(ANSWER_IS_NO)


def _row(gate: Gate) -> dict[str, Any]:
    from mlserve.registry.policies import spell_age

    figures: dict[str, Any] = {"measured": gate.measured, "threshold": gate.threshold}
    if gate.name.endswith(".age"):  # in seconds, for scripts
        figures = {name: spell_age(value) for name, value in figures.items() if value is not None}
    passed = "not judged" if gate.passed is None else gate.passed
    return {"gate": gate.name, "passed": passed, **figures, "detail": gate.detail}
