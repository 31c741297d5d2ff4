"""The README claims only what works: its first blocks are the two commands, its console blocks are run and compared."""

from pathlib import Path

import pytest

from examples.fraud.train import train
from tests.console import BLOCK, assert_shows, open_terminal

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_first_two_blocks_are_the_two_commands() -> None:
    bodies = [body for _, body in BLOCK.findall(README)]

    assert bodies[:2] == ["make demo\n", "make test\n"]


@pytest.mark.timeout(600)
def test_the_tour_prints_what_the_readme_shows(tmp_path: Path) -> None:
    train(tmp_path)

    with open_terminal(tmp_path) as terminal:
        assert_shows(README, terminal)
