"""Tables and records as text: aligned plain text for pipes and files, rich's tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

_VERDICTS = {"✓": "green", "✗": "red"}


def cell(value: Any) -> str:
    """One value as a person reads it: ``-`` for nothing, six significant digits, times in UTC to the second.

    >>> cell(None), cell(0.123456789), cell(True), cell(["a", "b"]), cell({"auc": 0.9})
    ('-', '0.123457', 'yes', 'a, b', 'auc=0.9')
    """
    if hasattr(value, "tolist"):  # numpy's scalars and arrays, without importing numpy here
        value = value.tolist()
    if value is None or (hasattr(value, "__len__") and not value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={cell(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(item) for item in value)
    return _printable(" ".join(str(value).split()))


def plain_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows under upper-case headings, columns two spaces apart, nothing cut off.

    >>> print(plain_table(["ref", "stages"], [["fraud:2", "production"], ["fraud:1", None]]))
    REF      STAGES
    fraud:2  production
    fraud:1  -
    """
    lines = [[_heading(column) for column in columns], *([cell(value) for value in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def plain_record(fields: Mapping[str, Any]) -> str:
    """One ``name  value`` line a field, the values aligned; a list of several lines goes below its name.

    >>> print(plain_record({"ref": "fraud:2", "gates": ["loads", "parity"], "note": None}))
    ref    fraud:2
    gates  loads, parity
    note   -
    """
    width = max((len(name) for name in fields), default=0)
    return "\n".join(f"{name.replace('_', ' ').ljust(width)}  {cell(value)}" for name, value in fields.items())


def rich_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], file: TextIO) -> None:
    """The same table for a terminal: bold headings, verdicts in colour, long cells folded to the width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*(_heading(column) for column in columns), box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(text, style=_VERDICTS.get(text[:1], "")) for text in map(cell, row)))
    Console(file=file).print(table)


def rich_record(fields: Mapping[str, Any], file: TextIO) -> None:
    """The same record for a terminal: dim names, values folded beside them."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        table.add_row(Text(name.replace("_", " "), style="dim"), Text(cell(value)))
    Console(file=file).print(table)


def rich_sketch(curves: Sequence[tuple[str, Sequence[tuple[float, float]]]], file: TextIO) -> None:
    """Distributions of latencies, in milliseconds, each in a colour of its own."""
    from rich.console import Console
    from rich.text import Text

    from mlserve.report.sketch import MARKS, sketch

    console = Console(file=file)
    text = Text("\n".join(sketch(curves, width=max(20, min(72, console.width - 20)))))
    for mark, colour in zip(MARKS, ("cyan", "green", "magenta", "yellow") * 2, strict=True):
        text.highlight_words([mark], colour)
    if text.plain:
        console.print()
        console.print(text)


def _heading(column: str) -> str:
    """A name as a heading; a ref such as ``fraud:2`` stays as it is typed."""
    return column if ":" in column else _printable(column.replace("_", " ").upper())


def _printable(text: str) -> str:
    """``text`` with control characters spelled out: what somebody stored must not steer somebody else's terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
