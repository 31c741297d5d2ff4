"""How the examples talk: numbered steps that say what is done, how long it took, and the figure that matters."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Story:
    """Runs ``mlserve`` in one folder and prints each step as a person would want to read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._step = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print the step's title, then how long its body took."""
        self._step += 1
        print(f"\n{self._step:2}. {title}", flush=True)
        started_s = time.perf_counter()
        yield
        print(f"    [{time.perf_counter() - started_s:.1f} s]", flush=True)

    def say(self, text: str) -> None:
        """Print ``text`` under the step's title."""
        print(textwrap.indent(text, "    "), flush=True)

    def mlserve(self, *words: str, exits: tuple[int, ...] = (0,)) -> Any:
        """Run one ``mlserve`` command with ``--json``, show it as it would be typed, and return its answer.

        Raises SystemExit with what the command said if its exit code is not among ``exits``.
        """
        self.say(typed(*words))
        done = subprocess.run(
            [*command(), *words, "--json"],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in exits:
            sys.exit(f"mlserve {shlex.join(words)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)


def typed(*words: str, width: int = 100) -> str:
    """``mlserve WORDS`` as one would type it, broken before an option where the line gets too long.

    >>> print(typed("list", "fraud", "--limit", "3", width=24))
    $ mlserve list fraud \\
          --limit 3
    """
    groups: list[list[str]] = [["$", "mlserve"]]
    for word in words:
        if word.startswith("-"):
            groups.append([])
        groups[-1].append(word if word == "&" else shlex.quote(word))
    lines = [" ".join(groups[0])]
    for group in map(" ".join, groups[1:]):
        if len(lines[-1]) + len(group) > width - 3:
            lines[-1] += " \\"
            lines.append(f"      {group}")
        else:
            lines[-1] += f" {group}"
    return "\n".join(lines)


def command() -> list[str]:
    """The ``mlserve`` of the interpreter that runs the story."""
    return [sys.executable, "-m", "mlserve"]


def environment() -> dict[str, str]:
    """The caller's environment without mlserve settings, so that the story touches only its own folder."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MLSERVE_")}
