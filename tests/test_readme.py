"""The README claims only what works: its first blocks are the two commands, its console blocks are run and compared.

In a console block a line after ``$ `` is typed, the lines below it must be what stdout then shows; ``…`` stands for
anything within a line, and alone on a line for any lines. A command that ends in ``&`` is left running and stopped at
the end. Port 8000 is replaced by a free one.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from examples.fraud.train import train

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Terminal:
    """A folder in which a README's reader types."""

    folder: Path
    port: int
    background: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def type(self, line: str) -> str:
        words = line.replace("8000", str(self.port))
        env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        if words.endswith("&"):
            with (self.folder / "background.log").open("wb") as log:
                server = subprocess.Popen(
                    words.removesuffix("&").split(), cwd=self.folder, env=env, stdout=log, stderr=log
                )
            self.background.append(server)
            self._await_port()
            return ""
        done = subprocess.run(words, shell=True, cwd=self.folder, env=env, capture_output=True, text=True)
        assert done.returncode in (0, 7), f"{line}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.replace(str(self.port), "8000")

    def _await_port(self) -> None:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError((self.folder / "background.log").read_text())


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    train(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    opened = Terminal(tmp_path, port)
    yield opened
    for server in opened.background:
        server.terminate()
        assert server.wait(timeout=60) == 0


def test_the_first_two_blocks_are_the_two_commands() -> None:
    bodies = [body for _, body in BLOCK.findall(README)]

    assert bodies[:2] == ["make demo\n", "make test\n"]


@pytest.mark.timeout(600)
def test_the_tour_prints_what_the_readme_shows(terminal: Terminal) -> None:
    steps = list(_steps(README))
    assert steps

    for command, expected in steps:
        shown = terminal.type(command)

        assert re.fullmatch(_pattern(expected), shown.strip()), f"$ {command}\n{shown}\nbut the README has\n{expected}"


def test_every_document_that_the_readme_links_to_exists() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)

    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def _steps(text: str) -> Iterator[tuple[str, str]]:
    for language, body in BLOCK.findall(text):
        if language != "console":
            continue
        for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, _, expected = step.partition("\n")
            yield command, expected.strip()


def _pattern(expected: str) -> str:
    lines = [
        ".*(?:\n.*)*" if line.strip() == "…" else re.escape(line).replace("…", ".*") for line in expected.split("\n")
    ]
    return "\n".join(lines)
