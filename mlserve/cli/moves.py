"""How a promotion, a rollback or a withdrawal is told: the sentence, the gates, and exit 7 where a gate refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mlserve.cli.output import Output

if TYPE_CHECKING:
    from mlserve.registry.records import Move

ANSWER_IS_NO = 7


def tell_move(out: Output, move: Move, sentence: str) -> None:
    """Print ``move`` under ``sentence``. Raises ``typer.Exit`` with 7 if it was refused."""
    made = move.ref if move.changed and not move.dry_run else None
    out.result(sentence, move, made=made, good=move.allowed)
    rows = [
        {
            "gate": gate.name,
            "passed": "not judged" if gate.passed is None else gate.passed,
            "measured": gate.measured,
            "threshold": gate.threshold,
            "detail": gate.detail,
        }
        for gate in move.gates
    ]
    out.details(("gate", "passed", "measured", "threshold", "detail"), rows)
    for warning in move.warnings:
        out.warn(warning)
    if not move.allowed:
        name = (move.ref or "").partition(":")[0]
        out.hint(f"mlserve policy show {name} says what is demanded; --force --reason TEXT skips it")
        raise typer.Exit(ANSWER_IS_NO)
