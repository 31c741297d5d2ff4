"""Texts of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlserve.errors import InvalidInput, NotFound
from mlserve.rows import texts
from mlserve.rows.texts import read_texts


@pytest.mark.parametrize("text", ["", "one line", "é\n" * 50, "x" * 100, "a\n\n" + "y" * 90 + "\nz"])
def test_a_text_in_pieces_is_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(texts, "PIECE_CHARACTERS", 16)
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")

    pieces = list(read_texts(tmp_path / "t.txt"))

    assert "".join(pieces) == text
    assert all(len(piece) <= 64 for piece in pieces)


def test_a_column_of_texts_is_read_from_any_data_file(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"text": text, "n": 1}) for text in ("a", "b\nc")))
    (tmp_path / "t.csv").write_text("text,n\na,1\n7,2\n")

    assert list(read_texts(tmp_path / "t.jsonl")) == ["a", "b\nc"]
    assert list(read_texts(tmp_path / "t.csv")) == ["a", "7"]


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "t.csv").write_text("words\na\n")

    for name in ("t.txt", "t.csv"):
        with pytest.raises(InvalidInput):
            list(read_texts(tmp_path / name))
    with pytest.raises(NotFound):
        list(read_texts(tmp_path / "missing.txt"))
