"""The one sink for what commands say: answers on stdout, everything else on stderr, in three modes.

human  sentences and tables, styled on a terminal
json   exactly one JSON document on stdout; hints are dropped, warnings wait until the answer is out, so that an error's
       document stands alone on stderr
quiet  only the reference or path that was made
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, TextIO

import typer

from mlserve.cli import rendering
from mlserve.cli.documents import to_json
from mlserve.cli.terminal import is_ascii_only, is_styled, say, styled
from mlserve.core.progress import Progress
from mlserve.core.settings import current_env
from mlserve.errors import InvalidInput

Mode = Literal["human", "json", "quiet"]
BROKEN_PIPE = 141  # 128 + SIGPIPE: what a shell reports for a program whose reader went away


class Output:
    """Where a command's words go. ``--json`` wins over ``--quiet``, which then only silences what is on stderr."""

    def __init__(self, mode: Mode, *, env: Mapping[str, str], answers: TextIO | None = None) -> None:
        self.mode = mode
        self._env = env
        self._answers = answers or sys.stdout
        self._warnings: list[str] = []

    @classmethod
    def for_flags(cls, *, json: bool = False, quiet: bool = False, answers: TextIO | None = None) -> Output:
        """The sink that the flags ask for; ``answers`` is stdout unless given."""
        return cls("json" if json else "quiet" if quiet else "human", env=current_env(), answers=answers)

    @property
    def is_live(self) -> bool:
        """Whether answers go to a person's terminal, where something may be drawn again and again."""
        return self.mode == "human" and self._is_styled(self._answers)

    def table(
        self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, document: Any, made: Sequence[str]
    ) -> None:
        """``rows`` under ``columns``; ``document`` for a script, the ``made`` references one a line for --quiet."""
        cells = [[row.get(column) for column in columns] for row in rows]
        match self.mode:
            case "json":
                self._document(document)
            case "quiet":
                self._lines(made)
            case "human" if self._is_styled(self._answers):
                rendering.rich_table(columns, cells, self._answers)
            case "human":
                self._lines([rendering.plain_table(columns, cells)])

    def record(self, fields: Mapping[str, Any], *, document: Any, made: str) -> None:
        """One thing with named ``fields``."""
        match self.mode:
            case "json":
                self._document(document)
            case "quiet":
                self._lines([made])
            case "human" if self._is_styled(self._answers):
                rendering.rich_record(fields, self._answers)
            case "human":
                self._lines([rendering.plain_record(fields)])

    def result(self, sentence: str, document: Any, *, made: str | None = None, good: bool = True) -> None:
        """What was done, or found out, in one sentence; ``good`` is False for a measured "no"."""
        match self.mode:
            case "json":
                self._document(document)
            case "quiet":
                self._lines([made] if made is not None else [])
            case "human":
                on = self._is_styled(self._answers)
                mark = styled("✓", "good", on=on) if good else styled("✗", "bad", on=on)
                self._lines([f"{mark} {sentence}"])

    def event(self, sentence: str, document: Any, *, made: str | None = None) -> None:
        """One event of a long-running command, as a line and at once; it runs on when nobody reads any more."""
        try:
            match self.mode:
                case "json":
                    self._lines([to_json(document, ascii_only=is_ascii_only(self._answers))])
                    self._late_warnings()
                case "quiet":
                    self._lines([made] if made is not None else [])
                case "human":
                    self._lines([sentence])
        except (typer.Exit, InvalidInput):
            self.mode = "quiet"

    def detail(self, text: str) -> None:
        """Further lines of an answer that only a person reads."""
        if self.mode == "human":
            self._lines([text])

    def details(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """A table that belongs to an answer already given; only a person reads it."""
        if self.mode == "human" and rows:
            self.table(columns, rows, document=None, made=())

    def picture(self, curves: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> None:
        """Distributions that belong to an answer already given; only a person at a terminal sees them."""
        if self.mode == "human" and self._is_styled(self._answers):
            rendering.rich_sketch(curves, self._answers)

    def hint(self, text: str) -> None:
        """What to type next, for a person."""
        if self.mode == "human":
            self._aside("hint", text)

    def warn(self, text: str) -> None:
        """Something that the user should know although the work goes on."""
        if self.mode == "json":
            self._warnings.append(text)
        else:
            self._aside("warning", text)

    def progress(self) -> AbstractContextManager[Progress]:
        """How far long work is, on stderr; a bar with an ETA on a terminal, else a line a step."""
        from mlserve.cli.progress import watching

        bar = self._is_styled(sys.stderr)
        return watching(
            "none" if self.mode == "quiet" or (self.mode == "json" and not bar) else "bar" if bar else "lines"
        )

    def _document(self, document: Any) -> None:
        indent = 2 if self._is_styled(self._answers) else None
        self._lines([to_json(document, indent=indent, ascii_only=is_ascii_only(self._answers))])
        self._late_warnings()

    def _late_warnings(self) -> None:
        for text in self._warnings:
            self._aside("warning", text)
        self._warnings.clear()

    def _aside(self, kind: Literal["hint", "warning"], text: str) -> None:
        say(f"{styled(kind, kind, on=self._is_styled(sys.stderr))}: {text}", sys.stderr)

    def _lines(self, lines: Sequence[str]) -> None:
        try:
            for line in lines:
                print(line, file=self._answers)
            self._answers.flush()
        except OSError as error:
            raise unwritten(error) from error

    def _is_styled(self, stream: TextIO) -> bool:
        return is_styled(stream, self._env)


def unwritten(error: OSError) -> typer.Exit | InvalidInput:
    """What to raise for an answer that stdout did not take: silence where its reader went away, else an error."""
    # Python flushes stdout once more at exit and would complain there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):
        return typer.Exit(BROKEN_PIPE)
    return InvalidInput(f"cannot write the answer: {(error.strerror or str(error)).lower()}")
