"""The generated part of ``docs/cli.md``: every option and every setting, read from the program itself.

``make docs`` writes it; a test holds it current. ``--json``, ``--quiet`` and ``--help`` are said once, in the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from mlserve.cli.app import commands
from mlserve.core.settings import Settings, setting_names

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
BEGIN = "<!-- written by `make docs`: begin -->\n"
END = "<!-- written by `make docs`: end -->\n"
EVERYWHERE = {"--json", "--quiet", "--help"}
SHARED_BY = 4
"""An option that means the same in so many commands is described once, with the commands that have it."""


def leaves(group: Any = None, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each command that does something, with its words."""
    for name, command in sorted((group or commands()).commands.items()):
        words = f"{path} {name}".strip()
        if hasattr(command, "commands"):
            yield from leaves(command, words)
        else:
            yield words, command


def options(command: Any) -> Iterator[tuple[str, str]]:
    """Each option of a command as it is typed, and its help."""
    for parameter in command.params:
        names = parameter.opts
        if not names[0].startswith("-") or EVERYWHERE & set(names):
            continue
        value = "" if parameter.is_flag else f" {parameter.metavar or _choices(parameter)}"
        yield ", ".join(f"`{name}{value}`" for name in names).replace("|", "\\|"), parameter.help


def _choices(parameter: Any) -> str:
    return "|".join(get_args(parameter.type_descriptor.annotation))


def page() -> str:
    """The generated part, between its two marks."""
    found = {words: list(options(command)) for words, command in leaves()}
    users: dict[tuple[str, str], list[str]] = {}
    for words, listed in found.items():
        for option in listed:
            users.setdefault(option, []).append(words)
    shared = {option: having for option, having in users.items() if len(having) >= SHARED_BY}
    lines = ["### Options of several commands", "", "| option | does | in |", "|---|---|---|"]
    lines += [f"| {typed} | {said} | {_in(having, list(found))} |" for (typed, said), having in shared.items()]
    lines += ["", "### Options of one command", "", "| command | option | does |", "|---|---|---|"]
    lines += [
        f"| `{words}` | {typed} | {said} |"
        for words, listed in found.items()
        for typed, said in listed
        if (typed, said) not in shared
    ]
    lines += ["", "### Settings", "", "| setting | default | environment |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {_default(name)} | `MLSERVE_{name.upper().replace('.', '__')}` |" for name in setting_names()
    ]
    return BEGIN + "\n" + "\n".join(lines) + "\n\n" + END


def _in(having: list[str], everyone: list[str]) -> str:
    others = [words for words in everyone if words not in having]
    if not others:
        return "all"
    if len(others) < len(having):
        return "all but " + ", ".join(f"`{words}`" for words in others)
    return ", ".join(f"`{words}`" for words in having)


def _default(name: str) -> str:
    value: Any = msgspec.to_builtins(Settings())
    for part in name.split("."):
        value = value[part]
    return "none" if value is None else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def current(text: str) -> str:
    """``text`` with its generated part as it should be."""
    before, _, rest = text.partition(BEGIN)
    return before + page() + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
