"""The measured parts of ``docs/performance.md``, written from what ``make bench`` left: ``make bench-page``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.pairs import FOLDER
from tests.bench.table import as_markdown, line_of

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
TABLE = "table"
BUDGET = "budget"
FLAME = "flame"


def table_text(run: Mapping[str, Any]) -> str:
    """The table of a run, under what it was run with."""
    lines = [line_of(fields) for fields in run["lines"] if not _is_budget(fields)]
    machine = run["machine"]
    where = f"{machine['cores']} cores of {machine['machine']}, Python {machine['python']}"
    how = f"`{run['command']}`, {run['rounds']} pairs of {run['seconds']:g} s a row"
    about = f"{run['began'][:10]}; {where}; {how}; load average when it began: {run['load']:.1f}."
    return f"{about}\n\n{as_markdown(lines)}"


def budget_text(run: Mapping[str, Any]) -> str:
    """Each step of a tabular request, in microseconds and as a part of the whole."""
    steps = [line_of(fields) for fields in run["lines"] if _is_budget(fields)]
    rows = [f"| {one.work.partition(': ')[2]} | {one.ours:.2f} | {one.median:.0%} |" for one in steps if one.ratios]
    whole = next((one.theirs for one in steps if one.ratios), None)
    total = [f"| **the whole** | **{whole:.2f}** | |"] if whole is not None else []
    return "\n".join(["| step | µs | of the whole |", "|---|---|---|", *rows, *total])


def current(text: str, run: Mapping[str, Any], flame: str | None = None) -> str:
    """``text`` with its measured parts as ``run`` has them; the hot path stays as it is where no ``flame`` is given."""
    text = _replaced(_replaced(text, TABLE, table_text(run)), BUDGET, budget_text(run))
    return text if flame is None else _replaced(text, FLAME, f"```text\n{flame.rstrip()}\n```")


def _is_budget(fields: Mapping[str, Any]) -> bool:
    return str(fields["work"]).startswith("budget")


def _replaced(text: str, name: str, content: str) -> str:
    begin, end = (f"<!-- {name} of make bench: {side} -->\n" for side in ("begin", "end"))
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{content}\n\n{end}{rest.partition(end)[2]}"


def main() -> None:
    run = json.loads((FOLDER / "table.json").read_text(encoding="utf-8"))
    drawn = FOLDER / "flame.txt"
    flame = drawn.read_text(encoding="utf-8") if drawn.exists() else None
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8"), run, flame), encoding="utf-8")


if __name__ == "__main__":
    main()
