"""The generated part of ``docs/conformance.md``: every rule, read from the suite itself. ``make docs`` writes it."""

from __future__ import annotations

from pathlib import Path

from mlserve.bench.conformance.rules import ALL
from tests.options_page import BEGIN, END

PAGE = Path(__file__).parents[1] / "docs" / "conformance.md"


def page() -> str:
    """The generated part, between its two marks."""
    subjects = list(dict.fromkeys(rule.subject for rule in ALL))
    lines = [f"{len(ALL)} rules."]
    for subject in subjects:
        lines += ["", f"### {subject}", "", "| rule | level | a server |", "|---|---|---|"]
        lines += [
            f"| `{rule.name}` | {rule.level}{f': {rule.extension}' if rule.extension else ''} | {rule.sentence} |"
            for rule in ALL
            if rule.subject == subject
        ]
    return BEGIN + "\n" + "\n".join(lines) + "\n\n" + END


def current(text: str) -> str:
    """``text`` with its generated part as it should be."""
    before, _, rest = text.partition(BEGIN)
    return before + page() + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
